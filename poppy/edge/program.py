# SPDX-License-Identifier: Apache-2.0
"""The program of a service: what a node needs to know to serve it.

The provider ``edge`` compiles a service's document to a program and publishes it. Each node pulls
the programs and brings its data plane in line. A program is data only: no node compiles or
evaluates a tenant's text.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar

from poppy.model import paths

#: The version of the format. A node refuses programs of a newer one.
VERSION = 1

MAX_SIZE = 1024 * 1024  #: Bytes of a program as JSON.
MAX_DOMAINS = 1000
MAX_ORIGINS = 100
MAX_RULES = 10_000  #: Of each kind.
MAX_WILDCARDS = 5000  #: Of all patterns together. A node may compare each with each request.
MAX_TTL = 10 * 365 * 86400  #: Seconds.

_SERVICE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
_COUNTRY = re.compile("[A-Z]{2}")
_PATH = re.compile(r"/[!-~]{0,4095}")


@dataclass(frozen=True, slots=True)
class Upstream:
    """An origin.

    Attributes:
        host: a host name in lower case, or an IP address without brackets.
        port: 1 to 65535.
        tls: whether to connect with TLS, and to verify the certificate for ``host``.
        host_header: the Host field of requests; None for the requested name.
    """

    host: str
    port: int
    tls: bool
    host_header: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A value for the paths that a pattern matches.

    Attributes:
        pattern: a canonical path (:func:`poppy.model.paths.canonical`); ``*`` is any run of
            characters.
        value: an index of ``origins``, or a TTL in seconds.
    """

    pattern: str
    value: int


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients that a restriction names for the paths that a pattern matches.

    Attributes:
        pattern: as in :class:`Choice`.
        values: CIDR blocks; host names in lower case, which include their subdomains; or ISO
            3166-1 alpha-2 codes of countries.
    """

    pattern: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """A restriction. A node checks restrictions of different kinds separately.

    Attributes:
        access: ``blacklist`` refuses the listed clients; ``whitelist`` refuses all others on the
            paths that any of its patterns matches.
        kind: ``client_ip``, ``referrer`` or ``geography``.
        rules: in any order.
    """

    access: str
    kind: str
    rules: tuple[Clients, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """The program of one service.

    Attributes:
        service_id: the service's ID, which is also part of cache keys.
        domains: host names in lower case.
        origins: at least one. The first serves the paths that no choice of ``routes`` matches.
        routes: choices of origins. The first match applies, so the most specific comes first.
        ttls: choices of TTLs, in the same order. Other paths keep the origin's own lifetime.
        restrictions: see :class:`Access`.
    """

    service_id: str
    domains: tuple[str, ...]
    origins: tuple[Upstream, ...]
    routes: tuple[Choice, ...] = ()
    ttls: tuple[Choice, ...] = ()
    restrictions: tuple[Access, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the program as a JSON object."""
        document: dict[str, Any] = json.loads(json.dumps({"version": VERSION, **asdict(self)}))
        return document

    def to_json(self) -> str:
        """Return the program as JSON; equal programs give equal text."""
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Check a JSON object and return its program.

        Raises:
            ValueError: it is no program of this version; the message names the field.
        """
        read = _Reader(document)
        version = read.field("version", int)
        if version != VERSION:
            raise ValueError(f"version {version} of the program is not {VERSION}")
        program = cls(
            service_id=read.text("service_id", _SERVICE_ID),
            domains=tuple(read.each("domains", MAX_DOMAINS, lambda it: _matching(it, _NAME))),
            origins=tuple(read.each("origins", MAX_ORIGINS, _upstream)),
            routes=tuple(read.each("routes", MAX_RULES, _choice)),
            ttls=tuple(read.each("ttls", MAX_RULES, _choice)),
            restrictions=tuple(read.each("restrictions", 6, _access)),
        )
        if not program.origins:
            raise ValueError("origins is empty")
        if any(route.value >= len(program.origins) for route in program.routes):
            raise ValueError("routes names an origin that does not exist")
        patterns = [choice.pattern for choice in (*program.routes, *program.ttls)]
        patterns += [rule.pattern for access in program.restrictions for rule in access.rules]
        wildcards = sum(pattern.count("*") for pattern in patterns)
        if wildcards > MAX_WILDCARDS:
            raise ValueError(f"the patterns have {wildcards} wildcards, more than {MAX_WILDCARDS}")
        return program

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Check JSON and return its program.

        Raises:
            ValueError: as for :meth:`from_dict`, or it is no JSON or too long.
        """
        if len(text) > MAX_SIZE:
            raise ValueError(f"the program is longer than {MAX_SIZE} bytes")
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("the program is no JSON object")
        return cls.from_dict(document)


T = TypeVar("T")


class _Reader:
    def __init__(self, document: Any) -> None:
        if not isinstance(document, Mapping):
            raise ValueError(f"{document!r:.80} is no JSON object")
        self._document = document

    def field(self, name: str, kind: type[T]) -> T:
        value = self._document.get(name)
        # In Python, but not in JSON, a boolean is an integer.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{name} is {value!r:.80}")
        return value

    def number(self, name: str, least: int, most: int) -> int:
        value = self.field(name, int)
        if not least <= value <= most:
            raise ValueError(f"{name} is {value}, not {least} to {most}")
        return value

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        return self.each_of(name, self.field(name, str), pattern)

    def each_of(self, name: str, value: str, pattern: re.Pattern[str]) -> str:
        try:
            return _matching(value, pattern)
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from exc

    def each(self, name: str, most: int, read: Callable[[Any], T]) -> list[T]:
        values = self.field(name, list)
        if len(values) > most:
            raise ValueError(f"{name} has {len(values)} entries, more than {most}")
        try:
            return [read(value) for value in values]
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from exc


def _matching(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{value!r:.80} is not allowed")
    return value


def _upstream(document: Any) -> Upstream:
    read = _Reader(document)
    host = read.field("host", str)
    header = document.get("host_header")
    return Upstream(
        host=_host(host),
        port=read.number("port", 1, 65535),
        tls=read.field("tls", bool),
        host_header=None if header is None else _host(_matching(header, re.compile(".+"))),
    )


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return _matching(text, _NAME)


def _path(text: str) -> str:
    if not _PATH.fullmatch(text) or paths.problem(text) or paths.canonical(text) != text:
        raise ValueError(f"pattern {text!r:.80} is not allowed")
    return text


def _choice(document: Any) -> Choice:
    read = _Reader(document)
    return Choice(_path(read.field("pattern", str)), read.number("value", 0, MAX_TTL))


_VALUES: Mapping[str, Callable[[Any], str]] = {
    "client_ip": lambda value: str(ipaddress.ip_network(value)),
    "referrer": lambda value: _matching(value, _NAME),
    "geography": lambda value: _matching(value, _COUNTRY),
}


def _access(document: Any) -> Access:
    read = _Reader(document)
    access = read.text("access", re.compile("blacklist|whitelist"))
    kind = read.text("kind", re.compile("|".join(_VALUES)))

    def clients(entry: Any) -> Clients:
        rule = _Reader(entry)
        values = rule.each("values", MAX_RULES, _VALUES[kind])
        return Clients(_path(rule.field("pattern", str)), tuple(values))

    return Access(access, kind, tuple(read.each("rules", MAX_RULES, clients)))
