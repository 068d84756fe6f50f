# SPDX-License-Identifier: Apache-2.0
"""Whether an edge serves, found out as a client of it would: options of every provider driver."""

import asyncio
import ssl
import urllib.parse
from collections.abc import Sequence

import requests.models
from oslo_config import cfg
from oslo_log import log

LOG = log.getLogger(__name__)

OPTS: Sequence[cfg.Opt] = (
    cfg.URIOpt(
        "edge_check_url",
        schemes=["http", "https"],
        help="What failover asks to find out whether this provider serves: the URL of something "
        "small that you keep on its edge. A status of 2xx or 3xx says that it does. Unset: the "
        "driver's own look at its edge, where it has one; a provider without either is never "
        "taken for down.",
    ),
    cfg.FloatOpt(
        "edge_check_timeout",
        default=3.0,
        min=0.1,
        help="Seconds for that answer, from looking up the name to the status.",
    ),
)

#: Bytes of a line of an answer.
_LONGEST_LINE = 65536
_OK = range(200, 400)


def fixed_names(*templates: str | None) -> Sequence[str]:
    """Those names of an edge that are the same for every domain.

    Args:
        templates: values of options. One with ``{domain}`` gives each domain a name in a zone of
            the vendor's, which other customers share.
    """
    return [name for name in templates if name and "{" not in name]


def answers(url: str, timeout: float) -> bool:
    """Whether a URL is answered with 2xx or 3xx; never raises.

    Redirects are not followed, and no more of the answer is read than its status. Certificates
    are checked by those that the system trusts.

    Args:
        timeout: seconds for all of it, however slowly the answer drips in. (Only a resolver that
            does not answer may take as long as it takes.)
    """
    try:
        status = asyncio.run(asyncio.wait_for(_status(url), timeout))
    except (OSError, ValueError, TimeoutError, requests.RequestException) as exc:
        LOG.info("%s is not served: %s", url, str(exc) or type(exc).__name__)
        return False
    if status not in _OK:
        LOG.info("%s is answered with %s", url, status)
    return status in _OK


async def _status(url: str) -> int:
    """The status of the final answer (RFC 9112, section 4).

    Raises:
        OSError: no connection, or it ended; also for a certificate that is not right.
        ValueError: that is no HTTP.
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
            # An interim answer, behind whose header comes another (RFC 9110, section 15.2).
            while (await reader.readline()).strip():
                pass
        return status
    finally:
        writer.transport.abort()


def _parsed(line: bytes) -> int:
    version, _, rest = line.decode("latin-1").partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit()):
        raise ValueError("the answer is no HTTP")
    return int(status)
