# SPDX-License-Identifier: Apache-2.0
"""Who may have what: restrictions as VCL conditions."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from poppy.common.errors import PermanentError
from poppy.model import paths
from poppy.model.services import Rule, ServiceSpec
from poppy.provider import patterns
from poppy.provider.geography import country_codes


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator decided for all services; times in seconds.

    Attributes:
        grace: how long past its TTL an object may be served while a new one is fetched.
        client_ip_header: header with the client's address, believed from trusted proxies.
        geography_header: header with the client's country code, believed likewise.
        trusted_proxies: addresses and CIDR blocks.
        strip_cookies: whether cached paths ignore cookies, instead of not being cached for
            clients that have some.
    """

    grace: int = 300
    connect_timeout: float = 5.0
    first_byte_timeout: float = 60.0
    between_bytes_timeout: float = 60.0
    client_ip_header: str = ""
    geography_header: str = ""
    trusted_proxies: tuple[str, ...] = ()
    strip_cookies: bool = False

    @property
    def proxy_headers(self) -> list[str]:
        """The headers that are believed from trusted proxies only."""
        return [name for name in (self.client_ip_header, self.geography_header) if name]


def any_of(conditions: Iterable[str]) -> str:
    """A condition: one of these holds."""
    return " || ".join(conditions)


def concerns(rule: Rule, url: str = "req.url") -> str:
    """A condition: the rule is about this request."""
    pattern = rule.request_url
    if pattern is None or paths.canonical(pattern) == "/*":
        return "true"
    return f'{url} ~ "{patterns.url_regex(pattern)}"'


def acl(name: str, networks: Iterable[str]) -> str:
    """A declaration of an access control list.

    Raises:
        PermanentError: one is not an address or a CIDR block.
    """
    entries = []
    for text in networks:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as exc:
            raise PermanentError(f"{text!r} is no IP address or CIDR block") from exc
        entries.append(f'    "{network.network_address}"/{network.prefixlen};\n')
    return f"acl {name} {{\n{''.join(dict.fromkeys(entries))}}}"


def _client_rules(spec: ServiceSpec) -> list[Rule]:
    return [
        rule for entry in spec.restrictions for rule in entry.rules if rule.kind == "client_ip"
    ]


def client_acls(spec: ServiceSpec) -> list[str]:
    """The declarations that :func:`restrictions` needs."""
    return [
        acl(f"poppy_client_{number}", (rule.client_ip or "",))
        for number, rule in enumerate(_client_rules(spec))
    ]


def trust(settings: Settings) -> str:
    """Make ``x-poppy-client`` the client's address; only trusted proxies may name another."""
    lines = ["    set req.http.x-poppy-client = client.ip;\n"]
    headers = settings.proxy_headers
    if not headers:
        return "".join(lines)
    lines.append("    if (client.ip !~ poppy_proxies) {\n")
    lines += [f"        unset req.http.{name};\n" for name in headers]
    if settings.client_ip_header:
        value = f"req.http.{settings.client_ip_header}"
        lines.append(f"    }} else if ({value}) {{\n")
        lines.append(f"        set req.http.x-poppy-client = std.ip({value}, client.ip);\n")
    lines.append("    }\n")
    return "".join(lines)


def restrictions(spec: ServiceSpec, settings: Settings) -> list[str]:
    """Refusals: for each kind, who is on a blacklist or not on the whitelist of the path."""
    acls = {id(rule): f"poppy_client_{n}" for n, rule in enumerate(_client_rules(spec))}
    blocks = []
    for (access, _kind), rules in spec.restricting:
        matched = any_of(
            f"({concerns(rule)} && {_is_meant(rule, acls.get(id(rule), ''), settings)})"
            for rule in rules
        )
        if access == "whitelist":
            matched = f"({any_of(map(concerns, rules))}) && !({matched})"
        blocks.append(f"    if ({matched}) {{\n        return (synth(403));\n    }}\n")
    return blocks


def _is_meant(rule: Rule, acl_name: str, settings: Settings) -> str:
    """A condition: the rule is about this client."""
    if rule.client_ip is not None:
        return f'std.ip(req.http.x-poppy-client, "0.0.0.0") ~ {acl_name}'
    if rule.referrer is not None:
        return f'req.http.Referer ~ "{patterns.referrer_regex(rule.referrer)}"'
    if not settings.geography_header:
        raise PermanentError("This edge does not know where clients are")
    try:
        codes = country_codes(rule.geography or "")
    except KeyError as exc:
        raise PermanentError(f"There is no country or continent {rule.geography!r}") from exc
    names = "|".join(sorted(codes))
    return f'req.http.{settings.geography_header} ~ "(?i)^(?:{names})$"'
