# SPDX-License-Identifier: Apache-2.0
"""VCL for requests to origins, in ``vcl_miss`` and ``vcl_pass``: their paths and secret fields."""

from collections.abc import Iterator, Sequence

from poppy.common.errors import PermanentError
from poppy.model import headers
from poppy.model.specs import Origin
from poppy.provider.fastly.literals import is_field, is_reserved, string

#: Number of the origin; the first one if unset.
ORIGIN = "req.http.X-Poppy-Origin"


def check(origins: Sequence[Origin]) -> None:
    """Refuse secret header fields that VCL can't have, and those that direct Fastly.

    Raises:
        PermanentError: the message names the field.
    """
    for number, origin in enumerate(origins):
        name = origin.secret_header.name if origin.secret_header else "X"
        if not is_field(name) or is_reserved(name):
            raise PermanentError(
                f"origins[{number}].secret_header: Fastly can't set the field {name!r}"
            )


def key(number: int) -> str:
    """Return the key of an origin's secret in the dictionary; IDs of keys have no colon."""
    return f"origin:{number}"


def received(origins: Sequence[Origin]) -> Iterator[str]:
    """Yield the statements of ``recv`` that remove clients' values of secret fields.

    A CGI program reads a name with underscores like one with hyphens.
    """
    for name in sorted({it.secret_header.name for it in origins if it.secret_header}):
        for spelling in (name, *headers.respellings(name)):
            yield f"unset req.http.{spelling};"


def fetched(origins: Sequence[Origin], table: str) -> Iterator[str]:
    """Yield the statements of ``miss`` and ``pass``.

    Args:
        origins: the field.
        table: the name of the dictionary with the secrets.
    """
    for number, origin in enumerate(origins):
        lines = []
        if origin.prefix:
            lines.append(f"set bereq.url = {string(origin.prefix)} + bereq.url;")
        if origin.secret_header:
            lines.append(
                f"set bereq.http.{origin.secret_header.name} = "
                f'table.lookup({table}, "{key(number)}", "");'
            )
        if lines:
            body = "\n  ".join(lines)
            chosen = f'{ORIGIN} == "{number}"' if number else f"!{ORIGIN}"
            yield f"if ({chosen}) {{\n  {body}\n}}"
