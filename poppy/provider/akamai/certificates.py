# SPDX-License-Identifier: Apache-2.0
"""Certificates of single domains (sni) and of many domains (san).

* ``sni``: an enrollment for the domain alone, created from the operator's template.
* ``san``: the operator has created some enrollments; the domain is added to the first one with
  room. CPS processes one change of an enrollment at a time, so other changes wait.
"""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from poppy.common.errors import ConfigError, InProgressError, PermanentError, RetryableError
from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.provider.akamai.cps import CPS, Change, Enrollment
from poppy.provider.akamai.edgegrid import Document

_MARK = "Poppy"  # In csr.ou: marks an enrollment that Poppy may delete.
_AGAIN = 5.0  # Seconds.
_RACE = 5
_STATUSES = {"error": "failed", "cancelled": "cancelled"}
#: Inputs to acknowledge automatically. Their warnings are expected, for example that a name is on
#: another certificate while it moves.
_WARNINGS = ("pre-verification-warnings-ack", "post-verification-warnings-ack")
_CHALLENGES = "lets-encrypt-challenges-completed"
_APPROVAL = "change-management-ack"


class Order(NamedTuple):
    """The progress of a domain's certificate.

    Attributes:
        enrollment_id: None until an enrollment includes the domain, and for default certificates.
        common_name: the certificate's common name, from which its edge hostname is derived.
        status: the status, as in :class:`~poppy.provider.base.Issuance`.
        wants: for the tenant: what it waits for, or why it failed.
        records: DNS records with which the owner can prove control of the domain.
    """

    enrollment_id: int | None
    common_name: str
    status: str
    wants: str = ""
    records: tuple[DNSRecord, ...] = ()


