# SPDX-License-Identifier: Apache-2.0
"""The optional fields of the entries of ``origins``."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from poppy.common.errors import InvalidRequest
from poppy.model import names, paths
from poppy.model.capabilities import Capability
from poppy.model.document import headers
from poppy.model.schema_parts import IDENTIFIER, NODE_NAME, PATH, VISIBLE, Schema, host, text
from poppy.model.secrets import Secret

MAX_PATH = 512
DEFAULT_BACKUP_STATUS = (500, 502, 503, 504)
DEFAULT_INTERVAL = 30
DEFAULT_TIMEOUT = 5
DEFAULT_HEALTHY = (200,)

#: The field names that AWS signs or authenticates with; a secret header must not replace them.
_SIGNED = re.compile("authorization|date|x[-_]amz[-_].*", re.IGNORECASE)

_SHIELD: Schema = {
    "description": (
        "Whether, or the provider's location where, one place of the edge fetches for all others."
    ),
    "anyOf": [{"type": "boolean"}, text("A location.", 1, 64, VISIBLE)],
}


def _seconds(description: str, most: int) -> Schema:
    return {"description": description, "minimum": 1, "maximum": most}


def _statuses(description: str, least: int, default: Sequence[int]) -> Schema:
    return {
        "description": description,
        "items": {
            "type": "integer",
            "description": "A status.",
            "minimum": least,
            "maximum": 599,
        },
        "minItems": 1,
        "maxItems": 20,
        "default": list(default),
    }


def _secret(description: str, longest: int) -> Schema:
    return {
        "description": f"{description}; or, to keep the stored one, what GET shows.",
        "maxLength": longest,
        "pattern": VISIBLE,
    }


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Requests by which an edge finds out whether an origin works."""

    path: Annotated[
        str, text("What to GET at the origin; the origin's path is not added.", 1, MAX_PATH, PATH)
    ]
    interval: Annotated[
        int | None, _seconds("Seconds between checks.", 3600) | {"default": DEFAULT_INTERVAL}
    ] = None
    timeout: Annotated[
        int | None, _seconds("Seconds to wait for a response.", 60) | {"default": DEFAULT_TIMEOUT}
    ] = None
    status: Annotated[
        tuple[int, ...] | None,
        _statuses("The statuses of an origin that works.", 200, DEFAULT_HEALTHY),
    ] = None


@dataclass(frozen=True, slots=True)
class SecretHeader:
    """A header field by which an origin recognizes the edge."""

    name: Annotated[str, text("Name of the field.", 1, 100, VISIBLE)]
    value: Annotated[Secret, _secret("Its value", 1024)]


