# SPDX-License-Identifier: Apache-2.0
"""A worker's load, measured for each heartbeat."""

from collections.abc import Mapping
from typing import Protocol

from oslo_log import log

from poppy.common import metrics
from poppy.model.membership import Load, ProviderQuota
from poppy.provider.base import Provider

LOG = log.getLogger(__name__)


class _Busy(Protocol):
    @property
    def busy(self) -> int:
        """The number of running operations."""


class _Hung(Protocol):
    @property
    def hung(self) -> int:
        """The number of hung calls."""


class _Down(Protocol):
    @property
    def down(self) -> tuple[str, ...]:
        """The providers that look down from here."""


class WorkerStats:
    """The load of a worker, and the rate limits in its providers' latest replies.

    Args:
        slots: how many operations it can run at once.
    """

    def __init__(
        self,
        conductor: _Busy,
        calls: _Hung,
        watch: _Down,
        providers: Mapping[str, Provider],
        slots: int,
    ) -> None:
        self._conductor = conductor
        self._calls = calls
        self._watch = watch
        self._providers = providers
        self._slots = slots
        self._noted: dict[tuple[str, str], ProviderQuota] = {}

    def __call__(self) -> Load:
        """Return the current load, and update the metrics."""
        busy, hung = self._conductor.busy, self._calls.hung
        try:
            quotas = self._read_quotas()
        except Exception:  # noqa: BLE001 - a driver's bug must not stop the heartbeat
            LOG.exception("Could not read a provider's rate limits")
            quotas = ()
        if metrics.enabled():
            metrics.SLOTS.set(self._slots)
            metrics.BUSY.set(busy)
            metrics.HUNG.set(hung)
            self._note_quotas(quotas)
        return Load(busy, hung, self._watch.down, quotas)

    def _read_quotas(self) -> tuple[ProviderQuota, ...]:
        return tuple(
            ProviderQuota(provider, limit, quota.limit, quota.remaining, quota.resets_at)
            for provider, driver in self._providers.items()
            for limit, quota in sorted(driver.quota.items())
        )

    def _note_quotas(self, quotas: tuple[ProviderQuota, ...]) -> None:
        """Record only changed quotas: of the others another process may know a later value."""
        for quota in quotas:
            where = (quota.provider, quota.name)
            if self._noted.get(where) == quota:
                continue
            self._noted[where] = quota
            metrics.QUOTA.set(quota.remaining, *where)
            if quota.limit is not None:
                metrics.QUOTA_LIMIT.set(quota.limit, *where)
