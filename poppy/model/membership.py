# SPDX-License-Identifier: Apache-2.0
"""State that workers share: live workers, and the drivers' circuit breakers."""

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

#: Maximum clock difference between two workers.
_SKEW = datetime.timedelta(minutes=1)


class ProviderQuota(NamedTuple):
    """A provider's rate limit, as of its last response to a worker.

    Attributes:
        provider: the driver's name.
        name: the limit's name.
        limit: calls per period; None if unknown.
        remaining: remaining calls.
        resets_at: when the limit resets; None if unknown.
    """

    provider: str
    name: str
    limit: int | None
    remaining: int
    resets_at: datetime.datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        moment = self.resets_at.isoformat() if self.resets_at else None
        return {**self._asdict(), "resets_at": moment}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create a quota from the document of :meth:`to_dict`."""
        moment = document["resets_at"]
        resets_at = datetime.datetime.fromisoformat(moment) if moment else None
        return cls(**{**document, "resets_at": resets_at})


class Load(NamedTuple):
    """The fields of :class:`Worker` that change with every heartbeat."""

    busy: int
    hung: int
    down: tuple[str, ...]
    quotas: tuple[ProviderQuota, ...] = ()


@dataclass(frozen=True, slots=True)
class Worker:
    """The heartbeat of a worker process.

    Attributes:
        version: Poppy's version.
        datacenter: the configured data centre; "" if unset.
        seen_at: the time of the heartbeat.
        slots: maximum concurrent operations.
        busy: operations in progress.
        hung: driver calls that timed out but have not returned.
        down: providers that have not answered this worker for a while.
        quotas: the providers' rate limits.
    """

    worker_id: str
    host: str
    pid: int
    version: str
    datacenter: str
    started_at: datetime.datetime
    seen_at: datetime.datetime
    slots: int
    busy: int = 0
    hung: int = 0
    down: tuple[str, ...] = ()
    quotas: tuple[ProviderQuota, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            "worker_id": self.worker_id,
            "host": self.host,
            "pid": self.pid,
            "version": self.version,
            "datacenter": self.datacenter,
            "started_at": self.started_at.isoformat(),
            "seen_at": self.seen_at.isoformat(),
            "slots": self.slots,
            "busy": self.busy,
            "hung": self.hung,
            "down": list(self.down),
            # The previous version does not know this field, so leave it out if it is empty.
            **({"quotas": [it.to_dict() for it in self.quotas]} if self.quotas else {}),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create a worker from the document of :meth:`to_dict`, of any version of Poppy."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        moments = {
            name: datetime.datetime.fromisoformat(document[name])
            for name in ("started_at", "seen_at")
        }
        quotas = tuple(ProviderQuota.from_dict(it) for it in document.get("quotas", ()))
        down = tuple(document.get("down", ()))
        return cls(**{**values, **moments, "down": down, "quotas": quotas})


class BreakerState(enum.StrEnum):
    """Whether a driver may be called.

    ::

        closed ──(failures in a row, or Retry-After)────→ open
          ↑                                              │  ↑
          │ (success)                            (pause) ↓  │ (failure)
          └──────────────────────────────────────────── probing
    """

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True, slots=True)
class Breaker:
    """The circuit breaker of one driver, shared by all workers.

    Attributes:
        driver: ``<kind>:<name>``.
        until: while ``open``: the end of the pause, at most :attr:`LONGEST` ahead. While
            ``probing``: when the probing call counts as lost.
        openings: how often it has opened since the last successful call.
        reason: why it opened, for people.
        version: how often it was stored; 0 if never.
    """

    #: The longest pause, even if a vendor asks for a longer one.
    LONGEST: ClassVar[datetime.timedelta] = datetime.timedelta(minutes=5)

    driver: str
    state: BreakerState = BreakerState.CLOSED
    until: datetime.datetime | None = None
    openings: int = 0
    reason: str | None = None
    version: int = 0

    def closes(self, now: datetime.datetime) -> datetime.datetime | None:
        """Return when the pause ends; None if calls, or one probing call, are allowed now."""
        if self.state is BreakerState.CLOSED or self.until is None or self.until <= now:
            return None
        # Ignore an absurd stored time, and let a call through now.
        return self.until if self.until <= now + self.LONGEST + _SKEW else None

    def closed(self) -> Self:
        """Return the next version, closed after a successful call."""
        return self.next(state=BreakerState.CLOSED, until=None, openings=0, reason=None)

    def next(self, **changes: Any) -> Self:
        """Return the next version to store, with changes."""
        return replace(self, version=self.version + 1, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document without driver and version, which stores keep separately."""
        return {
            "state": str(self.state),
            "until": self.until.isoformat() if self.until else None,
            "openings": self.openings,
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, driver: str, version: int, document: Mapping[str, Any]) -> Self:
        """Create a breaker from the document of :meth:`to_dict`."""
        until = document["until"]
        return cls(
            driver=driver,
            state=BreakerState(document["state"]),
            until=datetime.datetime.fromisoformat(until) if until else None,
            openings=document["openings"],
            reason=document["reason"],
            version=version,
        )
