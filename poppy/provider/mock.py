# SPDX-License-Identifier: Apache-2.0
"""The provider ``mock``: a simulated CDN in files, for tests and for trying out Poppy."""

import contextlib
import datetime
import json
import os
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from oslo_config import cfg

from poppy.common import inspection
from poppy.common.errors import RetryableError, succeeds
from poppy.model.certificates import Certificate
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider.base import (
    Capability,
    Deployment,
    Issuance,
    Metric,
    Point,
    Provider,
    Query,
    check_access_name,
)

_CERTIFICATE = "certificate:"


class MockProvider(Provider):
    """Store one JSON object per service; serve no content.

    An object is ``{"service_id", "provider_service_id", "spec", "updates", "purges"}``.
    ``updates`` counts how often it was created or changed; ``purges`` lists its purges. With
    ``directory``, each object is a file named after its service, and any number of processes
    share them. Otherwise the objects are in this process's memory.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        cfg.StrOpt(
            "directory",
            help="Directory of the objects. It is created if missing. Unset: the objects are in "
            "memory and visible only to this process.",
        ),
        cfg.StrOpt(
            "suffix",
            default="mock.example.net",
            help="Suffix of access URLs, which are <domain>.<suffix>, and of the store of access "
            "logs. Nothing answers there.",
        ),
        cfg.FloatOpt(
            "latency",
            default=0.0,
            min=0.0,
            mutable=True,
            help="Duration of each call in seconds. The call takes effect halfway.",
        ),
    )

    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset(Capability)

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        self._memory: dict[str, str] = {}

    def check(self, spec: ServiceSpec) -> None:
        """Refuse a domain with an access name that is impossible in DNS."""
        for domain in sorted(spec.domain_names):
            check_access_name(domain, self._access_name(domain))

    @property
    def reserved_names(self) -> Sequence[str]:
        """The suffix of access URLs."""
        return (self.options.suffix,)

    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Create or change the object; see :meth:`Provider.ensure`."""
        with self._call():
            spec = service.spec.to_dict()
            found = self.find(service.service_id)
            if found is None or found["spec"] != spec:
                inspection.differs(
                    "its object has another document" if found else "its object is missing"
                )
                found = found or {"updates": 0, "purges": []}
                found |= {
                    "service_id": service.service_id,
                    "provider_service_id": f"mock-{service.service_id}",
                    "spec": spec,
                    "updates": found["updates"] + 1,
                }
                self._write(service.service_id, found)
        domains = sorted(service.spec.domain_names)
        return Deployment(
            provider_service_id=found["provider_service_id"],
            access_urls={domain: self._access_name(domain) for domain in domains},
            certificates={
                entry.domain: "deployed" for entry in service.spec.domains if entry.certificate
            },
            log_url=self._log_url(service),
        )

    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Delete the object; see :meth:`Provider.remove`."""
        with self._call():
            self._delete(service.service_id)

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Record the purge in the object; see :meth:`Provider.purge`."""
        with self._call():
            found = self.find(service.service_id)
            if found is None:
                raise self.no_such(service)
            found["purges"] += [part.to_dict() for part in purge.single()]
            self._write(service.service_id, found)

    def prewarm(
        self,
        service: Service,
        known: ProviderDetail | None,
        paths: Sequence[str],
        reference: str,
    ) -> str:
        """Record the paths in the object as ``prewarmed``; see :meth:`Provider.prewarm`."""
        with self._call():
            found = self.find(service.service_id)
            if found is None:
                raise self.no_such(service)
            self._write(service.service_id, found | {"prewarmed": list(paths)})
        return ""

    def ensure_certificate(self, certificate: Certificate, known: Issuance | None) -> Issuance:
        """Issue the certificate at once; see :meth:`Provider.ensure_certificate`."""
        with self._call():
            name = _certificate(certificate)
            found = self.find(name) or {"serial": zlib.crc32(name.encode())}
            self._write(name, found)
        return Issuance("deployed", {"serial": found["serial"]})

    def remove_certificate(self, certificate: Certificate, known: Issuance | None) -> None:
        """Delete the certificate; see :meth:`Provider.remove_certificate`."""
        with self._call():
            self._delete(_certificate(certificate))

    def metrics(
        self, service: Service, known: ProviderDetail | None, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        """Return simulated hourly counts, which are deterministic."""
        with self._call():
            # An object in memory is visible to the worker that created it, not to the API.
            elsewhere = not self.options.directory and known is not None and known.exists
            if not elsewhere and self.find(service.service_id) is None:
                raise self.no_such(service)
        hour = datetime.timedelta(hours=1)
        first = query.start.replace(minute=0, second=0, microsecond=0)
        hours = [first + n * hour for n in range(-(-(query.end - first) // hour))]
        return {
            country if query.by_country else zone: [
                Point(moment, _count(query, zone, moment)) for moment in hours
            ]
            for zone, country in _ZONES.items()
        }

    def health(self) -> bool:
        """Return whether the objects can be read."""
        return succeeds(lambda: self.find("health"))

    def find(self, service_id: str) -> dict[str, Any] | None:
        """Return the object of a service, for tests and demos."""
        try:
            if not self.options.directory:
                text = self._memory[service_id]
            else:
                text = self._path(service_id).read_text(encoding="utf-8")
        except (KeyError, FileNotFoundError):
            return None
        except OSError as exc:
            raise RetryableError(str(exc)) from exc
        found: dict[str, Any] = json.loads(text)
        return found

    def service_ids(self) -> set[str]:
        """Return the ids of services with an object."""
        if not self.options.directory:
            return {name for name in self._memory if not name.startswith(_CERTIFICATE)}
        files = Path(self.options.directory).glob("*.json")
        found = (json.loads(file.read_text(encoding="utf-8")) for file in files)
        return {it["service_id"] for it in found if "service_id" in it}

    def _log_url(self, service: Service) -> str:
        if not service.spec.log_delivery:
            return ""
        path = f"{service.project_id}/{service.service_id}/{self.name}/"
        return f"https://logs.{self.options.suffix}/{path}"

    def _access_name(self, domain: str) -> str:
        return f"{domain}.{self.options.suffix}"

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        time.sleep(self.options.latency / 2)
        yield
        time.sleep(self.options.latency / 2)

    def _delete(self, service_id: str) -> None:
        if not self.options.directory:
            self._memory.pop(service_id, None)
            return
        with _as_driver_error():
            self._path(service_id).unlink(missing_ok=True)

    def _path(self, service_id: str) -> Path:
        return Path(self.options.directory) / f"{quote(service_id, safe='')}.json"

    def _write(self, service_id: str, found: dict[str, Any]) -> None:
        text = json.dumps(found, indent=1)
        if not self.options.directory:
            self._memory[service_id] = text
            return
        path = self._path(service_id)
        with _as_driver_error():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Readers see either the old object or the new one, even if the writer is killed.
            handle, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)


#: The country that all simulated clients of a zone have.
_ZONES = {"North America": "US", "EMEA": "DE", "APAC": "ZZ"}
#: Responses of each class per thousand.
_SHARES = {
    Metric.RESPONSES_1XX: 0,
    Metric.RESPONSES_2XX: 900,
    Metric.RESPONSES_3XX: 70,
    Metric.RESPONSES_4XX: 25,
    Metric.RESPONSES_5XX: 5,
}
_BYTES_OF_A_RESPONSE = 20_000
_HITS = 800  # Per thousand requests.


def _count(query: Query, zone: str, moment: datetime.datetime) -> int:
    """Return a plausible count: classes add up, and bytes are proportional to requests."""
    visitors = zlib.crc32(f"{query.domain} {zone} {moment:%Y%m%d%H}".encode()) % 5000
    classes = {metric: visitors * share // 1000 for metric, share in _SHARES.items()}
    if query.metric in classes:
        return classes[query.metric]
    requests = sum(classes.values())
    if query.metric is Metric.CACHE_HITS:
        return requests * _HITS // 1000
    return requests * (_BYTES_OF_A_RESPONSE if query.metric is Metric.BANDWIDTH_OUT else 1)


def _certificate(certificate: Certificate) -> str:
    return f"{_CERTIFICATE}{certificate.cert_type}:{certificate.domain_name}"


@contextlib.contextmanager
def _as_driver_error() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise RetryableError(str(exc)) from exc
