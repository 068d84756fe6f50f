# SPDX-License-Identifier: Apache-2.0
"""Waitress, made to answer errors in JSON and to stop without dropping requests.

Waitress reads requests and writes responses in one thread and runs the application in others,
so that a slow client costs no application thread.
"""

import contextlib
import socket
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import waitress.channel
import waitress.server
import waitress.task
import waitress.wasyncore
from oslo_context import context
from oslo_log import log

from poppy.common.errors import ConfigError
from poppy.transport.pecan import errors
from poppy.transport.pecan.response import encode

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

LOG = log.getLogger(__name__)

#: Seconds that requests under way get to finish when the server stops.
GRACE = 10.0

#: Connections to a process. Each costs a file descriptor (``ulimit -n``) and little else.
_CONNECTIONS = 1000
#: Seconds until a connection without any traffic is closed.
_IDLE = 60
_MAX_HEADER_SIZE = 65536
_BACKLOG = 1024


class _ErrorTask(waitress.task.ErrorTask):  # type: ignore[misc]
    """Answers what is not even HTTP, or too large to be read, as the API answers errors."""

    def execute(self) -> None:
        error = self.request.error
        request_id = context.generate_request_id()
        LOG.info("Request %s refused: %s %s", request_id, error.code, error.body)
        message = errors.FAULT if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR else error.body
        body = encode(errors.document(message, request_id))
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", "application/json"),
            ("x-openstack-request-id", request_id),
        ]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(waitress.channel.HTTPChannel):  # type: ignore[misc]
    error_task_class = _ErrorTask

    @property
    def busy(self) -> bool:
        """Whether a request of this connection is being answered."""
        return bool(self.requests or self.total_outbufs_len)


def listen(host: str, port: int, group: str) -> socket.socket:
    """Bind an address, IPv4 or IPv6, and listen; ``::`` takes IPv4 as well.

    Raises:
        ConfigError: the address can't be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    except OSError as exc:
        raise ConfigError(
            f"[{group}] bind = {host}, port = {port}: can't listen there: {exc}"
        ) from exc


class Server:
    """One process's share of a listening socket.

    Args:
        max_body_size: in bytes, that the application accepts. It refuses larger ones with
            more to say than Waitress can; Waitress stops reading at four times as many.
        behind_proxy: whether the application trusts header fields about forwarding. If not,
            they are removed, so that nothing can trust them by mistake.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        sock: socket.socket,
        threads: int,
        max_body_size: int,
        behind_proxy: bool,
    ) -> None:
        self._stopping = False
        self._server: Any = waitress.server.create_server(
            application,
            sockets=[sock],
            threads=threads,
            ident="poppy",
            clear_untrusted_proxy_headers=not behind_proxy,
            max_request_body_size=4 * max_body_size,
            max_request_header_size=_MAX_HEADER_SIZE,
            connection_limit=_CONNECTIONS,
            channel_timeout=_IDLE,
            backlog=_BACKLOG,
            expose_tracebacks=False,
            # select() can't watch descriptors above 1023.
            asyncore_use_poll=True,
        )
        self._server.channel_class = _Channel

    def run(self) -> None:
        """Serve until :meth:`stop`; then finish what is under way and close everything."""
        while not self._stopping:
            self._poll(1.0)
        self._server.accepting = False
        self._poll(0)  # what has arrived already counts as under way
        deadline = time.monotonic() + GRACE
        while self._close_idle() and time.monotonic() < deadline:
            self._poll(0.05)
        left = max(deadline - time.monotonic(), 0.1)
        self._server.task_dispatcher.shutdown(timeout=left)
        self._server.close()
        waitress.wasyncore.close_all(self._server._map)

    def stop(self) -> None:
        """Make :meth:`run` return. Takes no lock: a signal handler may call it."""
        if not self._stopping:
            self._stopping = True
            with contextlib.suppress(OSError):  # run() has noticed, and closed everything
                self._server.pull_trigger()

    def _poll(self, timeout: float) -> None:
        waitress.wasyncore.loop(timeout, use_poll=True, map=self._server._map, count=1)

    def _close_idle(self) -> bool:
        """Close the connections that wait for their next request; whether any are left."""
        channels = list(self._server.active_channels.values())
        for channel in channels:
            if not channel.busy:
                channel.handle_close()
        return bool(self._server.active_channels)