class Certificates:
    """Certificate orders for domains.

    Args:
        san_enrollments: ids of the san enrollments, in the order in which they are filled.
        hostname_limit: maximum names of a san enrollment.
        template: template of sni enrollments; None if they are not supported.
    """

    def __init__(
        self,
        cps: CPS,
        san_enrollments: Sequence[int],
        hostname_limit: int,
        template: Document | None,
        poll_after: float,
    ) -> None:
        self._cps = cps
        self._san_enrollments = san_enrollments
        self._hostname_limit = hostname_limit
        self._template = template
        self._poll_after = poll_after

    def ensure(self, domain: str, kind: str) -> Order:
        """Order a certificate for the domain if needed. Call again while it is in progress."""
        found = self.enrollment(domain, kind)
        if found is None:
            found = self._add(domain) if kind == "san" else self._create(domain)
        if found is None:
            wants = f"waiting for another change of the certificate for {domain}"
            return Order(None, "", "create_in_progress", wants)
        return self._order(found, domain)

    def find(self, domain: str, kind: str) -> Order | None:
        """Return the progress without ordering anything; None if nothing was ordered."""
        found = self.enrollment(domain, kind)
        return None if found is None else self._order(found, domain)

    def enrollment(self, domain: str, kind: str) -> Enrollment | None:
        """Return the domain's enrollment: the oldest (sni) or the first configured one (san)."""
        if kind == "san":
            return next((one for one in self._shared() if domain in one.names), None)
        ours = (one for one in self._cps.enrollments() if one.common_name == domain)
        return next(ours, None)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are configured."""
        san = ("san",) if self._san_enrollments else ()
        return san if self._template is None else (*san, "sni")

    def has_sni(self, domain: str) -> bool:
        """Return whether the domain has an enrollment of its own."""
        return "sni" in self.kinds and self.enrollment(domain, "sni") is not None

    def remove(self, domain: str, kind: str) -> None:
        """Remove the domain's certificate, if it has one.

        Raises:
            InProgressError: another change of the san certificate must finish first.
        """
        if kind == "san":
            self._drop(domain)
            return
        for one in self._cps.enrollments():
            if one.common_name == domain and one.document["csr"].get("ou") == _MARK:
                self._cps.delete(one.enrollment_id)

    def by_name(self, common_name: str) -> Enrollment | None:
        """Return the enrollment with this common name; None without one."""
        found = (one for one in self._cps.enrollments() if one.common_name == common_name)
        return next(found, None)

    def shared_names(self) -> set[str]:
        """Return the common names of the san certificates."""
        return {one.common_name for one in self._shared()}

    def _shared(self) -> list[Enrollment]:
        found = []
        for number in self._san_enrollments:
            one = self._cps.enrollment(number)
            if one is None:
                raise PermanentError(f"Akamai has no enrollment {number}, listed in san_certs")
            found.append(one)
        return found

    def _add(self, domain: str) -> Enrollment | None:
        """Add a domain to a san certificate; None if all with room have a pending change."""
        roomy = [one for one in self._shared() if len(one.names) < self._hostname_limit]
        if not roomy:
            raise PermanentError(
                f"No certificate of san_certs has room for {domain}: "
                f"{self._hostname_limit} names each"
            )
        for one in roomy:
            if not one.pending and self._cps.change_names(one, one.names | {domain}):
                return self._cps.enrollment(one.enrollment_id)
        return None

    def _drop(self, domain: str) -> None:
        for one in self._shared():
            if domain not in one.names or domain == one.common_name:
                continue
            if one.pending or not self._cps.change_names(one, one.names - {domain}):
                raise InProgressError(
                    f"Another change of the certificate with {domain} is in progress",
                    self._poll_after,
                )

    def _create(self, domain: str) -> Enrollment:
        if self._template is None:
            raise PermanentError(f"No certificate for {domain}: enrollment_template is not set")
        document = copy.deepcopy(self._template)
        document["csr"] = {**document.get("csr", {}), "cn": domain, "sans": [], "ou": _MARK}
        made = self._cps.create(document)
        for _ in range(_RACE):
            found = self.enrollment(domain, "sni")
            if found is None:
                break
            if found.enrollment_id < made:
                # Another worker also created one; keep the oldest.
                self._cps.delete(made)
            return found
        raise RetryableError(f"Akamai does not show the new enrollment of {domain}", _AGAIN)

    def _order(self, one: Enrollment, domain: str) -> Order:
        change = self._cps.change(one.changes[-1]) if one.changes else None
        if change is not None and change.state != "completed":
            return self._changing(one, change, domain)
        if self._cps.is_deployed(one, domain):
            return Order(one.enrollment_id, one.common_name, "deployed")
        if one.changes:
            return Order(one.enrollment_id, one.common_name, "create_in_progress", _taking(one))
        wants = f"the certificate {one.common_name} was not issued for {domain}"
        return Order(one.enrollment_id, one.common_name, "cancelled", wants)

    def _changing(self, one: Enrollment, change: Change, domain: str) -> Order:
        path = one.changes[-1]
        for name in _WARNINGS:
            if name in change.needed:
                self._cps.acknowledge(path, name)
        records: list[DNSRecord] = []
        if _CHALLENGES in change.inputs:
            records = _records(self._cps.challenges(change.inputs[_CHALLENGES]), domain)
        status = _STATUSES.get(change.state, "create_in_progress")
        if status != "create_in_progress":
            wants = f"The certificate {one.common_name} {status}: {change.description}"
        elif records:
            wants = "; ".join(
                f"to get the certificate for {entry.domain}, create the TXT record {entry.name} "
                f"with the value {entry.value}"
                for entry in records
            )
        elif _APPROVAL in change.needed:
            wants = f"the change of the certificate {one.common_name} waits for approval"
        else:
            wants = _taking(one)
        return Order(one.enrollment_id, one.common_name, status, wants, tuple(records))


def read_template(file: str | None, group: str) -> Document | None:
    """Return the enrollment in the file of ``enrollment_template``; None if it is not set.

    Raises:
        ConfigError: the file has no JSON object, or can't be read.
    """
    if not file:
        return None
    try:
        found: Any = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"[{group}] enrollment_template can't be read: {exc}") from exc
    if not isinstance(found, dict):
        raise ConfigError(f"[{group}] enrollment_template is not a JSON object")
    return found


def _taking(one: Enrollment) -> str:
    return f"waiting for the certificate {one.common_name}"


def _records(challenges: Sequence[Document], domain: str) -> list[DNSRecord]:
    """Return the DNS records that a domain still needs, without those of other domains."""
    return [
        DNSRecord(
            domain,
            Purpose.CERTIFICATE,
            RecordType.TXT,
            way["fullPath"].rstrip("."),
            way["responseBody"],
        )
        for entry in challenges
        if entry["domain"] == domain
        for way in entry["challenges"]
        if way.get("type") == "dns-01" and str(way.get("status")).lower() != "valid"
    ]
