# SPDX-License-Identifier: Apache-2.0
"""What the workers tell each other: who is there, and which drivers are to be left alone."""

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

#: How far the clocks of two workers may differ.
_SKEW = datetime.timedelta(minutes=1)


class ProviderQuota(NamedTuple):
    """What is left of a limit that a provider sets, as its last answer to a worker said.

    Attributes:
        provider: its driver's name.
        name: the limit's.
        limit: calls in a period; None if it does not say.
        remaining: calls that are left.
        resets_at: when there are more; None if it does not say.
    """

    provider: str
    name: str
    limit: int | None
    remaining: int
    resets_at: datetime.datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document."""
        moment = self.resets_at.isoformat() if self.resets_at else None
        return {**self._asdict(), "resets_at": moment}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """From what :meth:`to_dict` gave."""
        moment = document["resets_at"]
        resets_at = datetime.datetime.fromisoformat(moment) if moment else None
        return cls(**{**document, "resets_at": resets_at})


class Load(NamedTuple):
    """What a worker says of itself anew each time; see :class:`Worker`."""

    busy: int
    hung: int
    down: tuple[str, ...]
    quotas: tuple[ProviderQuota, ...] = ()


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process, as it says of itself.

    Attributes:
        version: of Poppy.
        datacenter: as configured; "" if it is not.
        seen_at: when it last said so.
        slots: how many operations it runs at the same time.
        busy: how many it runs now.
        hung: how many calls of drivers it has given up waiting for.
        down: providers that have not answered it for a while.
        quotas: what providers told it of their limits.
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
        """As a JSON document."""
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
            # The version before does not understand it, and mostly there is none.
            **({"quotas": [it.to_dict() for it in self.quotas]} if self.quotas else {}),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """From what :meth:`to_dict` gave, of this version of Poppy or another."""
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

        closed ──(failures in a row, or asked to wait)──→ open
          ↑                                              │  ↑
          │ (it worked)                          (pause) ↓  │ (it failed)
          └──────────────────────────────────────────── probing
    """

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True, slots=True)
class Breaker:
    """The circuit breaker of one driver, which all workers share.

    Attributes:
        driver: ``<kind>:<name>``.
        until: while ``open``: until when nobody calls it, at most :attr:`LONGEST` ahead. While
            ``probing``: when the one call that is let through counts as lost.
        openings: how often it has opened since it last worked.
        reason: why it opened, in words.
        version: how often it was stored; 0 if never.
    """

    #: The longest time for which a driver is not called, whoever asked for it.
    LONGEST: ClassVar[datetime.timedelta] = datetime.timedelta(minutes=5)

    driver: str
    state: BreakerState = BreakerState.CLOSED
    until: datetime.datetime | None = None
    openings: int = 0
    reason: str | None = None
    version: int = 0

    def closes(self, now: datetime.datetime) -> datetime.datetime | None:
        """Until when it is not worth asking; None if calls may go on, or one may try."""
        if self.state is BreakerState.CLOSED or self.until is None or self.until <= now:
            return None
        # One that was stored with an absurd moment lets a call through now.
        return self.until if self.until <= now + self.LONGEST + _SKEW else None

    def closed(self) -> Self:
        """As it is once the driver works again."""
        return self.next(state=BreakerState.CLOSED, until=None, openings=0, reason=None)

    def next(self, **changes: Any) -> Self:
        """The same with changes, as it will be once stored."""
        return replace(self, version=self.version + 1, **changes)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document, without driver and version, which stores keep apart."""
        return {
            "state": str(self.state),
            "until": self.until.isoformat() if self.until else None,
            "openings": self.openings,
            "reason": self.reason,
        }

    @classmethod
    def from_dict(cls, driver: str, version: int, document: Mapping[str, Any]) -> Self:
        """From what :meth:`to_dict` gave."""
        until = document["until"]
        return cls(
            driver=driver,
            state=BreakerState(document["state"]),
            until=datetime.datetime.fromisoformat(until) if until else None,
            openings=document["openings"],
            reason=document["reason"],
            version=version,
        )
