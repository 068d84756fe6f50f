# SPDX-License-Identifier: Apache-2.0
"""HTTP client of Rackspace Cloud DNS: tokens, rate limits and jobs.

See https://docs.rackspace.com/docs/cloud-dns for the API (v1.0), and
https://docs.rackspace.com/docs/cloud-identity for the tokens (v2.0).
"""

import datetime
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import requests

from poppy.common import waits
from poppy.common.errors import (
    DriverError,
    InProgressError,
    PermanentError,
    RetryableError,
    Scope,
    Unauthorized,
)
from poppy.common.http import REFUSES_US, Client, names_object, retry_after

#: Seconds between polls of a job. An account may poll five times per second in total.
POLL = 1.0
#: Seconds until the next attempt if a job takes long; that attempt checks its effect.
POLL_AFTER = 10.0

#: Statuses that this module handles itself.
_EXPECTED = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.TOO_MANY_REQUESTS,
)


class Conflict(PermanentError):
    """The record, or one that excludes it, exists already."""


class API:
    """Cloud DNS for one account.

    Args:
        name: the driver's name, for messages.
        auth_url: URL of the identity service, without the version.
        url: URL of Cloud DNS with the account; None takes it from the service catalog.
        patience: seconds to wait for a job.
    """

    def __init__(
        self,
        name: str,
        auth_url: str,
        username: str,
        api_key: str,
        url: str | None,
        timeout: float,
        patience: float,
    ) -> None:
        self._name = name
        timeouts = (timeout, timeout)
        self._identity = Client(f"{name}'s identity", auth_url, timeout=timeouts, explain=_explain)
        self._dns = Client(name, "", timeout=timeouts, explain=_explain)
        credentials = {"username": username, "apiKey": api_key}
        self._login = {"auth": {"RAX-KSKEY:apiKeyCredentials": credentials}}
        self._given_url = url
        self._patience = patience
        self._lock = threading.Lock()
        self._session: tuple[str, str] | None = None

    def get(self, path: str, **params: str) -> Any:
        """Send a GET request and return the decoded answer.

        Raises:
            RetryableError: no answer, or a rate limit.
            PermanentError: refused, or not found.
        """
        return self._request("GET", path, params=params).json()

    def run(self, method: str, path: str, **options: Any) -> None:
        """Request a change and wait until its job is done.

        Raises:
            InProgressError: the job takes too long.
            Conflict: the record, or one that excludes it, exists already.
            RetryableError: no answer, a rate limit, or a failure of Cloud DNS in the job.
            PermanentError: refused.
        """
        job = self._request(method, path, **options).json()
        deadline = time.monotonic() + self._patience
        while job["status"] in ("INITIALIZED", "RUNNING"):
            if time.monotonic() > deadline:
                raise InProgressError(f"{self._name} is running job {job['jobId']}", POLL_AFTER)
            time.sleep(POLL)
            job = self.get(f"/status/{job['jobId']}", showDetails="true")
        if job["status"] != "COMPLETED":
            fault = job.get("error") or {}
            faults = (fault.get("failedItems") or {}).get("faults") or [fault]
            # Deleting a missing record succeeds.
            if method != "DELETE" or any(it.get("code") != HTTPStatus.NOT_FOUND for it in faults):
                raise self._error(f"failed at {method}", int(fault.get("code") or 500), fault)

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        for first in (True, False):
            token, base = self._authenticated()
            response = self._dns.request(
                method,
                base + path,
                headers={"X-Auth-Token": token},
                accept=_EXPECTED,
                **options,
            )
            if response.status_code != HTTPStatus.UNAUTHORIZED or not first:
                break
            # The token was revoked or has expired.
            self._forget(token)
        if response.ok:
            return response
        fault = _fault(response)
        error = self._error(f"answered {method} with", response.status_code, fault)
        if isinstance(error, RetryableError):
            error.retry_after = _wait(response.headers)
            own = names_object(str(error), response.request)
            error.scope = Scope.SERVICE if own else Scope.PROVIDER
        raise error

    def _error(self, what: str, code: int, fault: Mapping[str, Any]) -> DriverError:
        words = ": ".join(str(fault[key]) for key in ("message", "details") if fault.get(key))
        message = f"{self._name} {what} {code}" + (f": {words[:500]}" if words else "")
        if code == HTTPStatus.CONFLICT:
            return Conflict(message)
        if code >= HTTPStatus.INTERNAL_SERVER_ERROR or code in (
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.TOO_MANY_REQUESTS,
        ):
            return RetryableError(message)
        return Unauthorized(message) if code in REFUSES_US else PermanentError(message)

    def _authenticated(self) -> tuple[str, str]:
        """Return a token and the URL of Cloud DNS."""
        with self._lock:
            if self._session is None:
                access = self._identity.json("POST", "/v2.0/tokens", reads=True, json=self._login)[
                    "access"
                ]
                url = self._given_url or self._endpoint(access["serviceCatalog"])
                self._session = access["token"]["id"], url.rstrip("/")
            return self._session

    def _endpoint(self, catalog: list[dict[str, Any]]) -> str:
        for service in catalog:
            if service["type"] == "rax:dns" and service["endpoints"]:
                return str(service["endpoints"][0]["publicURL"])
        raise PermanentError(f"{self._name}: the account has no Cloud DNS in its catalog")

    def _forget(self, token: str) -> None:
        with self._lock:
            # Another thread may already have a new token.
            if self._session is not None and self._session[0] == token:
                self._session = None


def _wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait. Rate limits use Reply-After, an ISO 8601 date."""
    try:
        until = datetime.datetime.fromisoformat(headers.get("Reply-After", ""))
    except ValueError:
        return retry_after(headers)
    return waits.until(until, datetime.datetime.now(datetime.UTC))


def _fault(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    # A proxy in front reports rate limits, and wraps the fault in an object.
    inner = next(iter(body.values()), None) if isinstance(body, dict) and len(body) == 1 else None
    fault = inner if isinstance(inner, dict) else body
    return fault if isinstance(fault, dict) else {}


def _explain(response: requests.Response) -> str:
    fault = _fault(response)
    return ": ".join(str(fault[key]) for key in ("message", "details") if fault.get(key))
