# SPDX-License-Identifier: Apache-2.0
"""The origins of a distribution, and the function's table that chooses between them. No I/O.

Behaviours of CloudFront could choose the origin as well. But there is one list of them for origins
and TTLs, which would need a behaviour for each pair of an origin's path and a caching path.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from poppy.common.errors import PermanentError
from poppy.model import names
from poppy.model.secrets import Secret
from poppy.model.specs import Origin
from poppy.provider.cloudfront.merging import Config, items
from poppy.provider.cloudfront.paths import Route, matches, routes
from poppy.provider.cloudfront.programs import Step

#: Seconds ("General quotas on distributions", developer guide; the second can be raised).
_MOST_CONNECT, _MOST_RESPONSE = 10, 60
_LONGEST_PATH = 255  #: Characters ("Origin path", developer guide).
#: Statuses for which a backup may stand in ("Creating an origin group", developer guide).
_FAILOVER = (400, 403, 404, 416, 500, 502, 503, 504)
#: "Choosing the AWS Region for Origin Shield", developer guide.
SHIELD_REGIONS = (
    *("us-east-1", "us-east-2", "us-west-2", "ap-south-1", "ap-northeast-1", "ap-northeast-2"),
    *("ap-southeast-1", "ap-southeast-2", "eu-central-1", "eu-west-1", "eu-west-2", "sa-east-1"),
)
#: Besides those that no document may have ("Custom headers that CloudFront can't add to origin
#: requests", developer guide).
_NO_SECRETS = ("cache-control", "cookie", "max-forwards", "pragma", "request-range")


class Choice(NamedTuple):
    """What the function does with the origin of a request.

    Attributes:
        origin_id: the distribution's origin to select; empty if there is only one.
        host: the Host header for the origin; None for the one that the distribution sends: the
            viewer's if behaviours forward it, otherwise the origin's name.
        tls_name: the name to ask for and to expect in the certificate; None for CloudFront's.
        backup_id: the origin that stands in; None if there is none.
        statuses: those for which it stands in.
    """

    origin_id: str
    host: str | None = None
    tls_name: str | None = None
    backup_id: str | None = None
    statuses: tuple[int, ...] = ()

    @property
    def table(self) -> tuple[Any, ...]:
        """The choice as the function reads it, without missing values at the end."""
        found: list[Any] = list(self)
        while found and not found[-1]:
            found.pop()
        return tuple(found)


class Routing(NamedTuple):
    """How requests reach the origins of a service.

    Attributes:
        default: the number of the origin that serves all paths without a route.
        forwards_host: whether behaviours forward the viewer's Host header.
        choices: by the number of a route; empty if the function has nothing to do.
    """

    default: int
    forwards_host: bool
    choices: tuple[Choice, ...]
    routes: tuple[Route, ...]

    def choice(self, path: str) -> tuple[int, Choice] | None:
        """Return the number of the origin of a path, if the function chooses it."""
        if not self.choices:
            return None
        number = next(it.origin for it in self.routes if matches(it.pattern, path))
        return number if len(self.choices) > 1 else self.default, self.choices[number]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The step of the function that chooses the origin, if there is a choice."""
        tables = {"CHOICES": [it.table for it in self.choices], "ROUTES": self.routes}
        files = ("patterns.js", "normal.js", "routing.js")
        return (Step("route", files, tables, ("cloudfront",)),) if self.choices else ()


def routing(origins: Sequence[Origin]) -> Routing:
    """Compile the origins of a document.

    Raises:
        PermanentError: CloudFront can't use an origin or match a path; the message names it.
    """
    for origin in origins:
        _check(origin)
    if not origins:
        # A certificate order has none.
        return Routing(0, False, (), ())
    found = routes(origins)
    default = found[-1].origin
    backups = {it.backup_of: it for it in origins if it.backup_of is not None}
    used = [origins[number] for number in {route.origin for route in found}]
    used += [backups[it.name] for it in used if it.name and it.name in backups]
    forwards_host = any(it.hostheadertype == "domain" for it in used)
    choices = tuple(_choice(it, backups.get(it.name or ""), forwards_host) for it in origins)
    if len({route.origin for route in found}) == 1:
        one = choices[default]
        if not one._replace(origin_id="").table:
            return Routing(default, forwards_host, (), ())
        if one.backup_id is None:
            one = one._replace(origin_id="")
        return Routing(default, forwards_host, (one,), (Route(found[-1].pattern, 0),))
    return Routing(default, forwards_host, choices, tuple(found))


def _choice(origin: Origin, backup: Origin | None, forwards_host: bool) -> Choice:
    made = Choice(origin_id(origin), _host(origin, forwards_host), origin.verify_name)
    if backup is None:
        return made
    for it in (origin, backup):
        # createRequestOriginGroup has neither ("Helper methods for origin modification").
        if _host(it, forwards_host) is not None or it.verify_name is not None:
            raise PermanentError(
                f"Origin '{it.origin}': CloudFront can't set the Host header or the TLS name for "
                "an origin with a backup, or for the backup: use the same hostheadertype, domain "
                "or origin, for all origins"
            )
    return made._replace(backup_id=origin_id(backup), statuses=backup.statuses)


