# SPDX-License-Identifier: Apache-2.0
"""Options of edges, and the check whether an edge serves requests."""

import asyncio
import ssl
import urllib.parse
from collections.abc import Sequence

import requests.models
from oslo_config import cfg
from oslo_log import log

LOG = log.getLogger(__name__)

#: Options of every provider driver.
OPTS: Sequence[cfg.Opt] = (
    cfg.URIOpt(
        "edge_check_url",
        schemes=["http", "https"],
        help="URL that failover requests to check whether this provider serves: a small object "
        "that you keep on its edge. A 2xx or 3xx status means that it serves. Unset: the driver's "
        "own edge check, if it has one. A provider without either never counts as down.",
    ),
    cfg.FloatOpt(
        "edge_check_timeout",
        default=3.0,
        min=0.1,
        help="Timeout of this check in seconds, from the DNS lookup to the response status.",
    ),
)

#: Options of drivers with timeouts for origins.
ORIGIN_TIMEOUTS: Sequence[cfg.Opt] = (
    cfg.FloatOpt(
        "connect_timeout",
        default=5.0,
        min=0.1,
        help="Seconds that an edge waits to connect to an origin.",
    ),
    cfg.FloatOpt(
        "first_byte_timeout",
        default=60.0,
        min=0.1,
        help="Seconds that an edge waits for the first byte of an origin's response.",
    ),
    cfg.FloatOpt(
        "between_bytes_timeout",
        default=60.0,
        min=0.1,
        help="Seconds that an edge waits between two parts of an origin's response.",
    ),
)

#: Maximum bytes of a response line.
_LONGEST_LINE = 65536
_OK = range(200, 400)


def fixed_names(*templates: str | None) -> Sequence[str]:
    """Return the edge's names that are the same for all domains.

    Args:
        templates: values of options. A template with ``{domain}`` gives each domain its own name,
            in a vendor's zone that other customers share.
    """
    return [name for name in templates if name and "{" not in name]


def answers(url: str, timeout: float) -> bool:
    """Return whether a URL answers with 2xx or 3xx; never raise.

    Redirects are not followed, and only the status of the response is read. Certificates are
    verified with the system's CAs.

    Args:
        timeout: total seconds, even if the response arrives slowly. Only a DNS lookup may take
            longer.
    """
    try:
        status = asyncio.run(asyncio.wait_for(_status(url), timeout))
    except (OSError, ValueError, TimeoutError, requests.RequestException) as exc:
        LOG.info("%s is not served: %s", url, str(exc) or type(exc).__name__)
        return False
    if status not in _OK:
        LOG.info("%s answered with %s", url, status)
    return status in _OK


async def _status(url: str) -> int:
    """Return the status of the final response (RFC 9112, section 4).

    Raises:
        OSError: no connection, or it was closed; also for an invalid certificate.
        ValueError: the response is not HTTP.
    """
    prepared = requests.models.PreparedRequest()
    prepared.prepare_url(url, None)
    parts = urllib.parse.urlsplit(str(prepared.url))
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    reader, writer = await asyncio.open_connection(
        parts.hostname, port, ssl=tls, limit=_LONGEST_LINE
    )
    try:
        host = parts.netloc.rpartition("@")[2]
        writer.write(
            f"GET {prepared.path_url} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: poppy\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n".encode("ascii")
        )
        while (status := _parsed(await reader.readline())) < 200:
            # Skip the header of an interim response (RFC 9110, section 15.2).
            while (await reader.readline()).strip():
                pass
        return status
    finally:
        writer.transport.abort()


def _parsed(line: bytes) -> int:
    version, _, rest = line.decode("latin-1").partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit()):
        raise ValueError("the response is not HTTP")
    return int(status)
