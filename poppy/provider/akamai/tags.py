# SPDX-License-Identifier: Apache-2.0
"""Cache tags, by which purges cover more than one URL.

Each response is tagged with its domain, path and directories by the behaviour ``cacheTag``, and
with the tags that the origin sends in ``Cache-Tag`` or ``Surrogate-Key``, which become
``Edge-Cache-Tag``. All begin with the service's CP code, because a tag covers all content with it
that the API client may purge. See https://techdocs.akamai.com/purge-cache/docs/assign-cache-tags.

A tag has at most 128 characters, and not all of ASCII. A run of other characters becomes ``+``, so
that a purge may cover more than it names, but never less.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from poppy.model.purges import MAX_LEVELS
from poppy.provider.akamai import headers
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.parts import (
    CLIENT,
    NOT_EMPTY,
    assign,
    behavior,
    extract,
    header,
    if_variable,
    regular,
    rule,
    substitute,
    variable,
)

#: Maximum characters of a tag.
LONGEST = 128
#: Fields of the origin with tags.
FIELDS = ("Cache-Tag", "Surrogate-Key")
#: Characters of a tag that stay as they are, in a class of an expression.
_PLAIN = "A-Za-z0-9._~/-"
_OTHERS = re.compile(f"[^{_PLAIN}]+")
#: Objects with dot segments in their path, which may be in any directory.
_ODD = "odd"


def rules(cp_code: int) -> list[Document]:
    """Return the rules that tag the responses of a service, and hide the tags."""
    levels = [_level(cp_code, number) for number in range(1, MAX_LEVELS + 1)]
    dots = regular(variable("PLACE"), "/[.]{1,2}(?:/|$)")
    odd = rule("Dot segments", [dots], [_tag(cp_code, _ODD)])
    steps = [
        assign("PLACE", "{{builtin.AK_PATH}}", "URL_DECODE"),
        substitute("PLACE", variable("PLACE"), "/+", "/", every=True),
        substitute("PLACE", variable("PLACE"), _OTHERS.pattern, "+", every=True),
        assign("HOST", "{{builtin.AK_HOST}}", "LOWER"),
        _tag(cp_code, "host-" + variable("HOST")),
        _tag(cp_code, "path-" + variable("PLACE")),
    ]
    return [
        rule("Tags", behaviors=steps, children=[*levels, odd]),
        *(_of_origin(cp_code, number, name) for number, name in enumerate(FIELDS, 1)),
        rule("Hidden tags", [CLIENT], [headers.delete_response(name) for name in FIELDS]),
    ]


def of_host(cp_code: int, host: str) -> str | None:
    """Return the tag of a domain's content; None if it is too long."""
    return _usable(_name(cp_code, f"host-{host}"))


def of_path(cp_code: int, path: str) -> str | None:
    """Return the tag of a path with any query; None if it is too long."""
    return _usable(_name(cp_code, f"path-{_place(path)}"))


def of_directory(cp_code: int, directory: str) -> Sequence[str | None]:
    """Return the tags of content below a directory; None is one that can't be."""
    deep = not 2 <= directory.count("/") <= MAX_LEVELS + 1
    found = None if deep else _usable(_name(cp_code, f"tree-{_place(directory)}"))
    return [found, _name(cp_code, _ODD)]


def of_tag(cp_code: int, tag: str) -> str | None:
    """Return the tag at Akamai of an origin's tag; None if it is too long."""
    return _usable(_name(cp_code, f"tag-{_written(tag)}"))


def _usable(name: str) -> str | None:
    return name if len(name) <= LONGEST else None


def _name(cp_code: int, text: str) -> str:
    return f"poppy-{cp_code}-{text}"


def _place(path: str) -> str:
    """Return a path as the edge writes it into tags."""
    return _written(re.sub("/+", "/", unquote(path)))


def _written(text: str) -> str:
    return _OTHERS.sub("+", text)


def _tag(cp_code: int, text: str) -> Document:
    return behavior("cacheTag", tag=_name(cp_code, text))


def _level(cp_code: int, number: int) -> Document:
    """Return the rule of the directory of some level, from the root."""
    directory = f"(?:/[^/]*){{{number}}}/"
    name = f"TREE{number}"
    return rule(
        f"Directory {number}",
        [regular(variable("PLACE"), f"^{directory}")],
        [
            substitute(name, variable("PLACE"), f"^({directory}).*$", "$1"),
            _tag(cp_code, "tree-" + variable(name)),
        ],
    )


def _of_origin(cp_code: int, number: int, field: str) -> Document:
    """Return the rule that adds the tags in a field of the origin to those before."""
    name = f"TAGS{number}"
    steps = [
        extract(name, field, of_response=True),
        substitute(name, variable(name), f"[^, {_PLAIN}]+", "+", every=True),
        substitute(name, variable(name), "([^, ]+)", _name(cp_code, "tag-$1"), every=True),
        substitute(name, variable(name), "[, ]+", ", ", every=True),
    ]
    whole = [headers.set_from_origin("Edge-Cache-Tag", variable(name))]
    if number > 1:
        both = f"{variable(f'TAGS{number - 1}')}, {variable(name)}"
        added = rule(
            "Both",
            [if_variable(f"TAGS{number - 1}", NOT_EMPTY)],
            [headers.set_from_origin("Edge-Cache-Tag", both)],
        )
        return rule(field, [header(field, of="responseHeader")], [*steps, *whole], [added])
    return rule(field, [header(field, of="responseHeader")], [*steps, *whole])