def origin_id(origin: Origin) -> str:
    """Return the id of an origin, which differs for other settings.

    So a setting that the document drops is gone with the origin of that id.
    """
    scheme = "https" if origin.ssl else "http"
    name = f"{scheme}://{origin.origin}:{origin.port}"
    secret = origin.secret_header
    settings = {
        "path": origin.prefix,
        "connect": origin.connect_timeout,
        "response": origin.response_timeout,
        "shield": origin.shield,
        "secret": secret and [secret.name, secret.value.fingerprint],
    }
    given = {key: value for key, value in settings.items() if value}
    name += json.dumps(given) if given else ""
    return f"origin-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def configured(
    origins: Sequence[Origin], reveal: Callable[[Secret], str], shield_region: str | None
) -> Config:
    """Return ``Origins`` of a distribution. Origins that differ only in Host are one.

    Args:
        origins: of the document.
        reveal: gives the text of secrets.
        shield_region: the region of origin shields that the document does not name.

    Raises:
        PermanentError: a shield has no region.
    """
    by_id = {origin_id(origin): origin for origin in origins}
    return items(
        [
            _origin(name, origin) | _settings(origin, reveal, shield_region)
            for name, origin in by_id.items()
        ]
    )


def secret_names(origins: Sequence[Origin]) -> tuple[str, ...]:
    """Return the names of secret header fields, in lower case; no client may send them."""
    return tuple(it.secret_header.name.lower() for it in origins if it.secret_header)


def _settings(
    origin: Origin, reveal: Callable[[Secret], str], shield_region: str | None
) -> dict[str, Any]:
    """Return the optional settings of an origin that the document has."""
    made: dict[str, Any] = {}
    if origin.prefix:
        made["OriginPath"] = origin.prefix
    if origin.connect_timeout:
        made["ConnectionTimeout"] = origin.connect_timeout
    if origin.shield:
        region = shield_region if origin.shield is True else origin.shield
        if region is None:
            raise PermanentError(
                f"Origin '{origin.origin}': shield needs the name of a region, such as us-east-1"
            )
        made["OriginShield"] = {"Enabled": True, "OriginShieldRegion": region}
    if origin.secret_header:
        field = {
            "HeaderName": origin.secret_header.name,
            "HeaderValue": reveal(origin.secret_header.value),
        }
        made["CustomHeaders"] = items([field])
    return made


def _check(origin: Origin) -> None:
    if names.address(origin.origin) is not None:
        raise PermanentError(f"Origin '{origin.origin}': CloudFront needs a name, not an address")
    if names.address(origin.hostheadervalue or "") is not None:
        raise PermanentError(
            f"Origin '{origin.origin}': CloudFront can't send the address "
            f"{origin.hostheadervalue} as the Host header"
        )

    for field, value, most in (
        ("connect_timeout", origin.connect_timeout, _MOST_CONNECT),
        ("response_timeout", origin.response_timeout, _MOST_RESPONSE),
    ):
        if value is not None and value > most:
            raise PermanentError(
                f"Origin '{origin.origin}': {field} is {value}; CloudFront waits {most} s at most"
            )
    if len(origin.prefix) > _LONGEST_PATH:
        raise PermanentError(
            f"Origin '{origin.origin}': path has more than {_LONGEST_PATH} characters"
        )
    if isinstance(origin.shield, str) and origin.shield not in SHIELD_REGIONS:
        raise PermanentError(
            f"Origin '{origin.origin}': CloudFront has no origin shield in {origin.shield!r}"
        )
    for status in origin.statuses if origin.backup_of is not None else ():
        if status not in _FAILOVER:
            raise PermanentError(
                f"Origin '{origin.origin}': CloudFront has no backup_status {status}"
            )
    name = origin.secret_header.name.lower() if origin.secret_header else ""
    if name in _NO_SECRETS or name.startswith(("x-amz-", "x-edge-")):
        raise PermanentError(f"Origin '{origin.origin}': CloudFront can't send the header {name}")


def _host(origin: Origin, forwards_host: bool) -> str | None:
    if origin.hostheadertype == "custom":
        return origin.hostheadervalue
    return origin.origin if forwards_host and origin.hostheadertype == "origin" else None


def _origin(name: str, origin: Origin) -> dict[str, Any]:
    return {
        "Id": name,
        "DomainName": origin.origin,
        "CustomOriginConfig": {
            # CloudFront requires both ports.
            "HTTPPort": 80 if origin.ssl else origin.port,
            "HTTPSPort": origin.port if origin.ssl else 443,
            "OriginProtocolPolicy": "https-only" if origin.ssl else "http-only",
            "OriginSslProtocols": items(["TLSv1.2"]),
            **({"OriginReadTimeout": origin.response_timeout} if origin.response_timeout else {}),
        },
    }
