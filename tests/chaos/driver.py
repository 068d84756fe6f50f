# SPDX-License-Identifier: Apache-2.0
"""Correct drivers for the double, as a third party would write them."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

from poppy.common import http, inspection
from poppy.common.errors import InProgressError, PermanentError, RetryableError
from poppy.dns.base import COMMON_OPTS, DNSDriver, difference
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.provider.base import Capability, Deployment, Provider

#: Seconds between polls of slow calls.
_POLL = 0.2
_OPTS = (
    cfg.StrOpt("url", required=True, help="Where the double is."),
    cfg.FloatOpt("timeout", default=2.0, help="Seconds to wait for an answer."),
)


class ChaosProvider(Provider):
    """A provider with one object per service, found by the service's id."""

    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        *_OPTS,
        cfg.BoolOpt(
            "careless",
            default=False,
            help="Make an object without looking for one, as a bad driver does.",
        ),
    )
    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset(Capability) - {Capability.LOG_DELIVERY}

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        self._http = _client(name, self.options)

    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Create the object, or change it if it is unchanged since it was read."""
        document = {"reference": service.service_id, "spec": service.spec.to_dict()}
        known_id = known.provider_service_id if known else None
        careless = self.options.careless and known_id is None
        found = None if careless else self._find(service)
        if found is None:
            reference = None if careless else service.service_id
            found = self._call("POST", "objects", {"reference": reference, "document": document})
        elif found["deleting"]:
            raise PermanentError(f"{found['id']} is being deleted")
        elif found["document"] != document:
            inspection.differs(f"{found['id']} has another document")
            path, seen = f"objects/{found['id']}", {"If-Match": found["etag"]}
            found = self._call("PUT", path, {"document": document}, seen)
        return Deployment(
            provider_service_id=found["id"],
            access_urls={
                domain: access_url(domain, found["id"]) for domain in service.spec.domain_names
            },
            in_progress=found["pending"] > 0,
            poll_after=_POLL,
        )

    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Delete the object, which may take several polls."""
        found = self._find(service)
        if found is None:
            return
        if not found["deleting"]:
            path = f"objects/{found['id']}"
            answer = self._http.request("DELETE", path, accept={404}, headers=_caller())
            if answer.status_code != 202:
                return
        raise InProgressError(f"{found['id']} is being deleted", _POLL)

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Purge; repeating it is harmless."""
        found = self._find(service)
        if found is None:
            raise PermanentError(f"there is no object of service {service.service_id}")
        self._call("POST", f"objects/{found['id']}/purges", {"url": purge.url, "hard": purge.hard})

    def health(self) -> bool:
        """Return whether the double responds."""
        return self._http.answers("control/holds")

    def _find(self, service: Service) -> dict[str, Any] | None:
        query = {"reference": service.service_id}
        found = self._http.json("GET", "objects", params=query, headers=_caller())
        if len(found) > 1:
            raise PermanentError(f"there is more than one object: {[o['id'] for o in found]}")
        return found[0] if found else None

    def _call(
        self, method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Make a change; a concurrent change is a reason to retry."""
        answer = self._http.request(
            method,
            path,
            accept={404, 409, 412},
            json=body,
            headers={**_caller(), **(headers or {})},
        )
        if not answer.ok:
            raise RetryableError(f"{path} was changed meanwhile: {answer.status_code}")
        return answer.json() if answer.content else None


class ChaosDNS(DNSDriver):
    """A DNS driver for the double's zone."""

    OPTS: ClassVar[Sequence[cfg.Opt]] = (*COMMON_OPTS, *_OPTS)

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        self._http = _client(name, self.options)

    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Set the CNAMEs that differ."""
        names = sorted(cnames)
        zone = self._http.json("GET", "zone", params={"name": names}, headers=_caller())
        wrong = {name: cnames[name] for name in names if zone.get(name) != cnames[name]}
        for name, target in wrong.items():
            inspection.differs(str(difference(name, zone.get(name), target)))
        if wrong:
            self._http.request("POST", "zone", json={"set": wrong}, headers=_caller())

    def remove(self, names: Sequence[str]) -> None:
        """Unset the CNAMEs."""
        self._http.request("POST", "zone", json={"unset": list(names)}, headers=_caller())

    def health(self) -> bool:
        """Return whether the double responds."""
        return self._http.answers("control/holds")


def access_url(domain: str, name: str) -> str:
    """Return the access URL of a domain at an object of the double."""
    return f"{domain}.{name}.chaos.example.net"


def _client(name: str, options: Any) -> http.Client:
    return http.Client(name, options.url, timeout=(1.0, options.timeout))


def _caller() -> dict[str, str]:
    """Return the header that identifies the calling process to the double."""
    return {"X-Caller": str(os.getpid())}
