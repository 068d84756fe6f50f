# SPDX-License-Identifier: Apache-2.0
"""Record audit events of requests. :mod:`poppy.common.audit` defines the events."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from poppy.common import audit
from poppy.transport.pecan.recorder import ResponseRecorder
from poppy.transport.pecan.request import (
    DOCUMENT,
    ENDPOINT,
    IDENTITY,
    REQUEST_ID,
    ROUTE,
    ROUTE_VALUES,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSED = ("401", "403", "429")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
#: Members of a body that are recorded. No others are.
_NAMES = (
    "project_id",
    "service_id",
    "domain",
    "domain_name",
    "status",
    "action",
    "job_type",
    "limit",
    "flavor_id",
)
#: The first of these that the URL or body has identifies the target.
_IDS = ("operation_id", "service_id", "domain", "domain_name", "flavor_id", "name", "project_id")
_TEMPLATE = re.compile(r"\{(\w+)\}")


class Audited:
    """Records an event for each request that changes something or is refused."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request, and record its event."""
        response = ResponseRecorder(start_response)
        try:
            return self._application(environ, response)
        finally:
            route, status = environ.get(ROUTE), response.status
            endpoint = environ.get(ENDPOINT)
            changes = environ["REQUEST_METHOD"] not in _SAFE and not (endpoint and endpoint.node)
            if route and (changes or status in _REFUSED):
                found = (value for name, value in response.headers if name == "Location")
                _record(environ, route, status, next(found, ""))


def _record(environ: "WSGIEnvironment", route: str, status: str, location: str) -> None:
    found = _found(environ, route)
    endpoint = environ.get(ENDPOINT)
    rule: str = endpoint.rule.name if endpoint and endpoint.rule else route
    outcome = _outcome(status)
    if endpoint and endpoint.audit:
        action, kind = endpoint.audit
    else:
        action, kind = _action(environ, rule), _kind(rule)
        if outcome != "failure" and location and environ["REQUEST_METHOD"] == "POST":
            # The ID of the created resource or of the requested operation.
            found.setdefault("service_id" if kind == "services" else "id", _last(location))
    identifier = next((found[name] for name in (*_IDS, "id") if name in found), None)
    who = environ.get(IDENTITY)
    initiator = audit.Initiator(
        user_id=who.user_id if who else None,
        project_id=who.project_id if who else None,
        address=environ.get("REMOTE_ADDR"),
        agent=environ.get("HTTP_USER_AGENT"),
    )
    details = {**found, "rule": rule, "request_id": str(environ.get(REQUEST_ID, ""))}
    audit.record(action, outcome, initiator, audit.Target(kind, identifier, details), status)


def _found(environ: "WSGIEnvironment", route: str) -> dict[str, str]:
    """Return the recorded values of the URL and the body; the URL takes precedence."""
    values = environ.get(ROUTE_VALUES, ())
    found = dict(zip(_TEMPLATE.findall(route), values, strict=False))
    document = environ.get(DOCUMENT)
    if isinstance(document, Mapping):
        for name in _NAMES:
            value = document.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool):
                found.setdefault(name, str(value))
        domains = document.get("domains")
        if isinstance(domains, list):
            named = [it["domain"] for it in domains if isinstance(it, dict) and "domain" in it]
            found["domains"] = " ".join(str(it) for it in named)
    return found


def _action(environ: "WSGIEnvironment", rule: str) -> str:
    """Return the action, such as ``create``, ``disable`` or ``delete/purge``.

    (DSP0262, annex A.3.)
    """
    verb = _VERBS.get(environ["REQUEST_METHOD"], "read")
    word = rule.rpartition(":")[2]
    if word == "action":
        document = environ.get(DOCUMENT)
        asked = document if isinstance(document, Mapping) else {}
        named = asked.get("action") or next(iter(asked), "")
        if named in ("enable", "disable", "delete"):
            return str(named)
        word = named if named in ("retry", "cancel") else "action"
        verb = "update"
    return verb if word == verb or not word.isidentifier() else f"{verb}/{word}"


def _kind(rule: str) -> str:
    """Return ``services`` for ``cdn:services:create`` and ``cdn:admin_services:action``."""
    parts = rule.split(":")
    return parts[1].removeprefix("admin_") if len(parts) > 1 else "api"


def _outcome(status: str) -> str:
    if status == str(int(HTTPStatus.ACCEPTED)):
        return "pending"
    return "success" if status[0] in "23" else "failure"


def _last(location: str) -> str:
    return location.rstrip("/").rpartition("/")[2]
