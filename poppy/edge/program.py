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
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from poppy.edge import optional, pem
from poppy.edge.reading import Reader, matching
from poppy.model import names, paths
from poppy.model.document import codec
from poppy.model.document.caching import CacheOptions
from poppy.model.document.fields import EdgeFields
from poppy.model.document.origins import OriginOptions
from poppy.model.secrets import Secret

#: The version of the format, and that of programs with an optional field. A node refuses programs
#: of a newer one: the previous release knows version 1 only.
VERSION = 1
VERSION_WITH_OPTIONAL = 2

MAX_SIZE = 1024 * 1024  #: Bytes of a program as JSON.
MAX_DOMAINS = 1000
MAX_ORIGINS = 100
MAX_RULES = 10_000  #: Of each kind.
MAX_WILDCARDS = 5000  #: Of all patterns together. A node may compare each with each request.
MAX_TTL = 10 * 365 * 86400  #: Seconds.
MAX_CERTIFICATES = 100
MAX_NAMES = 100  #: Of a certificate.

_SERVICE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
_NAMES = re.compile(rf"(?:[*][.])?{_NAME.pattern}")  #: Including wildcards.
_COUNTRY = re.compile("[A-Z]{2}")
_PATH = re.compile(r"/[!-~]{0,4095}")
# RFC 8555, sections 8.1 and 8.3: base64url.
_TOKEN = re.compile("[A-Za-z0-9_-]{1,256}")
_KEY_AUTHORIZATION = re.compile("[A-Za-z0-9_-]{1,256}[.][A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Upstream:
    """An origin.

    Attributes:
        host: a host name in lower case, or an IP address without brackets.
        port: 1 to 65535.
        tls: whether to connect with TLS, and to verify the certificate for ``host``.
        host_header: the Host field of requests; None for the requested name.
        options: those of the document; None without any.
    """

    host: str
    port: int
    tls: bool
    host_header: str | None
    options: OriginOptions | None = None


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
class Certificate:
    """A certificate for some domains of the service.

    Attributes:
        names: the domains for which clients get it; wildcards only in a program without domains.
        chain: PEM (RFC 7468), the domains' certificate first; lines of up to 76 characters, no
            empty ones.
        key: the private key in PEM, not encrypted.
    """

    names: tuple[str, ...]
    chain: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What an ACME authority wants to find at a domain (http-01: RFC 8555, section 8.3).

    Attributes:
        domain: a domain of the service.
        token: the last segment of the path.
        value: the key authorization, which is the content.
    """

    domain: str
    token: str
    value: str


@dataclass(frozen=True, slots=True)
class Program(EdgeFields):
    """The program of one service. Its optional fields are those of the document.

    Attributes:
        service_id: the service's ID, which is also part of cache keys.
        domains: host names in lower case.
        origins: at least one. The first serves the paths that no choice of ``routes`` matches.
        routes: choices of origins. The first match applies, so the most specific comes first.
        ttls: choices of TTLs, in the same order. Other paths keep the origin's own lifetime.
        restrictions: see :class:`Access`.
        certificates: for HTTPS. Domains without one have none.
        challenges: see :class:`Challenge`.
        caching: options for each entry of ``ttls``; empty if none has any.
        log_project: the project that gets the service's access logs; empty without log delivery.
        checked: whether :meth:`from_dict` has checked it. No part of the program, and not copied.
    """

    service_id: str
    domains: tuple[str, ...]
    origins: tuple[Upstream, ...]
    routes: tuple[Choice, ...] = ()
    ttls: tuple[Choice, ...] = ()
    restrictions: tuple[Access, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    challenges: tuple[Challenge, ...] = ()
    caching: tuple[CacheOptions, ...] = ()
    log_project: str = ""
    checked: bool = field(default=False, init=False, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the program as a JSON object."""
        document: dict[str, Any] = json.loads(self.to_json())
        return document

    def to_json(self) -> str:
        """Return the program as JSON; equal programs give equal text."""
        document = asdict(self)
        del document["checked"]
        document["origins"] = [_written(it) for it in self.origins]
        for name in (*_OPTIONAL, *optional.NAMES):
            if not document[name]:
                del document[name]
        document |= optional.write(self)
        if self.caching:
            document["caching"] = codec.write(self.caching)
        document["version"] = _version(document)
        return json.dumps(document, sort_keys=True)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Check a JSON object and return its program.

        Raises:
            ValueError: it is no program of this version; the message names the field.
        """
        read = Reader(document)
        version, known = read.field("version", int), _version(document)
        if version != known:
            raise ValueError(f"version {version} of the program is not {known}")
        program = cls(
            service_id=read.text("service_id", _SERVICE_ID),
            domains=tuple(read.each("domains", MAX_DOMAINS, lambda it: matching(it, _NAME))),
            origins=tuple(read.each("origins", MAX_ORIGINS, _upstream)),
            routes=tuple(read.each("routes", MAX_RULES, _choice)),
            ttls=tuple(read.each("ttls", MAX_RULES, _choice)),
            restrictions=tuple(read.each("restrictions", 6, _access)),
            certificates=tuple(read.any("certificates", MAX_CERTIFICATES, _certificate)),
            challenges=tuple(read.any("challenges", MAX_DOMAINS, _challenge)),
            caching=tuple(read.any("caching", MAX_RULES, optional.cache_options)),
            log_project=read.text(_LOGS, names.PROJECT_ID) if _LOGS in document else "",
            **optional.read(document),
        )
        known_names = {"version", *(it.name for it in fields(cls) if it.init)}
        unknown = sorted(document.keys() - known_names)
        if unknown:
            raise ValueError(f"the program has the unknown field {unknown[0]!r:.80}")
        if not program.origins:
            raise ValueError("origins is empty")
        if any(route.value >= len(program.origins) for route in program.routes):
            raise ValueError("routes names an origin that does not exist")
        if program.caching and len(program.caching) != len(program.ttls):
            raise ValueError("caching has other entries than ttls")
        _check_wildcards(program)
        _check_names(program)
        optional.check_origins([it.options or OriginOptions() for it in program.origins])
        object.__setattr__(program, "checked", True)
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


#: Fields that programs without them do not have.
_LOGS = "log_project"
_OPTIONAL = ("certificates", "challenges", "caching", _LOGS)


def _version(document: Mapping[str, Any]) -> int:
    """Return the version that the fields of a program need."""
    newer = {"caching", _LOGS, *optional.NAMES}
    origins = document.get("origins")
    has_options = isinstance(origins, list) and any(
        isinstance(it, Mapping) and "options" in it for it in origins
    )
    is_old = document.keys().isdisjoint(newer) and not has_options
    return VERSION if is_old else VERSION_WITH_OPTIONAL


def _check_wildcards(program: Program) -> None:
    patterns = [choice.pattern for choice in (*program.routes, *program.ttls)]
    patterns += [rule.pattern for access in program.restrictions for rule in access.rules]
    patterns += optional.patterns(program)
    wildcards = sum(pattern.count("*") for pattern in patterns)
    if wildcards > MAX_WILDCARDS:
        raise ValueError(f"the patterns have {wildcards} wildcards, more than {MAX_WILDCARDS}")


def _check_names(program: Program) -> None:
    named = [name for certificate in program.certificates for name in certificate.names]
    if len(set(named)) < len(named):
        raise ValueError("certificates has two for one domain")
    # A program without domains has the operator's certificates.
    shared = set() if program.domains else {it for it in named if it.startswith("*.")}
    if not (set(named) - shared).issubset(program.domains):
        raise ValueError("certificates has a name that is no domain of the service")
    if not {it.domain for it in program.challenges}.issubset(program.domains):
        raise ValueError("challenges has a name that is no domain of the service")


def _written(upstream: Upstream) -> Mapping[str, Any]:
    """Return an origin as JSON."""
    document = {name: getattr(upstream, name) for name in ("host", "port", "tls", "host_header")}
    if upstream.options is not None:
        document["options"] = codec.write(upstream.options, secret=Secret.carried)
    return document


def _upstream(document: Any) -> Upstream:
    read = Reader(document)
    host = read.field("host", str)
    header = document.get("host_header")
    options = document.get("options")
    return Upstream(
        host=_host(host),
        port=read.number("port", 1, 65535),
        tls=read.field("tls", bool),
        host_header=None if header is None else _host(matching(header, re.compile(".+"))),
        options=None if options is None else optional.origin_options(options),
    )


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return matching(text, _NAME)


def _path(text: str) -> str:
    if not _PATH.fullmatch(text) or paths.problem(text) or paths.canonical(text) != text:
        raise ValueError(f"pattern {text!r:.80} is not allowed")
    return text


def _choice(document: Any) -> Choice:
    read = Reader(document)
    return Choice(_path(read.field("pattern", str)), read.number("value", 0, MAX_TTL))


_VALUES: Mapping[str, Callable[[Any], str]] = {
    "client_ip": lambda value: str(ipaddress.ip_network(value)),
    "referrer": lambda value: matching(value, _NAME),
    "geography": lambda value: matching(value, _COUNTRY),
}


def _access(document: Any) -> Access:
    read = Reader(document)
    access = read.text("access", re.compile("blacklist|whitelist"))
    kind = read.text("kind", re.compile("|".join(_VALUES)))

    def clients(entry: Any) -> Clients:
        rule = Reader(entry)
        values = rule.each("values", MAX_RULES, _VALUES[kind])
        return Clients(_path(rule.field("pattern", str)), tuple(values))

    return Access(access, kind, tuple(read.each("rules", MAX_RULES, clients)))


def _certificate(document: Any) -> Certificate:
    if not isinstance(document, Mapping):
        raise ValueError("it is no JSON object")  # Without the value, which may be a key.
    names = Reader(document).each("names", MAX_NAMES, lambda it: matching(it, _NAMES))
    if not names:
        raise ValueError("names is empty")
    return Certificate(
        names=tuple(names),
        chain=pem.chain(document),
        key=pem.key(document),
    )


def _challenge(document: Any) -> Challenge:
    read = Reader(document)
    value = read.text("value", _KEY_AUTHORIZATION)
    return Challenge(read.text("domain", _NAME), read.text("token", _TOKEN), value)
