# SPDX-License-Identifier: Apache-2.0
"""Records that a tenant has to make in the DNS of its own domains."""

import datetime
import enum
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from poppy.model import names

#: The label below which a project proves that it owns a domain.
CHALLENGE = "_poppy-challenge"
#: How a value begins, so that whoever reads the zone knows what it is for.
_PREFIX = "poppy-project="
#: Characters of the rest, in hexadecimal: 160 bits can't be guessed.
_LENGTH = 40
#: Names that are looked up for one domain, at most.
_MOST_NAMES = 8


class Purpose(enum.StrEnum):
    """What a record is for."""

    OWNERSHIP = "ownership"
    TRAFFIC = "traffic"
    CERTIFICATE = "certificate"


class RecordStatus(enum.StrEnum):
    """What was found when the record was last looked up."""

    MISSING = "missing"
    WRONG = "wrong"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class DNSRecord:
    """A record that a tenant has to make.

    Attributes:
        domain: the domain of the service that needs it.
        type: such as ``TXT`` or ``CNAME``.
        name: where it is to stand, without a trailing dot.
        value: its data.
        provider: which provider asks for it; None for Poppy itself.
        checked_at: when it was last looked up; None before the first time.
    """

    domain: str
    purpose: Purpose
    type: str
    name: str
    value: str
    provider: str | None = None
    status: RecordStatus = RecordStatus.MISSING
    checked_at: datetime.datetime | None = None

    def checked(self, status: RecordStatus, at: datetime.datetime) -> Self:
        """The same after it was looked up."""
        return replace(self, status=status, checked_at=at)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """From what :meth:`to_dict` gave."""
        checked_at = document["checked_at"]
        return cls(
            **{
                **document,
                "purpose": Purpose(document["purpose"]),
                "status": RecordStatus(document["status"]),
                "checked_at": datetime.datetime.fromisoformat(checked_at) if checked_at else None,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON document, for storage."""
        return {
            "domain": self.domain,
            "purpose": str(self.purpose),
            "type": self.type,
            "name": self.name,
            "value": self.value,
            "provider": self.provider,
            "status": str(self.status),
            "checked_at": self.checked_at.isoformat() if self.checked_at else None,
        }


def ownership_record(domain: str, key: bytes, project_id: str) -> DNSRecord:
    """The record by which a project proves that it owns a domain."""
    name = challenge_names(domain)[0]
    value = ownership_value(key, project_id)
    return DNSRecord(domain, Purpose.OWNERSHIP, "TXT", name, value)


def ownership_value(key: bytes, project_id: str) -> str:
    """What a project writes into its zones: the same for all its domains.

    No other project can have it, nor guess it without the key.
    """
    digest = hmac.new(key, project_id.encode(), hashlib.sha256).hexdigest()
    return f"{_PREFIX}{digest[:_LENGTH]}"


def challenge_names(domain: str) -> list[str]:
    """Where the record may stand: at the domain itself, or above it within its owner's zone.

    So one record at the registrable domain proves all domains below. Names that are too long for
    DNS are left out; of very many, those closest to the registrable domain count.
    """
    registrable = names.registrable(domain) or domain
    levels = domain.count(".") - registrable.count(".")
    labels = domain.split(".")
    above = [".".join(labels[level:]) for level in range(levels + 1)]
    found = [f"{CHALLENGE}.{name}" for name in above]
    fitting = [name for name in found if len(name) <= names.MAX_NAME]
    return [*fitting[:1], *fitting[1:][1 - _MOST_NAMES :]]
