# SPDX-License-Identifier: Apache-2.0
"""The code of a distribution's functions. No I/O.

A function has the steps that the document needs, each with its own code and tables. Tenants' text
is inserted only as ASCII JSON, which is valid JavaScript, so it can't inject code. CloudFront has
two events for them ("CloudFront Functions event structure" in the developer guide): a function for
requests runs before the cache, and one for responses runs for each response of a status below 400.
"""

import importlib.resources
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from poppy.common.errors import PermanentError
from poppy.model import headers

#: Maximum bytes of a function's code. AWS can't raise this quota.
LONGEST_CODE = 10_240

#: Names of modules in the code.
_MODULES = {"cloudfront": "cf", "crypto": "crypto"}
#: The code itself knows those that begin with "x-forwarded".
_UNTRUSTED = [name.lower() for name in headers.UNTRUSTED if not name.startswith("X-Forwarded")]


class Step(NamedTuple):
    """A step of a function.

    Attributes:
        function: the name of its function in JavaScript.
        files: the names of the files with its code; steps may share them.
        tables: its variables, by name.
        modules: the modules of the runtime that it needs.
    """

    function: str
    files: Sequence[str]
    tables: Mapping[str, Any] = {}
    modules: Sequence[str] = ()


def request_code(
    steps: Sequence[Step], later: Sequence[Step], untrusted: Sequence[str] = ()
) -> str:
    """Return the code of the function for requests.

    Args:
        steps: in their order.
        later: the steps of the function for responses that answers of this function need too.
        untrusted: names of header fields that no client may send, in lower case.

    Raises:
        PermanentError: it is too long.
    """
    names = {"UNTRUSTED": [*_UNTRUSTED, *(it.replace("_", "-") for it in untrusted)]}
    return _code("requests.js", {"STEPS": steps, "LATER": later}, names)


def response_code(steps: Sequence[Step]) -> str:
    """Return the code of the function for responses; empty without steps.

    Raises:
        PermanentError: it is too long.
    """
    return _code("responses.js", {"LATER": steps}, {}) if steps else ""


def _code(main: str, lists: Mapping[str, Sequence[Step]], tables: Mapping[str, Any]) -> str:
    steps = [step for found in lists.values() for step in found]
    modules = _once(name for step in steps for name in step.modules)
    variables = {**tables, **{n: v for step in steps for n, v in step.tables.items()}}
    files = _once(name for step in steps for name in step.files)
    code = "".join(
        [
            *(f"import {_MODULES[name]} from '{name}';\n" for name in modules),
            *(f"var {name} = {_json(value)};\n" for name, value in variables.items()),
            *map(_read, [*files, main]),
            *(
                f"var {name} = [{', '.join(s.function for s in found)}];\n"
                for name, found in lists.items()
            ),
        ]
    )
    if len(code) > LONGEST_CODE:
        of = "requests" if main == "requests.js" else "responses"
        raise PermanentError(
            f"The service needs a function for {of} of {len(code)} bytes; CloudFront allows "
            f"{LONGEST_CODE}. The paths and values of its rules are in it"
        )
    return code


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def _read(name: str) -> str:
    """Return code without comments, indentation and most ends of lines: they count as well.

    Comments have lines of their own.
    """
    text = importlib.resources.files(__package__).joinpath("javascript", name).read_text("utf-8")
    code = re.sub(r"^\s*//.*\n|^\s+", "", text, flags=re.MULTILINE)
    return re.sub(r"(?<=[{(;,])\n", "", code)