@dataclass(frozen=True, slots=True)
class Auth:
    """How the edge signs requests to the origin (AWS Signature Version 4)."""

    type: Annotated[Literal["s3"], {"description": "An object store with the API of S3."}]
    region: Annotated[str, text("Region of the bucket.", 1, 64, IDENTIFIER)]
    bucket: Annotated[
        str,
        text(
            "The bucket. It comes before the path, unless the Host header begins with it.",
            3,
            63,
            NODE_NAME,
        ),
    ]
    access_key: Annotated[str, text("ID of the access key.", 1, 128, IDENTIFIER)]
    secret_key: Annotated[Secret, _secret("The secret access key", 256)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginOptions:
    """How the edge uses an origin."""

    name: Annotated[
        str | None, text("A name for it, unique in the service.", 1, 64, IDENTIFIER)
    ] = None
    path: Annotated[
        str | None,
        text("A path that comes before those of requests.", 1, MAX_PATH, PATH),
        Capability.ORIGIN_PATH,
    ] = None
    connect_timeout: Annotated[
        int | None, _seconds("Seconds to wait for a connection.", 60), Capability.ORIGIN_TIMEOUTS
    ] = None
    response_timeout: Annotated[
        int | None,
        _seconds("Seconds to wait for the header of a response.", 300),
        Capability.ORIGIN_TIMEOUTS,
    ] = None
    verify_name: Annotated[
        str | None,
        host("The name to ask for (SNI) and to expect in the certificate; with ssl only."),
        Capability.ORIGIN_VERIFY_NAME,
    ] = None
    health_check: Annotated[
        HealthCheck | None,
        {"description": "How to find out whether the origin works."},
        Capability.ORIGIN_HEALTH_CHECK,
    ] = None
    backup_of: Annotated[
        str | None,
        text("Name of the origin for which this one stands in.", 1, 64, IDENTIFIER),
        Capability.ORIGIN_BACKUP,
    ] = None
    backup_status: Annotated[
        tuple[int, ...] | None,
        _statuses("Statuses for which it stands in.", 400, DEFAULT_BACKUP_STATUS),
        Capability.ORIGIN_BACKUP,
    ] = None
    shield: Annotated[
        Any,
        _SHIELD,
        Capability.ORIGIN_SHIELD,
    ] = None
    secret_header: Annotated[
        SecretHeader | None,
        {"description": "A header field that only the edge can send."},
        Capability.ORIGIN_SECRET_HEADER,
    ] = None
    auth: Annotated[
        Auth | None, {"description": "How requests are signed."}, Capability.ORIGIN_S3
    ] = None

    @property
    def prefix(self) -> str:
        """The path without a slash at its end; empty if there is none."""
        return (self.path or "").rstrip("/")

    @property
    def statuses(self) -> tuple[int, ...]:
        """The statuses of the other origin for which a backup stands in."""
        return self.backup_status or DEFAULT_BACKUP_STATUS


def check(origins: Sequence[OriginOptions]) -> None:
    """Check the rules that no schema expresses, and that only these fields concern.

    Raises:
        InvalidRequest: the message names the origin and the field.
    """
    for number, origin in enumerate(origins):
        place = f"origins[{number}]{'' if origin.name is None else f' ({origin.name})'}"
        for field, reason in _problems(origin):
            raise InvalidRequest(f"{place}.{field}: {reason}")
    _check_backups(origins)


def _problems(origin: OriginOptions) -> Iterator[tuple[str, str]]:
    """Yield fields with the reason why each is invalid."""
    for field, path in _paths(origin):
        reason = _path_problem(path)
        if reason:
            yield field, f"no request can have the path {path[:80]!r}: {reason}"
    if "?" in (origin.path or ""):
        yield "path", "it has a query"
    if origin.verify_name is not None:
        reason = names.problem(origin.verify_name)
        if reason:
            yield "verify_name", f"{origin.verify_name!r} is not a valid domain name: {reason}"
    found = origin.health_check
    if found and (found.timeout or DEFAULT_TIMEOUT) > (found.interval or DEFAULT_INTERVAL):
        yield "health_check", "the timeout is longer than the interval"
    if origin.backup_status is not None and origin.backup_of is None:
        yield "backup_status", "it needs backup_of"
    if origin.secret_header is not None:
        yield from _header_problems(origin.secret_header.name, signed=origin.auth is not None)


def _paths(origin: OriginOptions) -> Iterator[tuple[str, str]]:
    if origin.path is not None:
        yield "path", origin.path
    if origin.health_check is not None:
        yield "health_check.path", origin.health_check.path


def _path_problem(path: str) -> str | None:
    return 'it does not begin with "/"' if not path.startswith("/") else paths.problem(path)


def _header_problems(name: str, *, signed: bool) -> Iterator[tuple[str, str]]:
    if not headers.is_name(name):
        yield "secret_header.name", "it is not the name of a header field (RFC 9110)"
    elif headers.is_protected(name) or (signed and _SIGNED.fullmatch(name)):
        yield "secret_header.name", "the field belongs to the edge and can't be set"


def _check_backups(origins: Sequence[OriginOptions]) -> None:
    """Check that names are unique, and that each backup stands in for an origin of its own.

    A backup has no backup, so there are no cycles.
    """
    known: dict[str, OriginOptions] = {}
    for origin in origins:
        if origin.name is not None and known.setdefault(origin.name, origin) is not origin:
            raise InvalidRequest(f"More than one origin has the name {origin.name!r}")
    backed: dict[str, int] = {}
    for number, origin in enumerate(origins):
        name = origin.backup_of
        if name is None:
            continue
        place = f"origins[{number}].backup_of"
        if name not in known:
            raise InvalidRequest(f"{place}: no origin has the name {name!r}")
        if name == origin.name:
            raise InvalidRequest(f"{place}: origin {name!r} can't be the backup of itself")
        if known[name].backup_of is not None:
            raise InvalidRequest(f"{place}: origin {name!r} is a backup, which can't have one")
        if backed.setdefault(name, number) != number:
            raise InvalidRequest(f"{place}: origin {name!r} has another backup already")
