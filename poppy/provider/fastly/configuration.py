# SPDX-License-Identifier: Apache-2.0
"""Compile a service to the objects of a Fastly version. Pure functions without I/O.

Objects are named after their position in the document (``poppy origin 1``), so a changed entry
updates its object instead of creating another one.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from poppy.common.errors import PermanentError
from poppy.model import names
from poppy.model.specs import Origin, ServiceSpec
from poppy.provider.fastly import (
    answers,
    cache_keys,
    dictionaries,
    logging,
    origins,
    redirects,
    responses,
    vcl,
)
from poppy.provider.log_store import Location

#: Fields by kind and name, all as text. Kinds are in the order in which objects can be created.
Objects = Mapping[str, Mapping[str, Mapping[str, str]]]

_MAX_SNIPPET = 1_000_000  # Bytes: https://docs.fastly.com/en/guides/about-vcl-snippets.
_MALFORMED = ("malformed", 400, "Bad Request")
_REFUSED = ("refused", 403, "Forbidden")
_EXPIRED = ("expired", 410, "Gone")


class Settings(NamedTuple):
    """The operator's settings for all services; times are in seconds.

    Attributes:
        grace: how long after its TTL or a soft purge an object may be served stale while a new
            one is fetched.
        stale_if_error: how long it may be served stale if the origin fails.
        segmented_caching: whether objects of more than 20 MB are served, in segments.
    """

    grace: int = 300
    connect_timeout: float = 5.0
    first_byte_timeout: float = 60.0
    between_bytes_timeout: float = 60.0
    segmented_caching: bool = True
    stale_if_error: int = 300


def wanted(spec: ServiceSpec, settings: Settings, logs: Location | None = None) -> Objects:
    """Return the objects that serve a document.

    Args:
        logs: where the access logs are delivered; None without log delivery.

    Raises:
        PermanentError: Fastly can't express a part of the document; the message names it.
    """
    responses.check(spec)
    cache_keys.check(spec.caching)
    origins.check(spec.origins)
    verdicts = [_MALFORMED]
    if spec.restrictions or spec.cors or spec.signed_urls:
        verdicts.append(_REFUSED)
    if spec.signed_urls:
        verdicts.append(_EXPIRED)
    conditions = [
        *_origin_conditions(spec),
        *(_verdict_condition(verdict) for verdict, _, _ in verdicts),
    ]
    lists: Mapping[str, Sequence[Mapping[str, str]]] = {
        dictionaries.KIND: dictionaries.dictionary(spec).objects,
        "domain": [{"name": name, "comment": ""} for name in sorted(spec.domain_names)],
        "condition": conditions,
        "backend": [
            _backend(number, origin, settings) for number, origin in enumerate(spec.origins)
        ],
        # Earlier releases had some, which would override the decisions of the snippet.
        "cache_settings": [],
        "response_object": [_response(*verdict) for verdict in verdicts],
        "snippet": _snippets(spec, settings),
        logging.KIND: [logging.endpoint(logs)] if logs else [],
    }
    return {
        kind: {fields["name"]: fields for fields in objects} for kind, objects in lists.items()
    }


def check_limits(objects: Objects, max_backends: int) -> None:
    """Refuse objects that exceed Fastly's limits.

    Poppy's own limit on domains is below Fastly's limit of 20 in a service.

    Raises:
        PermanentError: the message has the number and the limit.
    """
    if len(objects["backend"]) > max_backends:
        raise PermanentError(
            f"There are {len(objects['backend'])} origins, but Fastly allows {max_backends} in a "
            "service"
        )
    for name, fields in objects["snippet"].items():
        size = len(fields["content"].encode())
        if size > _MAX_SNIPPET:
            raise PermanentError(
                f"The rules are too long: '{name}' has {size} bytes of VCL, but Fastly allows "
                f"{_MAX_SNIPPET} in a snippet"
            )


def digest(objects: Objects) -> str:
    """Return a short digest of objects."""
    text = json.dumps(objects, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _condition(name: str, kind: str, statement: str) -> dict[str, str]:
    return {"name": name, "type": kind, "statement": statement, "priority": "10", "comment": ""}


def _origin_conditions(spec: ServiceSpec) -> list[dict[str, str]]:
    return [
        _condition(f"poppy origin {number}", "REQUEST", f'{origins.ORIGIN} == "{number}"')
        for number in range(1, len(spec.origins))
    ]


def _verdict_condition(verdict: str) -> dict[str, str]:
    return _condition(f"poppy {verdict}", "REQUEST", f'{vcl.VERDICT} == "{verdict}"')


def _response(verdict: str, status: int, reason: str) -> dict[str, str]:
    return {
        "name": f"poppy {verdict}",
        "request_condition": f"poppy {verdict}",
        "status": str(status),
        "response": reason,
        "content": f"Error {status} {reason}",
        "content_type": "text/plain; charset=utf-8",
    }


def _backend(number: int, origin: Origin, settings: Settings) -> dict[str, str]:
    host = {"origin": origin.origin, "custom": origin.hostheadervalue}.get(origin.hostheadertype)
    fields = {
        "name": f"poppy origin {number}",
        "address": origin.origin,
        "port": str(origin.port),
        "override_host": _bracketed(host) if host else "",
        "request_condition": f"poppy origin {number}" if number else "",
        "auto_loadbalance": "0",
        "connect_timeout": _milliseconds(origin.connect_timeout or settings.connect_timeout),
        "first_byte_timeout": _milliseconds(
            origin.response_timeout or settings.first_byte_timeout
        ),
        "between_bytes_timeout": _milliseconds(settings.between_bytes_timeout),
        "use_ssl": "1" if origin.ssl else "0",
        "comment": "",
    }
    if origin.ssl:
        name = _certified_name(origin)
        fields |= {"ssl_check_cert": "1", "ssl_cert_hostname": name, "ssl_sni_hostname": name}
    return fields


def _certified_name(origin: Origin) -> str:
    """Return the name that the origin's certificate must cover."""
    if origin.verify_name is not None:
        return origin.verify_name
    if names.address(origin.origin) is None:
        return origin.origin
    if origin.hostheadertype == "custom" and origin.hostheadervalue:
        return origin.hostheadervalue
    raise PermanentError(
        f"Origin {origin.origin} with TLS needs verify_name, or hostheadertype custom, because "
        "its certificate is checked for a name, not for an address"
    )


def _snippets(spec: ServiceSpec, settings: Settings) -> list[dict[str, str]]:
    contents = {
        "poppy clients": ("init", vcl.acls(spec)),
        "poppy request": ("recv", vcl.request(spec, segmented=settings.segmented_caching)),
        "poppy key": ("hash", cache_keys.hashed(spec.caching)),
        "poppy miss": ("miss", vcl.fetch(spec)),
        "poppy pass": ("pass", vcl.fetch(spec)),
        "poppy answer": (
            "fetch",
            answers.fetch(
                spec.caching, settings.grace, settings.stale_if_error, spec.error_pages or ()
            ),
        ),
        "poppy error": ("error", answers.ERROR),
        "poppy redirect": ("error", redirects.answers(spec)),
        "poppy preflight": ("error", responses.answers(spec.cors)),
        "poppy response": ("deliver", responses.deliver(spec)),
    }
    return [
        {"name": name, "type": kind, "dynamic": "0", "priority": "100", "content": content}
        for name, (kind, content) in contents.items()
        if content
    ]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
