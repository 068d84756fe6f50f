# SPDX-License-Identifier: Apache-2.0
"""Delivers complete files of access logs to the operator's object store.

For each file, the agent asks the API for a URL that allows to put just this object. So a node has
no credentials of the store. URLs have a signature, so they are not logged.
"""

import time
from collections.abc import Callable
from http import HTTPStatus

import requests
import requests.auth

from poppy.common.errors import PoppyError, Unavailable
from poppy.edge.agent.client import TIMEOUT, Client, reason
from poppy.edge.agent.schedule import Schedule
from poppy.edge.logs.spool import Part, Spool
from poppy.model.edge_logs import LogObject

#: Maximum seconds between two attempts.
_CEILING = 300.0


class StoreError(PoppyError):
    """The object store has not taken an object. The message has no URL."""


class Delivery:
    """Sends files, for one thread. What one project's bucket refuses does not hold up the others.

    Args:
        client: a client of the nodes' API.
        spool: the files.
        complain: logs an error that may be repeated soon.
        ca_file: CA certificates of the object store; the default is that of ``requests``.
        clock: tells the time in seconds.

    Attributes:
        delivered: the objects that were stored since the agent's start.
    """

    def __init__(
        self,
        client: Client,
        spool: Spool,
        complain: Callable[[str, Exception], None],
        ca_file: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._spool = spool
        self._complain = complain
        self._verify = ca_file or True
        self._clock = clock
        self._api = Schedule(clock, _CEILING)
        self._stores: dict[str, Schedule] = {}
        self._session = requests.Session()
        self._session.auth = _NoAuth()
        self.delivered = 0

    def turn(self) -> bool:
        """Deliver the oldest file that is due; return whether there was one."""
        if not self._api.due:
            return False
        due = self._spool.due()
        waiting = {it.project_id for it in due}
        self._stores = {name: it for name, it in self._stores.items() if name in waiting}
        for part in due:
            store = self._stores.setdefault(part.project_id, Schedule(self._clock, _CEILING))
            if not store.due:
                continue
            with self._spool.sending(part) as found:
                if found:
                    self._deliver(part, store)
            return True
        return False

    def _deliver(self, part: Part, store: Schedule) -> None:
        try:
            content = part.compressed()
            if content:
                url = self._client.log_upload(
                    LogObject(part.project_id, part.service_id, part.start, part.id, len(content))
                )
                self._put(url, content)
                self.delivered += 1
            self._spool.delivered(part)
        except (StoreError, OSError) as exc:
            store.failed()
            self._complain("Can't deliver access logs: %s", exc)
        except PoppyError as exc:
            self._api.failed(exc.retry_after if isinstance(exc, Unavailable) else 0)
            self._complain("The API allows no delivery of access logs: %s", exc)
        else:
            store.succeeded(0)
            self._api.succeeded(0)

    def _put(self, url: str, content: bytes) -> None:
        try:
            with self._session.put(
                url,
                data=content,
                timeout=TIMEOUT,
                allow_redirects=False,
                stream=True,
                # In the session, REQUESTS_CA_BUNDLE would take precedence.
                verify=self._verify,
            ) as response:
                status = response.status_code
        except requests.RequestException as exc:
            raise StoreError(f"the object store: {reason(exc)}") from exc
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise StoreError(f"the object store answers {status}")


class _NoAuth(requests.auth.AuthBase):
    """Without an ``auth``, requests would send a password from ``~/.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request
