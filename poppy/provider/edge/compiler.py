# SPDX-License-Identifier: Apache-2.0
"""The compiler from services to programs. No I/O; the same input gives the same program."""

import ipaddress
from collections.abc import Iterable
from typing import TypeVar

from poppy.common.errors import PermanentError
from poppy.edge import optional
from poppy.edge.program import MAX_TTL, Access, Choice, Clients, Program, Upstream
from poppy.model import paths
from poppy.model.document import codec
from poppy.model.document.caching import CacheOptions
from poppy.model.document.origins import OriginOptions
from poppy.model.document.redirects import Redirect
from poppy.model.specs import Caching, Origin, Rule, ServiceSpec
from poppy.provider import patterns
from poppy.provider.geography import country_codes

T = TypeVar("T")

_ALL = "/*"


def compile_program(service_id: str, spec: ServiceSpec, log_project: str = "") -> Program:
    """Return the program of a service.

    Args:
        log_project: the project that gets its access logs; empty if there are none.

    Raises:
        PermanentError: a node would refuse it; the message names the part of the document.
    """
    caching = _ordered((rule, entry) for entry in spec.caching for rule in entry.rules)
    options = tuple(_cache_options(entry) for _, entry in caching)
    routes = _ordered(
        (rule, number) for number, origin in enumerate(spec.origins) for rule in origin.rules
    )
    program = Program(
        service_id=service_id,
        domains=tuple(sorted(name.lower() for name in spec.domain_names)),
        origins=tuple(_upstream(origin) for origin in spec.origins),
        routes=tuple(Choice(pattern, number) for pattern, number in routes),
        ttls=tuple(Choice(pattern, min(entry.ttl, MAX_TTL)) for pattern, entry in caching),
        caching=options if any(it != CacheOptions() for it in options) else (),
        log_project=log_project,
        restrictions=tuple(
            Access(access, kind, _clients(kind, rules))
            for (access, kind), rules in spec.restricting
        ),
        **{name: getattr(spec, name) for name in optional.NAMES}
        | {"redirects": _redirects(spec.redirects)},
    )
    try:
        return Program.from_json(program.to_json())
    except ValueError as exc:
        raise PermanentError(f"The edge can't serve this service: {exc}") from exc


def check_shared(spec: ServiceSpec) -> None:
    """Refuse fields that depend on a certificate which only the program of its shard has.

    Raises:
        PermanentError: the message names the field.
    """
    shared = [it.domain for it in spec.domains if it.certificate == "shared"]
    for name, value in (("https_redirect", True), ("min_tls", "1.3")):
        if shared and getattr(spec.delivery, name, None) == value:
            raise PermanentError(
                f"delivery.{name}: not with the shared certificate of {shared[0]}"
            )


def _cache_options(entry: Caching) -> CacheOptions:
    return CacheOptions(**{it.name: getattr(entry, it.name) for it in codec.members(CacheOptions)})


def _upstream(origin: Origin) -> Upstream:
    host = origin.origin.lower().rstrip(".")
    header = {"origin": host, "custom": (origin.hostheadervalue or host).lower()}
    options = OriginOptions(
        **{it.name: getattr(origin, it.name) for it in codec.members(OriginOptions)}
    )
    return Upstream(
        host,
        origin.port,
        origin.ssl,
        header.get(origin.hostheadertype),
        None if options == OriginOptions() else options,
    )


def _redirects(redirects: tuple[Redirect, ...] | None) -> tuple[Redirect, ...] | None:
    """Return the redirects, the most specific first."""
    if redirects is None:
        return None

    def key(redirect: Redirect) -> tuple[int, str]:
        return patterns.specificity(paths.canonical(redirect.request_url))

    return tuple(sorted(redirects, key=key))


def _ordered(cases: Iterable[tuple[Rule, T]]) -> list[tuple[str, T]]:
    """Return patterns and values, the most specific first. Of equal patterns the first counts."""
    values: dict[str, T] = {}
    for rule, value in cases:
        values.setdefault(_pattern(rule), value)
    return [(pattern, values[pattern]) for pattern in sorted(values, key=patterns.specificity)]


def _clients(kind: str, rules: Iterable[Rule]) -> tuple[Clients, ...]:
    values: dict[str, set[str]] = {}
    for rule in rules:
        values.setdefault(_pattern(rule), set()).update(_values(kind, rule))
    return tuple(Clients(pattern, tuple(sorted(found))) for pattern, found in values.items())


def _values(kind: str, rule: Rule) -> Iterable[str]:
    text = getattr(rule, kind)
    if kind == "geography":
        try:
            return country_codes(text)
        except KeyError as exc:
            raise PermanentError(f"There is no country or continent {text!r}") from exc
    if kind == "referrer":
        return [text.lower()]
    try:
        return [str(ipaddress.ip_network(text, strict=False))]
    except ValueError as exc:
        raise PermanentError(f"{text!r} is no IP address or CIDR block") from exc


def _pattern(rule: Rule) -> str:
    if rule.request_url is None:
        return _ALL
    problem = paths.problem(rule.request_url)
    if problem:
        raise PermanentError(f"request_url {rule.request_url!r:.80}: {problem}")
    return paths.canonical(rule.request_url)
