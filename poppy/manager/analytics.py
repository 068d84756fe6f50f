# SPDX-License-Identifier: Apache-2.0
"""Analytics: the only request that waits for a third party.

It is bounded: calls have a timeout and a concurrency limit, and results are cached for a minute.
"""

import collections
import datetime
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from poppy.common import errors, tracing
from poppy.manager.admin_search import host
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.provider.base import Capability, Metric, Point, Provider, Query
from poppy.storage.base import Storage

#: The default period of a report.
DEFAULT_PERIOD = datetime.timedelta(days=1)
MAX_PERIOD = datetime.timedelta(days=366)
#: The value of ``groupBy``.
COUNTRY = "country"

_TIME = "%Y-%m-%dT%H:%M:%S"
_CALLS = 4
_KEPT = 1000
_KEPT_FOR = 60.0
#: The default and the maximum ``Retry-After``, in seconds.
_RETRY_AFTER, _LONGEST_WAIT = 5, 3600


@dataclass(frozen=True, slots=True)
class Report:
    """The analytics of a domain.

    Attributes:
        query: the domain, metric and period.
        provider: the provider's name.
        flavor_id: the flavor of the service.
        zones: the counts by zone, in order of time.
    """

    query: Query
    provider: str
    flavor_id: str
    zones: Mapping[str, Sequence[Point]]


class AnalyticsManager:
    """Query providers for analytics.

    Args:
        storage: the storage driver.
        providers: the providers by name.
        timeout: the timeout of a provider's call, in seconds.
    """

    def __init__(
        self, storage: Storage, providers: Mapping[str, Provider], timeout: float
    ) -> None:
        self._storage = storage
        self._providers = providers
        self._timeout = timeout
        # The pool starts its first thread on the first call, so not before a fork.
        self._pool = tracing.Threads(_CALLS, "analytics")
        self._lock = threading.Lock()
        self._kept: collections.OrderedDict[object, tuple[float, Report]] = (
            collections.OrderedDict()
        )

    def report(
        self,
        project_id: str,
        service_id: str,
        domain: str | None,
        metric: str | None,
        start: str | None,
        end: str | None,
        group_by: str | None = None,
    ) -> Report:
        """Return the analytics of a domain of a service.

        Args:
            project_id: the service's project.
            service_id: the service.
            domain: the domain.
            metric: one of :class:`Metric`.
            start: the start of the period (inclusive) in UTC, as ``YYYY-mm-ddTHH:MM:SS``; by
                default a day before ``end``.
            end: the end of the period (exclusive); by default now.
            group_by: ``country``, or None for the provider's zones.

        Raises:
            InvalidRequest: an argument is invalid, no provider of the service supports
                analytics, or the provider refuses permanently.
            NotFound: the project has no such service, or the service no such domain.
            Unavailable: the provider does not answer.
        """
        query = _query(domain, metric, start, end, group_by)
        service = self._storage.services.get(project_id, service_id)
        if query.domain not in service.spec.domain_names:
            raise errors.NotFound(f"Service {service_id} has no domain {query.domain}")
        name, detail = self._source(service, query)
        key = (service_id, service.spec.flavor_id, name, query)
        kept = self._recall(key)
        if kept is None:
            zones = self._ask(self._providers[name], service, detail, query)
            kept = Report(query, name, service.spec.flavor_id, zones)
            self._keep(key, kept)
        return kept

    def _source(self, service: Service, query: Query) -> tuple[str, ProviderDetail]:
        """Return the first provider that serves the domain and supports such analytics."""
        needed = {Capability.ANALYTICS}
        if query.by_country:
            needed.add(Capability.ANALYTICS_BY_COUNTRY)
        for name, detail in service.provider_details.items():
            provider = self._providers.get(name)
            serves = any(entry.domain == query.domain for entry in detail.access_urls)
            if serves and provider and needed <= provider.supports:
                return name, detail
        raise errors.InvalidRequest(f"No provider has {max(needed, key=len)} of {query.domain}")

    def _ask(
        self, provider: Provider, service: Service, detail: ProviderDetail, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        call = self._pool.submit(provider.metrics, service, detail, query)
        try:
            return call.result(self._timeout)
        except TimeoutError as exc:
            call.cancel()
            raise errors.Unavailable(f"{provider.name} does not answer in time") from exc
        except errors.PermanentError as exc:
            # Retrying would not help.
            raise errors.InvalidRequest(f"{provider.name} has no analytics: {exc}") from exc
        except errors.InProgressError as exc:
            raise errors.Unavailable(f"{provider.name}: {exc}", _wait(exc.poll_after)) from exc
        except errors.RetryableError as exc:
            raise errors.Unavailable(f"{provider.name}: {exc}", _wait(exc.retry_after)) from exc

    def _recall(self, key: object) -> Report | None:
        with self._lock:
            until, report = self._kept.get(key, (0.0, None))
            return report if time.monotonic() < until else None

    def _keep(self, key: object, report: Report) -> None:
        with self._lock:
            self._kept[key] = (time.monotonic() + _KEPT_FOR, report)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


def _wait(seconds: float | None) -> int:
    """Return a ``Retry-After`` in whole seconds."""
    if seconds is None or math.isnan(seconds):
        return _RETRY_AFTER
    return round(min(max(seconds, 1), _LONGEST_WAIT))


def _query(
    domain: str | None,
    metric: str | None,
    start: str | None,
    end: str | None,
    group_by: str | None,
) -> Query:
    name = host(domain or "", "domain")
    try:
        counted = Metric(metric or "")
    except ValueError:
        known = ", ".join(Metric)
        raise errors.InvalidRequest(f"The metricType must be one of {known}") from None
    if group_by not in (None, COUNTRY):
        raise errors.InvalidRequest(f"The groupBy must be {COUNTRY}")
    # Round to the minute, so that repeated queries hit the cache.
    now = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0)
    last = now if end is None else _moment(end, "endTime")
    first = last - DEFAULT_PERIOD if start is None else _moment(start, "startTime")
    if not datetime.timedelta() < last - first <= MAX_PERIOD:
        raise errors.InvalidRequest(
            f"The endTime must be after the startTime, by {MAX_PERIOD.days} days at most"
        )
    return Query(name, counted, first, last, group_by is not None)


def _moment(text: str, what: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.strptime(text, _TIME)
    except ValueError:
        raise errors.InvalidRequest(f"The {what} must be YYYY-mm-ddTHH:MM:SS") from None
    if moment.year < 1970:
        raise errors.InvalidRequest(f"The {what} is before 1970")
    return moment.replace(tzinfo=datetime.UTC)
