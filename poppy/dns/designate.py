# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``designate``: OpenStack's DNS service, with its v2 API."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import requests
from keystoneauth1 import exceptions as ks_exceptions
from keystoneauth1 import loading
from oslo_config import cfg

from poppy.common import http, inspection, tracing
from poppy.common.errors import (
    DriverError,
    InProgressError,
    PermanentError,
    RetryableError,
    Scope,
    TimedOut,
    Unauthorized,
    succeeds,
)
from poppy.dns.base import COMMON_OPTS, DNSDriver, difference, occupied, possible
from poppy.dns.zones import ZONES_OPT, Zones

#: Seconds between polls for a change to reach the name servers.
POLL_AFTER = 2.0
#: Timeout of health checks, in seconds.
HEALTH_TIMEOUT = 3.0
#: Seconds to wait if the quota is exhausted, or another request changes the same zone.
PAUSE = 10.0

Recordset = Mapping[str, Any]


def _keystone_opts() -> list[cfg.Opt]:
    """Return keystoneauth's options for authentication, HTTP session and endpoint."""
    session = loading.get_session_conf_options()
    adapter = loading.get_adapter_conf_options(include_deprecated=False)
    cfg.set_defaults(session, timeout=30)
    cfg.set_defaults(adapter, service_type="dns")
    plugin = loading.get_auth_plugin_conf_options("v3password")
    return [*loading.get_auth_common_conf_options(), *plugin, *session, *adapter]


