# SPDX-License-Identifier: Apache-2.0
"""Filling a node's cache: the agent requests URLs of its own HAProxy, as clients do."""

import collections
import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from oslo_log import log

from poppy.edge.options import Settings
from poppy.model.edge import MAX_REASON, Prewarmed

LOG = log.getLogger(__name__)

#: Seconds for all requests of a prewarm: the service's later operations wait for it.
LONGEST = 60.0
#: Prewarms whose state a node reports; the oldest ones are forgotten.
MAX_REPORTED = 100
_THREADS = 2
_TIMEOUT = 20.0  # Seconds for each read.
_SHOWN = 3  # URLs in a reason.
_PART = 65536


class Target(NamedTuple):
    """What to request.

    Attributes:
        secure: whether to use HTTPS.
        path: perhaps with a query.
    """

    host: str
    secure: bool
    path: str


@dataclass
class _Work:
    revision: int
    targets: collections.deque[Target]
    until: float
    total: int = 0
    running: int = 0
    failed: list[str] = field(default_factory=list)


class Prewarming:
    """Requests URLs of services, a few at a time and of the services in turn.

    What is left is lost when the agent ends; the node then reports nothing about it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._endpoints = {
            secure: _local(endpoints[0])
            for secure, endpoints in ((False, settings.http), (True, settings.https))
            if endpoints
        }
        self._tls = ssl.create_default_context()
        # The certificates are those of tenants, and the server is this node.
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._changed = threading.Condition()
        self._works: collections.OrderedDict[str, _Work] = collections.OrderedDict()
        self._threads: list[threading.Thread] = []

    def add(self, service_id: str, revision: int, targets: Sequence[Target]) -> None:
        """Request targets in the background, in place of the service's earlier ones."""
        until = time.monotonic() + LONGEST
        work = _Work(revision, collections.deque(targets), until, len(targets))
        with self._changed:
            self._works.pop(service_id, None)
            self._works[service_id] = work
            while len(self._works) > MAX_REPORTED:
                self._works.popitem(last=False)
            while len(self._threads) < _THREADS:
                thread = threading.Thread(target=self._run, name="prewarm", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def state(self) -> Mapping[str, Prewarmed]:
        """Return the state of the latest prewarms by service."""
        with self._changed:
            return {
                service: Prewarmed(
                    work.revision, not (work.targets or work.running), _reason(work)
                )
                for service, work in self._works.items()
            }

    def _run(self) -> None:
        while True:
            with self._changed:
                while (found := self._next()) is None:
                    self._changed.wait()
            work, target = found
            error = "not in time"
            if time.monotonic() < work.until:
                error = self._fetch(target, work.until)
            with self._changed:
                work.running -= 1
                if error:
                    work.failed.append(f"{target.host}{target.path}: {error}")

    def _next(self) -> tuple[_Work, Target] | None:
        """Take a target of the service that has waited longest."""
        for service, work in self._works.items():
            if work.targets:
                work.running += 1
                self._works.move_to_end(service)
                return work, work.targets.popleft()
        return None

    def _fetch(self, target: Target, until: float) -> str:
        """Request a target; return what is wrong, or an empty text."""
        secure = target.secure and True in self._endpoints
        if secure not in self._endpoints:
            return "this node has no addresses for HTTP"
        address, port = self._endpoints[secure]
        try:
            with contextlib.closing(http.client.HTTPConnection(address, port)) as connection:
                connection.sock = socket.create_connection((address, port), _TIMEOUT)
                if secure:
                    connection.sock = self._tls.wrap_socket(
                        connection.sock, server_hostname=target.host
                    )
                connection.request("GET", target.path, headers={"Host": target.host})
                response = connection.getresponse()
                left = self._settings.max_object_size
                while left > 0 and (part := response.read(_PART)):
                    left -= len(part)
                    if time.monotonic() > until:
                        return "not in time"
                return str(response.status) if response.status >= 400 else ""
        except TimeoutError:
            return "no response in time"
        except (OSError, http.client.HTTPException, ValueError) as exc:
            LOG.warning("Prewarming %s%s: %s", target.host, target.path, exc)
            return "no response"


def _reason(work: _Work) -> str:
    if not work.failed:
        return ""
    shown = "; ".join(work.failed[:_SHOWN])
    return f"{len(work.failed)} of {work.total} failed: {shown}"[:MAX_REASON]


def _local(endpoint: str) -> tuple[str, int]:
    """Return an address at which this node itself reaches one of its endpoints."""
    host, _, port = endpoint.rpartition(":")
    host = host.strip("[]")
    if host in ("", "*", "0.0.0.0"):  # noqa: S104 - it is compared, not bound
        host = "127.0.0.1"
    return ("::1" if host == "::" else host), int(port)
