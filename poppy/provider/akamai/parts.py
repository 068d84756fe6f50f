# SPDX-License-Identifier: Apache-2.0
"""The parts of rule trees: rules, criteria, behaviours and variables.

See https://techdocs.akamai.com/property-mgr/reference/rule-trees. Variables are those of
https://techdocs.akamai.com/property-mgr/reference/variables-support; a text option may refer to
them as ``{{user.PMUSER_...}}``, and to Akamai's own as ``{{builtin.AK_...}}``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from poppy.common.errors import PermanentError
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.patterns import EVERYTHING

_LONGEST_NAME = 100
#: Units of time, the longest first: (seconds, letter).
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_PREFIX = "PMUSER_POPPY_"
_VARIABLE = re.compile(r"PMUSER_[A-Z0-9_]+")
#: The variable that is set for requests which a restriction refuses.
DENIED = "DENIED"

#: Requests of clients. Rules also run between Akamai's servers, which have other addresses and
#: locations than the client, and would add fields once more.
CLIENT: Document = {
    "name": "requestType",
    "options": {"matchOperator": "IS", "value": "CLIENT_REQ"},
}
#: Operators of criteria for header fields and for variables.
EXISTS, ABSENT = "EXISTS", "DOES_NOT_EXIST"
EMPTY, NOT_EMPTY = "IS_EMPTY", "IS_NOT_EMPTY"


def rule(
    name: str,
    criteria: Sequence[Document] = (),
    behaviors: Sequence[Document] = (),
    children: Sequence[Document] = (),
    *,
    any_of: bool = False,
) -> Document:
    """Return a rule for requests that match all criteria, or any of them."""
    return {
        "name": name[:_LONGEST_NAME],
        "criteria": list(criteria),
        "criteriaMustSatisfy": "any" if any_of else "all",
        "behaviors": list(behaviors),
        "children": list(children),
    }


def behavior(name: str, options: Mapping[str, Any] | None = None, **more: Any) -> Document:
    """Return a behaviour with its options."""
    return {"name": name, "options": {**(options or {}), **more}}


def duration(seconds: int) -> str:
    """Return a duration in Property Manager's format: an integer with the largest unit."""
    size, letter = next(unit for unit in _UNITS if seconds % unit[0] == 0)
    return f"{seconds // size}{letter}"


def path(patterns: Sequence[str], *, matches: bool = True) -> Document:
    """Return a criterion: the path matches one of the patterns, or none of them."""
    operator = "MATCHES_ONE_OF" if matches else "DOES_NOT_MATCH_ONE_OF"
    options = {
        "matchOperator": operator,
        "values": list(patterns),
        "matchCaseSensitive": True,
        # So that encoding a path differently does not bypass the rule.
        "normalize": True,
    }
    return {"name": "path", "options": options}


def paths(patterns: Sequence[str], others: Sequence[str] = ()) -> list[Document]:
    """Return criteria: one of the patterns matches (no pattern: all do), and no other one."""
    found = [] if not patterns or EVERYTHING in patterns else [path(patterns)]
    return [*found, *([path(others, matches=False)] if others else [])]


def protocol(value: str) -> Document:
    """Return a criterion: the client's protocol is ``HTTP`` or ``HTTPS``."""
    return {"name": "requestProtocol", "options": {"value": value}}


def header(
    name: str,
    values: Sequence[str] = (),
    *,
    operator: str = EXISTS,
    of: str = "requestHeader",
) -> Document:
    """Return a criterion for a field.

    Args:
        values: of which it must have one.
        operator: without values: :data:`EXISTS` or :data:`ABSENT`.
        of: ``requestHeader`` or ``responseHeader``.
    """
    options: Document = {"headerName": name, "matchWildcardName": False}
    if not values:
        return {"name": of, "options": {**options, "matchOperator": operator}}
    options |= {
        "matchOperator": "IS_ONE_OF",
        "values": list(values),
        "matchWildcardValue": False,
        "matchCaseSensitiveValue": True,
    }
    return {"name": of, "options": options}


def status(values: Sequence[int]) -> Document:
    """Return a criterion: the response has one of the statuses."""
    options = {"matchOperator": "IS_ONE_OF", "values": [str(value) for value in values]}
    return {"name": "matchResponseCode", "options": options}


def regular(text: str, regex: str) -> Document:
    """Return a criterion: a regular expression (PCRE) matches a text with variables."""
    options = {"matchString": text, "regex": regex, "caseSensitive": True}
    return {"name": "regularExpression", "options": options}


def variable(name: str) -> str:
    """Return a reference to one of Poppy's variables."""
    return "{{user." + variable_name(name) + "}}"


def variable_name(name: str) -> str:
    """Return the whole name of one of Poppy's variables."""
    return _PREFIX + name


def if_variable(name: str, operator: str) -> Document:
    """Return a criterion: a variable is :data:`EMPTY` or :data:`NOT_EMPTY`."""
    options = {"variableName": variable_name(name), "matchOperator": operator}
    return {"name": "matchVariable", "options": options}


#: Requests that no restriction refuses.
ADMITTED: Document = if_variable(DENIED, EMPTY)


def assign(name: str, text: str, transform: str = "NONE", **options: Any) -> Document:
    """Return a behaviour that sets a variable.

    See https://techdocs.akamai.com/property-mgr/docs/set-var-operations for transformations.

    Args:
        text: its value, which may refer to variables.
        transform: how to change the value, with the options of that.
    """
    return behavior(
        "setVariable",
        {
            "variableName": _PREFIX + name,
            "valueSource": "EXPRESSION",
            "variableValue": text,
            "transform": transform,
        },
        **options,
    )


def substitute(
    name: str, text: str, regex: str, replacement: str, *, every: bool = False
) -> Document:
    """Return a behaviour that sets a variable to a text in which a match is replaced.

    Args:
        every: whether all matches are, and not just the first.
    """
    return assign(
        name,
        text,
        "SUBSTITUTE",
        regex=regex,
        replacement=replacement,
        caseSensitive=True,
        globalSubstitution=every,
    )


def extract(name: str, field: str, *, of_response: bool = False) -> Document:
    """Return a behaviour that sets a variable to a field of the client's request.

    Args:
        of_response: whether it is a field of the origin's response instead.
    """
    place = "RESPONSE_HEADER" if of_response else "CLIENT_REQUEST_HEADER"
    option = "responseHeaderName" if of_response else "headerName"
    return behavior(
        "setVariable",
        {option: field},
        variableName=variable_name(name),
        valueSource="EXTRACT",
        extractLocation=place,
        transform="NONE",
    )


def with_variables(tree: Document) -> Document:
    """Return a rule tree that declares the variables that it uses; they are empty at first."""
    names = sorted(set(_used(tree)))
    variables = [
        {"name": name, "value": "", "description": "", "hidden": True, "sensitive": False}
        for name in names
    ]
    return {**tree, "variables": variables} if variables else tree


def _used(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _VARIABLE.findall(value)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _used(one)
    elif isinstance(value, list):
        for one in value:
            yield from _used(one)


def check_text(text: str, place: str) -> None:
    """Refuse a tenant's text that Akamai would read as a reference to a variable.

    Raises:
        PermanentError: the message names the place.
    """
    if "{{" in text:
        raise PermanentError(f"{place}: Akamai reads '{{{{' as the beginning of a variable")