class Designate(DNSDriver):
    """Manage one recordset per name.

    Designate accepts a change at once and propagates it to its name servers later. The driver
    waits for that, so deployed names resolve, and nothing is removed while a name still points to
    it.

    See https://docs.openstack.org/api-ref/dns/ for the API.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = (*COMMON_OPTS, ZONES_OPT, *_keystone_opts())

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        try:
            auth = loading.load_auth_from_conf_options(conf, self.group)
            session = loading.load_session_from_conf_options(conf, self.group, auth=auth)
            self._adapter = loading.load_adapter_from_conf_options(
                conf, self.group, session=session, raise_exc=False, client_name="poppy"
            )
        except (ks_exceptions.ClientException, TypeError) as exc:
            raise self.config_error(str(exc)) from exc
        if auth is None:
            raise self.config_error("auth_type is missing (for example, password)")
        self._zones = Zones(self.options.zones, self.options.suffix, self._find_zone)

    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Set the CNAMEs one by one; see :meth:`DNSDriver.ensure`."""
        self._for_each(cnames, lambda zone, name: self._ensure(zone, name, cnames[name]))

    def remove(self, names: Sequence[str]) -> None:
        """Remove the CNAMEs one by one; see :meth:`DNSDriver.remove`."""
        self._for_each(possible(names), self._remove)

    def health(self) -> bool:
        """Return whether the API answers and accepts a token."""
        return succeeds(lambda: self._request("GET", "/v2/zones?limit=1", timeout=HEALTH_TIMEOUT))

    def _for_each(
        self, names: Sequence[str] | Mapping[str, str], work: Callable[[str, str], bool]
    ) -> None:
        """Process all names, then raise InProgressError if some are not done yet."""
        pending = [
            name
            for zone, members in self._zones.group(names).items()
            for name in members
            if not work(zone, name)
        ]
        if pending:
            raise InProgressError(
                f"Designate is propagating {', '.join(pending)} to its name servers", POLL_AFTER
            )

    def _ensure(self, zone: str, name: str, target: str) -> bool:
        """Set a CNAME and return whether the name servers have it."""
        path = f"/v2/zones/{zone}/recordsets"
        wanted = {"records": [f"{target}."], "ttl": self.options.ttl}
        found = self._recordsets(zone, name)
        foreign = sorted(entry["type"] for entry in found if entry["type"] != "CNAME")
        if foreign:
            raise occupied(name, ", ".join(foreign))
        if not found:
            inspection.differs(f"{name} has no CNAME; it should be {target}")
            body = {"name": f"{name}.", "type": "CNAME", **wanted}
            return _is_active(self._request("POST", path, json=body).json())
        (known,) = found
        is_wanted = {key: known[key] for key in wanted} == wanted
        if is_wanted and known["status"] != "ERROR":
            return _is_active(known)
        inspection.differs(difference(name, known["records"][0], target) or f"{name}: other TTL")
        # Writing a recordset in ERROR again makes Designate retry the propagation.
        changed = self._request("PUT", f"{path}/{known['id']}", json=wanted).json()
        if is_wanted:
            raise RetryableError(f"Designate could not propagate {name} to its name servers")
        return _is_active(changed)

    def _remove(self, zone: str, name: str) -> bool:
        """Remove a CNAME and return whether it is gone from the name servers.

        A deleted recordset is not listed any more, although name servers may still have it. Only
        the status of its zone shows that.
        """
        found = [entry for entry in self._recordsets(zone, name) if entry["type"] == "CNAME"]
        for entry in found:
            path = f"/v2/zones/{zone}/recordsets/{entry['id']}"
            self._request("DELETE", path, accept=(HTTPStatus.NOT_FOUND,))
        if found:
            return False
        status = self._request("GET", f"/v2/zones/{zone}").json()["status"]
        if status == "ERROR":
            raise RetryableError(
                f"Designate could not propagate the zone of {name} to its name servers"
            )
        return bool(status == "ACTIVE")

    def _recordsets(self, zone: str, name: str) -> list[Recordset]:
        params = {"name": f"{name}."}
        answer = self._request("GET", f"/v2/zones/{zone}/recordsets", params=params)
        recordsets: list[Recordset] = answer.json()["recordsets"]
        return recordsets

    def _find_zone(self, name: str) -> str | None:
        """Return the id of a zone; None if it does not exist."""
        answer = self._request("GET", "/v2/zones", params={"name": f"{name}."})
        found = answer.json()["zones"]
        return str(found[0]["id"]) if found else None

    def _request(
        self, method: str, path: str, accept: Sequence[int] = (), **options: Any
    ) -> requests.Response:
        if method != "GET":
            inspection.differs(f"{self.name} does not have the records as deployed ({method})")
        # The span includes fetching a token.
        with tracing.span(method, tracing.Kind.CLIENT) as span:
            try:
                answer: requests.Response = self._adapter.request(path, method, **options)
            except ks_exceptions.Unauthorized as exc:
                message = f"Keystone refuses the credentials of {self.name}"
                raise Unauthorized(message) from exc
            except ks_exceptions.ClientException as exc:
                span.fail(type(exc).__name__)
                # Messages contain URLs but no secrets: the password is in the body.
                message = f"{self.name} can't be reached: {exc}"
                if isinstance(exc, ks_exceptions.ConnectTimeout):
                    raise TimedOut(message) from exc
                raise RetryableError(message, scope=Scope.PROVIDER) from exc
            http.describe(span, method, answer.url)
            span.set({"http.response.status_code": answer.status_code})
            good = answer.ok or answer.status_code in accept
            if not good:
                span.fail(str(answer.status_code))
        if good:
            return answer
        raise self._error(method, answer)

    def _error(self, method: str, answer: requests.Response) -> DriverError:
        status = answer.status_code
        message = f"{self.name} answered {method} with {status}{_words(answer)}"
        # 409: another request has made the same change. 413: the quota; it can be raised, and does
        # not prevent deletes.
        if status in (HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
            return RetryableError(message, retry_after=PAUSE)
        error = http.failure(message, message, answer)
        if isinstance(error, PermanentError):
            # The zone may have been created again with another id.
            self._zones.forget()
        return error


def _is_active(recordset: Recordset) -> bool:
    return bool(recordset["status"] == "ACTIVE")


def _words(answer: requests.Response) -> str:
    """Return Designate's message, as in ``: over_quota: Quota exceeded for zone_recordsets.``."""
    try:
        body = answer.json()
        words = [str(body[key]) for key in ("type", "message") if body.get(key)]
        details = body.get("errors")
    except (ValueError, AttributeError):
        return ""
    return "".join(f": {word}" for word in [*words, *([str(details)] if details else [])])[:500]
