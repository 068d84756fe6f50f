# SPDX-License-Identifier: Apache-2.0
"""The options of origins, for ``origins_options.lua``.

If any origin of a service has options, all origins are described in a file, next to the policies::

    origin <number>
    entry <host:port|tls|Host field>
    path <prefix>
    connect <seconds>
    response <seconds>
    name <name to verify>
    backup <number of the origin that stands in> <status>,<status>
    header <name> <value>
    s3 <region> <bucket> <access key> <secret key>

Secrets are percent-encoded. The second part of an entry, ``tls``, then has a reference after it:
``/<digest>.<number>/<milliseconds>``, which are the longest time to the header of a response.
"""

import hashlib
import urllib.parse
from collections.abc import Iterator, Sequence

from poppy.edge.errors import Refused
from poppy.edge.options import Settings
from poppy.edge.program import Upstream
from poppy.model.document.origins import OriginOptions
from poppy.model.secrets import Secret

_NONE = OriginOptions()
_MARGIN = 1.0  # Seconds for each connection that is tried first.


def plain_entry(upstream: Upstream) -> str:
    """Return the first three parts of an entry."""
    host = _bracketed(upstream.host)
    header = "" if upstream.host_header is None else _bracketed(upstream.host_header)
    return f"{host}:{upstream.port}|{'1' if upstream.tls else ''}|{header}"


def entries(origins: Sequence[Upstream], settings: Settings) -> tuple[Sequence[str], str, str]:
    """Return the first three parts of each origin's entry, and the file of their options.

    Returns:
        The entries, and digest and content of the file; both are empty without options.

    Raises:
        Refused: a secret is sealed.
    """
    plain = [plain_entry(it) for it in origins]
    if not any(it.options for it in origins):
        return plain, "", ""
    options = [it.options or _NONE for it in origins]
    content = "".join(f"{line}\n" for line in _lines(plain, options))
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    referring = []
    for number, entry in enumerate(plain):
        address, tls, host = entry.split("|")
        most = round(1000 * longest(options, number, settings))
        referring.append(f"{address}|{tls}/{digest}.{number}/{most}|{host}")
    return referring, digest, content


def backup_of(options: Sequence[OriginOptions], number: int) -> int | None:
    """Return the number of the origin that stands in for one; None without any."""
    name = options[number].name
    found = (index for index, it in enumerate(options) if it.backup_of == name)
    return next(found, None) if name is not None else None


def longest(options: Sequence[OriginOptions], number: int, settings: Settings) -> float:
    """Return the seconds until an origin, or else its backup, has sent the header."""
    backup = backup_of(options, number)
    return sum(
        (options[it].connect_timeout or settings.connect_timeout)
        + (options[it].response_timeout or settings.first_byte_timeout)
        + _MARGIN
        for it in (number, backup)
        if it is not None
    )


def _lines(entries: Sequence[str], options: Sequence[OriginOptions]) -> Iterator[str]:
    for number, (entry, own) in enumerate(zip(entries, options, strict=True)):
        yield f"origin {number}"
        yield f"entry {entry}"
        for name, value in (
            ("path", own.prefix),
            ("connect", own.connect_timeout),
            ("response", own.response_timeout),
            ("name", own.verify_name),
        ):
            if value:
                yield f"{name} {value}"
        backup = backup_of(options, number)
        if backup is not None:
            yield f"backup {backup} {','.join(map(str, options[backup].statuses))}"
        if own.secret_header is not None:
            yield f"header {own.secret_header.name} {_text(own.secret_header.value)}"
        if own.auth is not None:
            auth = own.auth
            yield f"s3 {auth.region} {auth.bucket} {auth.access_key} {_text(auth.secret_key)}"


def _text(secret: Secret) -> str:
    if not secret.text:
        raise Refused("An origin has sealed secrets")
    return urllib.parse.quote(secret.text, safe="")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
