# SPDX-License-Identifier: Apache-2.0
"""What is measured of a worker at each of its signs of life."""

from collections.abc import Mapping
from typing import Protocol

from oslo_log import log

from poppy.common import metrics
from poppy.model.fleet import Load, ProviderQuota
from poppy.provider.base import Provider

LOG = log.getLogger(__name__)


class _Busy(Protocol):
    @property
    def busy(self) -> int:
        """How many operations run."""


class _Hung(Protocol):
    @property
    def hung(self) -> int:
        """How many calls hang."""


class _Down(Protocol):
    @property
    def down(self) -> tuple[str, ...]:
        """Which providers look down from here."""


class Vitals:
    """The load of a worker, and what its providers' last answers said of their limits.

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
        """As it is now."""
        busy, hung = self._conductor.busy, self._calls.hung
        try:
            quotas = self._read_quotas()
        except Exception:  # noqa: BLE001 - a driver's bug must not end the signs of life
            LOG.exception("What a provider says of its limits could not be noted")
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
        """Tell what has changed: another process may know more of what has not."""
        for quota in quotas:
            where = (quota.provider, quota.name)
            if self._noted.get(where) == quota:
                continue
            self._noted[where] = quota
            metrics.QUOTA.set(quota.remaining, *where)
            if quota.limit is not None:
                metrics.QUOTA_LIMIT.set(quota.limit, *where)
