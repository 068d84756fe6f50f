# SPDX-License-Identifier: Apache-2.0
"""Restrictions as VCL conditions."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from poppy.common.errors import PermanentError
from poppy.model import paths
from poppy.model.specs import Rule, ServiceSpec
from poppy.provider import patterns
from poppy.provider.geography import country_codes

#: The number of decisions per VCL sub.
TABLE = 25


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings for all services; times in seconds.

    Attributes:
        grace: how long after its TTL an object may be served while it is being refreshed.
        client_ip_header: header with the client's address, accepted from trusted proxies only.
        geography_header: header with the client's country code, accepted from them only.
        trusted_proxies: addresses and CIDR blocks.
        strip_cookies: whether cached paths ignore cookies. Otherwise requests with cookies bypass
            the cache.
        max_object_size: maximum bytes of objects to cache.
    """

    grace: int = 300
    connect_timeout: float = 5.0
    first_byte_timeout: float = 60.0
    between_bytes_timeout: float = 60.0
    client_ip_header: str = ""
    geography_header: str = ""
    trusted_proxies: tuple[str, ...] = ()
    strip_cookies: bool = False
    max_object_size: int = 16 * 1024 * 1024

    @property
    def proxy_headers(self) -> list[str]:
        """The headers that are accepted from trusted proxies only."""
        return [name for name in (self.client_ip_header, self.geography_header) if name]


_LONGEST_EXPRESSION = 8000  # Bytes. PCRE2 refuses expressions of more than 64 KiB compiled.


def any_of(conditions: Iterable[str]) -> str:
    """Return a condition: one of these holds."""
    return " || ".join(dict.fromkeys(conditions))


def matches(name: str, expressions: Iterable[str]) -> str:
    """Return a condition: the variable matches one of the expressions."""
    conditions: list[str] = []
    joined = ""
    for expression in dict.fromkeys(expressions):
        if joined and len(joined) + len(expression) > _LONGEST_EXPRESSION:
            conditions.append(f'{name} ~ "{joined}"')
            joined = ""
        joined += f"|{expression}" if joined else expression
    return any_of([*conditions, f'{name} ~ "{joined}"'])


def concerns(urls: Iterable[str | None], name: str = "req.url") -> str:
    """Return a condition: one of the rules' ``request_url`` matches the request."""
    urls = list(urls)
    if any(url is None or paths.canonical(url) == "/*" for url in urls):
        return "true"
    return matches(name, (patterns.url_regex(url) for url in urls if url is not None))


def acl(name: str, networks: Iterable[str]) -> str:
    """Return the declaration of an access control list.

    Raises:
        PermanentError: an entry is not an IP address or CIDR block.
    """
    entries = []
    for text in networks:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as exc:
            raise PermanentError(f"{text!r} is no IP address or CIDR block") from exc
        entries.append(f'    "{network.network_address}"/{network.prefixlen};\n')
    return f"acl {name} {{\n{''.join(dict.fromkeys(entries))}}}"


class Restricting(NamedTuple):
    """Restrictions as VCL: top-level declarations, and the calls in ``vcl_recv``."""

    declarations: list[str]
    calls: list[str]


def restrictions(spec: ServiceSpec, settings: Settings) -> Restricting:
    """Return the VCL that refuses clients on a path's blacklist or not on its whitelist.

    Restrictions of different kinds are checked separately. Each sub has few rules, because
    compilers take very long to optimise a big function.
    """
    found = Restricting([], [])
    for number, ((access, _kind), rules) in enumerate(spec.restricting):
        by_url: dict[str | None, list[Rule]] = {}
        for rule in rules:
            by_url.setdefault(rule.request_url, []).append(rule)
        blocks: list[str] = []
        for url, alike in by_url.items():
            name = f"poppy_clients_{number}_{len(blocks)}"
            if alike[0].client_ip is not None:
                found.declarations.append(acl(name, (rule.client_ip or "" for rule in alike)))
            blocks.append(_block(url, _is_meant(alike, name, settings)))
        names = []
        for start in range(0, len(blocks), TABLE):
            names.append(f"poppy_restricted_{number}_{start // TABLE}")
            body = "".join(blocks[start : start + TABLE])
            found.declarations.append(f"sub {names[-1]} {{\n{body}}}")
        found.calls.append(_refusal(access, names))
    return found


def _block(url: str | None, meant: str) -> str:
    return (
        f"    if ({concerns([url])}) {{\n"
        '        set req.http.x-poppy-concerned = "1";\n'
        f'        if ({meant}) {{\n            set req.http.x-poppy-meant = "1";\n        }}\n'
        "    }\n"
    )


def _refusal(access: str, names: Iterable[str]) -> str:
    refused = "req.http.x-poppy-meant"
    if access == "whitelist":
        refused = "req.http.x-poppy-concerned && !req.http.x-poppy-meant"
    return (
        "    unset req.http.x-poppy-concerned;\n    unset req.http.x-poppy-meant;\n"
        + "".join(f"    call {name};\n" for name in names)
        + f"    if ({refused}) {{\n        return (synth(403));\n    }}\n"
    )


def _is_meant(rules: Sequence[Rule], acl_name: str, settings: Settings) -> str:
    """Return a condition: one of the rules, all of one kind, matches the client."""
    if rules[0].client_ip is not None:
        return f'std.ip(req.http.x-poppy-client, "0.0.0.0") ~ {acl_name}'
    if rules[0].referrer is not None:
        names = (rule.referrer or "" for rule in rules)
        return matches("req.http.Referer", map(patterns.referrer_regex, names))
    if not settings.geography_header:
        raise PermanentError("This edge does not know where clients are")
    codes: set[str] = set()
    for rule in rules:
        try:
            codes |= country_codes(rule.geography or "")
        except KeyError as exc:
            raise PermanentError(f"There is no country or continent {rule.geography!r}") from exc
    listed = "|".join(sorted(codes))
    return f'req.http.{settings.geography_header} ~ "(?i)^(?:{listed})$"'
