# SPDX-License-Identifier: Apache-2.0
"""Audits: passes in which workers compare deployed services with providers and DNS."""

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

#: Stands for all providers in :attr:`AuditState.requested`.
ALL = "*"


@dataclass(frozen=True, slots=True)
class AuditPass:
    """A pass over all services, or over those at some providers.

    Attributes:
        began_at: when it began, in UTC.
        ended_at: when it ended; None while it runs. A worker that stops leaves a pass without an
            end; another one begins it again.
        providers: the only providers to compare; empty for all of them, and DNS.
        services: how many services were compared.
        differing: how many of them differed.
        repairing: how many of these are deployed again.
        failed: how many could not be compared with each provider and DNS.
    """

    began_at: datetime.datetime
    ended_at: datetime.datetime | None = None
    providers: tuple[str, ...] = ()
    services: int = 0
    differing: int = 0
    repairing: int = 0
    failed: int = 0

    def ended(self, now: datetime.datetime, counts: Mapping[str, int]) -> Self:
        """Return the pass with its end.

        Args:
            counts: of ``services``, ``differing``, ``repairing`` and ``failed``; 0 if missing.
        """
        return replace(
            self,
            ended_at=now,
            services=counts.get("services", 0),
            differing=counts.get("differing", 0),
            repairing=counts.get("repairing", 0),
            failed=counts.get("failed", 0),
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create it from the document of :meth:`to_dict`."""
        fields = dict(document)
        fields["began_at"] = datetime.datetime.fromisoformat(fields["began_at"])
        ended_at = fields["ended_at"]
        fields["ended_at"] = datetime.datetime.fromisoformat(ended_at) if ended_at else None
        fields["providers"] = tuple(fields["providers"])
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            **asdict(self),
            "began_at": self.began_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "providers": list(self.providers),
        }


@dataclass(frozen=True, slots=True)
class AuditState:
    """What all workers know about audits.

    Attributes:
        scheduled: the last pass over all services; None before the first one.
        completed_at: when the last one that has ended, began.
        latest: the last pass of any kind.
        requested: when a pass was requested, by provider or :data:`ALL`.
    """

    scheduled: AuditPass | None = None
    completed_at: datetime.datetime | None = None
    latest: AuditPass | None = None
    requested: Mapping[str, datetime.datetime] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any] | None) -> Self:
        """Create it from the document of :meth:`to_dict`; None if there is no such document."""
        if document is None:
            return cls()
        scheduled, latest = document["scheduled"], document["latest"]
        completed_at = document["completed_at"]
        return cls(
            AuditPass.from_dict(scheduled) if scheduled else None,
            datetime.datetime.fromisoformat(completed_at) if completed_at else None,
            AuditPass.from_dict(latest) if latest else None,
            {
                name: datetime.datetime.fromisoformat(at)
                for name, at in document["requested"].items()
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document for storage."""
        return {
            "scheduled": self.scheduled.to_dict() if self.scheduled else None,
            "completed_at": self.completed_at.isoformat() if self.completed_at else None,
            "latest": self.latest.to_dict() if self.latest else None,
            "requested": {name: at.isoformat() for name, at in self.requested.items()},
        }

    def due(self, now: datetime.datetime, interval: datetime.timedelta) -> AuditPass | None:
        """Return the pass that is due, as it begins now; None if there is none.

        Args:
            interval: between the beginnings of scheduled passes; zero for none of these.
        """
        last = self.scheduled
        is_scheduled = (
            bool(interval)
            and last is not None
            and (last.ended_at is None or now >= last.began_at + interval)
        )
        if is_scheduled or ALL in self.requested:
            return AuditPass(now)
        return AuditPass(now, providers=tuple(sorted(self.requested))) if self.requested else None

    def scheduling(self, now: datetime.datetime) -> Self:
        """Return the state from which on passes are scheduled: the first follows an interval."""
        first = self.scheduled or AuditPass(now, ended_at=now)
        return replace(self, scheduled=first, completed_at=self.completed_at or first.began_at)

    def request(self, names: tuple[str, ...], now: datetime.datetime) -> Self:
        """Return the state with a request for providers, or :data:`ALL`."""
        return replace(self, requested={**self.requested, **dict.fromkeys(names, now)})

    def with_pass(self, found: AuditPass) -> Self:
        """Return the state with a pass that has begun or ended.

        The end of a pass answers the requests that were made before it began.
        """
        requested = dict(self.requested)
        if found.ended_at:
            requested = {
                name: at
                for name, at in requested.items()
                if at > found.began_at or (found.providers and name not in found.providers)
            }
        changed = replace(self, latest=found, requested=requested)
        if found.providers:
            return changed
        completed_at = found.began_at if found.ended_at else self.completed_at
        return replace(changed, scheduled=found, completed_at=completed_at)
