# SPDX-License-Identifier: Apache-2.0
"""DNS records that a tenant must create for its own domains."""

import datetime
import enum
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from poppy.model import names

#: The label of the TXT record that proves ownership of a domain.
CHALLENGE = "_poppy-challenge"
#: Prefix of the value, which tells a reader of the zone what it is for.
_PREFIX = "poppy-project="
#: Hexadecimal characters after the prefix: 160 bits can't be guessed.
_LENGTH = 40
#: Maximum names to look up for one domain.
_MOST_NAMES = 8


class Purpose(enum.StrEnum):
    """The purpose of a record, in the order in which a tenant needs them."""

    OWNERSHIP = "ownership"
    CERTIFICATE = "certificate"
    TRAFFIC = "traffic"


class RecordType(enum.StrEnum):
    """The type of a record.

    ``ALIAS`` stands for a CNAME at a registrable domain such as ``example.com``. DNS allows no
    CNAME beside other records (RFC 1034, section 3.6.2). DNS providers have a replacement, which
    they call ALIAS, ANAME or CNAME flattening.
    """

    CNAME = "CNAME"
    TXT = "TXT"
    ALIAS = "ALIAS"


class RecordStatus(enum.StrEnum):
    """The result of the last lookup."""

    MISSING = "missing"
    WRONG = "wrong"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class DNSRecord:
    """A record that a tenant must create.

    Attributes:
        domain: the domain of the service that needs it.
        name: its name, without a trailing dot.
        value: its data.
        provider: the provider that requires it; None for Poppy itself.
        checked_at: the time of the last lookup; None before the first one.
    """

    domain: str
    purpose: Purpose
    type: RecordType
    name: str
    value: str
    provider: str | None = None
    status: RecordStatus = RecordStatus.MISSING
    checked_at: datetime.datetime | None = None

    @property
    def unchecked(self) -> Self:
        """A copy without the result of a lookup."""
        return replace(self, status=RecordStatus.MISSING, checked_at=None)

    def checked(self, status: RecordStatus, at: datetime.datetime) -> Self:
        """Return a copy with the result of a lookup."""
        return replace(self, status=status, checked_at=at)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create a record from the document of :meth:`to_dict`."""
        checked_at = document["checked_at"]
        return cls(
            **{
                **document,
                "purpose": Purpose(document["purpose"]),
                "type": RecordType(document["type"]),
                "status": RecordStatus(document["status"]),
                "checked_at": datetime.datetime.fromisoformat(checked_at) if checked_at else None,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document for storage."""
        return {
            "domain": self.domain,
            "purpose": str(self.purpose),
            "type": str(self.type),
            "name": self.name,
            "value": self.value,
            "provider": self.provider,
            "status": str(self.status),
            "checked_at": self.checked_at.isoformat() if self.checked_at else None,
        }


def ownership_record(domain: str, key: bytes, project_id: str) -> DNSRecord:
    """Return the record with which a project proves that it owns a domain."""
    name = challenge_names(domain)[0]
    value = ownership_value(key, project_id)
    return DNSRecord(domain, Purpose.OWNERSHIP, RecordType.TXT, name, value)


def traffic_record(domain: str, operator_name: str) -> DNSRecord:
    """Return the record that leads a domain's visitors to the operator name."""
    at_apex = names.is_root(domain)
    kind = RecordType.ALIAS if at_apex else RecordType.CNAME
    return DNSRecord(domain, Purpose.TRAFFIC, kind, domain, operator_name)


def ownership_value(key: bytes, project_id: str) -> str:
    """Return the value that proves a project's ownership, the same for all its domains.

    It is unique to the project and can't be guessed without the key.
    """
    digest = hmac.new(key, project_id.encode(), hashlib.sha256).hexdigest()
    return f"{_PREFIX}{digest[:_LENGTH]}"


def challenge_names(domain: str) -> list[str]:
    """Return the names at which the record may be: the domain and its parents.

    The last parent is the registrable domain; a record there proves all domains below it. Names
    that are too long for DNS are left out. If there are too many, those closest to the
    registrable domain count.
    """
    registrable = names.registrable(domain) or domain
    levels = domain.count(".") - registrable.count(".")
    labels = domain.split(".")
    above = [".".join(labels[level:]) for level in range(levels + 1)]
    found = [f"{CHALLENGE}.{name}" for name in above]
    fitting = [name for name in found if len(name) <= names.MAX_NAME]
    return [*fitting[:1], *fitting[1:][1 - _MOST_NAMES :]]
