# SPDX-License-Identifier: Apache-2.0
"""The settings of a node: the group ``[edge]`` of ``/etc/poppy/poppy-edge.conf``."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_config import cfg

from poppy.common import addresses
from poppy.common.errors import ConfigError

#: Bytes that the path of a unix socket may have (unix(7)), without the socket's own name.
_LONGEST_DIRECTORY = 80
_DIRECTORY = re.compile(r"/[A-Za-z0-9_./-]+")  # Needs no quoting in HAProxy's file or in VCL.
_FIELD = re.compile("[A-Za-z][A-Za-z0-9-]{0,63}")
#: The name of the file in the run directory with the agent's figures.
AGENT_METRICS = "agent.prom"
#: The name of the pipe in the run directory to which HAProxy writes the access log.
ACCESS_LOG = "access.pipe"

_MEGABYTE = 1024 * 1024
_HOUR = 3600

OPTS: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "state_directory",
        default="/var/lib/poppy-edge",
        help="Directory of what the node serves. It survives restarts.",
    ),
    cfg.StrOpt(
        "run_directory",
        default="/run/poppy-edge",
        help="Directory of the sockets between agent, HAProxy and Varnish. At most 80 bytes.",
    ),
    cfg.ListOpt(
        "http",
        default=["0.0.0.0:80", "[::]:80"],
        help="Addresses and ports for clients. Without IPv6, remove the second one.",
    ),
    cfg.ListOpt(
        "https",
        default=["0.0.0.0:443", "[::]:443"],
        help="Addresses and ports for clients with TLS. A client that asks for a name without a "
        "certificate gets none. Empty: the node has no HTTPS.",
    ),
    cfg.StrOpt(
        "metrics",
        default="127.0.0.1:9101",
        help="Address and port of the node's metrics (/metrics) and of its health page (/ready). "
        "Both are for the operator only.",
    ),
    cfg.IntOpt(
        "threads",
        default=0,
        min=0,
        max=64,
        help="Threads of HAProxy. 0: one for each CPU.",
    ),
    cfg.IntOpt(
        "connections",
        default=10_000,
        min=10,
        max=1_000_000,
        help="Maximum number of clients' connections. HAProxy uses about six files for each.",
    ),
    cfg.IntOpt(
        "cache_size",
        default=1024,
        min=16,
        max=4 * 1024 * 1024,
        help="Megabytes of the cache. As much again may be used for responses that are not kept.",
    ),
    cfg.BoolOpt(
        "varnish_log",
        default=False,
        help="Whether Varnish also logs clients' requests, for varnishlog. This costs half as "
        "much again for each hit. Errors and requests to origins are always logged.",
    ),
    cfg.IntOpt(
        "max_object_size",
        default=16 * _MEGABYTE,
        min=0,
        max=1024 * 1024 * _MEGABYTE,
        help="The largest object to cache, in bytes of Content-Length; less than cache_size. "
        "Larger ones are streamed from the origin at each request.",
    ),
    cfg.IntOpt(
        "grace",
        default=300,
        min=0,
        max=30 * 24 * _HOUR,
        help="Seconds after its TTL, or after a soft purge, in which an object may be served "
        "stale: while it is being refreshed, and while the origin is down.",
    ),
    cfg.FloatOpt(
        "connect_timeout",
        default=5.0,
        min=0.1,
        max=_HOUR,
        help="Seconds to wait for a connection to an origin.",
    ),
    cfg.FloatOpt(
        "first_byte_timeout",
        default=60.0,
        min=0.1,
        max=_HOUR,
        help="Seconds to wait for the first byte of an origin's response.",
    ),
    cfg.FloatOpt(
        "between_bytes_timeout",
        default=60.0,
        min=0.1,
        max=_HOUR,
        help="Seconds to wait between two parts of an origin's response.",
    ),
    cfg.ListOpt(
        "nameservers",
        default=[],
        help="Addresses, optionally with ports, of the DNS servers that resolve the names of "
        "origins. They are asked over TCP, and must follow aliases. Empty: those of "
        "/etc/resolv.conf.",
    ),
    cfg.ListOpt(
        "allowed_origins",
        default=[],
        help="Addresses and CIDR blocks that origins may have although they are not globally "
        "reachable: private and loopback addresses, say. A tenant can read everything there "
        "through the edge.",
    ),
    cfg.ListOpt(
        "refused_origins",
        default=[],
        help="Addresses and CIDR blocks that no origin may have, besides those that are not "
        "globally reachable: your own public ones, say. It takes precedence over "
        "allowed_origins.",
    ),
    cfg.StrOpt(
        "origin_ca_file",
        default="/etc/ssl/certs/ca-certificates.crt",
        help="Certificates of the authorities that may sign those of origins.",
    ),
    cfg.StrOpt(
        "geography_database",
        default="",
        help='A file of lines "<CIDR block> <ISO 3166-1 alpha-2 code>". Empty: the node refuses '
        "services with geography restrictions, and counts all clients as of an unknown country.",
    ),
    cfg.ListOpt(
        "trusted_proxies",
        default=[],
        help="Addresses and CIDR blocks of the load balancers in front of the nodes. Their "
        "X-Forwarded-Host and the like are passed on.",
    ),
    cfg.StrOpt(
        "client_ip_header",
        default="",
        help="Header in which a trusted proxy sends the client's address alone (X-Real-IP). "
        "Empty: the client's address is that of the connection.",
    ),
    cfg.StrOpt(
        "cookies",
        default="pass",
        choices=[
            ("pass", "requests with cookies always go to the origin, never to the cache"),
            ("strip", "on cached paths, remove the cookies of GET and HEAD requests"),
        ],
        help="How to handle requests with cookies.",
    ),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """A node's settings; the options' help describes them.

    Attributes:
        http, https: addresses with ports, IPv6 addresses in brackets.
        cache_size: in megabytes.
        max_object_size: in bytes.
        nameservers: addresses with ports; never empty.
        geography_database: None if there is none.
    """

    state_directory: Path
    run_directory: Path
    http: tuple[str, ...]
    https: tuple[str, ...]
    metrics: str
    threads: int
    connections: int
    cache_size: int
    varnish_log: bool
    max_object_size: int
    grace: int
    connect_timeout: float
    first_byte_timeout: float
    between_bytes_timeout: float
    nameservers: tuple[str, ...]
    allowed_origins: tuple[addresses.Network, ...]
    refused_origins: tuple[addresses.Network, ...]
    origin_ca_file: Path
    geography_database: Path | None
    trusted_proxies: tuple[addresses.Network, ...]
    client_ip_header: str
    strip_cookies: bool


def register(conf: cfg.ConfigOpts) -> None:
    """Register the options with a configuration."""
    conf.register_opts(OPTS, group="edge")


def read(conf: cfg.ConfigOpts) -> Settings:
    """Return the settings of a configuration on which :func:`register` was called.

    Raises:
        ConfigError: names the option.
    """
    group = conf.edge
    header = group.client_ip_header
    if header and not _FIELD.fullmatch(header):
        raise _error("client_ip_header", f"{header!r} is not a header name")
    if header and not group.trusted_proxies:
        raise _error("client_ip_header", "it is accepted from trusted_proxies, which is empty")
    if group.max_object_size >= group.cache_size * _MEGABYTE:
        raise _error("max_object_size", "it is not less than cache_size")
    if not group.http:
        raise _error("http", "it is empty")
    database = group.geography_database
    return Settings(
        state_directory=_directory(group, "state_directory"),
        run_directory=_directory(group, "run_directory"),
        http=_endpoints(group, "http"),
        https=_endpoints(group, "https"),
        metrics=_endpoint("metrics", group.metrics),
        threads=group.threads,
        connections=group.connections,
        cache_size=group.cache_size,
        varnish_log=group.varnish_log,
        max_object_size=group.max_object_size,
        grace=group.grace,
        connect_timeout=group.connect_timeout,
        first_byte_timeout=group.first_byte_timeout,
        between_bytes_timeout=group.between_bytes_timeout,
        nameservers=_endpoints(group, "nameservers", 53) or _system_nameservers(),
        allowed_origins=_networks(group, "allowed_origins"),
        refused_origins=_networks(group, "refused_origins"),
        origin_ca_file=_file("origin_ca_file", group.origin_ca_file),
        geography_database=_file("geography_database", database) if database else None,
        trusted_proxies=_networks(group, "trusted_proxies"),
        client_ip_header=header,
        strip_cookies=group.cookies == "strip",
    )


def _error(option: str, problem: str) -> ConfigError:
    return ConfigError(f"[edge] {option}: {problem}")


def _directory(group: Any, option: str) -> Path:
    path = _file(option, group[option])
    if len(str(path)) > _LONGEST_DIRECTORY:
        raise _error(option, f"it is longer than {_LONGEST_DIRECTORY} bytes")
    return path


def _file(option: str, text: str) -> Path:
    if not _DIRECTORY.fullmatch(text):
        raise _error(option, f"{text!r} is no absolute path of letters, digits and _ . -")
    return Path(text)


def _endpoints(group: Any, option: str, port: int | None = None) -> tuple[str, ...]:
    return tuple(_endpoint(option, text, port) for text in group[option])


def _endpoint(option: str, text: str, port: int | None = None) -> str:
    """Return address and port, in HAProxy's notation.

    Args:
        port: for an address without one; None if it must have one.
    """
    if port is not None and (alone := addresses.parse(text)) is not None:
        text = f"[{alone}]:{port}" if alone.version == 6 else f"{alone}:{port}"
    host, colon, digits = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        if not colon or not digits.isascii() or not 1 <= int(digits) <= 65535:
            raise ValueError("no port from 1 to 65535")
    except ValueError as exc:
        raise _error(option, f"{text!r} is no address with a port: {exc}") from exc
    return f"[{address}]:{int(digits)}" if address.version == 6 else f"{address}:{int(digits)}"


def _networks(group: Any, option: str) -> tuple[addresses.Network, ...]:
    try:
        return tuple(addresses.networks(group[option]))
    except ValueError as exc:
        raise _error(option, str(exc)) from exc


def _system_nameservers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """Return the name servers of resolv.conf(5): the local one if it names none."""
    found = []
    for line in path.read_text("utf-8", "replace").splitlines() if path.exists() else ():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            address = addresses.parse(words[1])
            if address is not None:
                found.append(_endpoint("nameservers", str(address), 53))
    return tuple(found) or ("127.0.0.1:53",)
