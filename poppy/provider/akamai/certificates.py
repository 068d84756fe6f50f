# SPDX-License-Identifier: Apache-2.0
"""Certificates: those of one domain each (sni), and those that many domains share (san).

* ``sni``: an enrollment for just the domain, made from the operator's template.
* ``san``: the operator has made some enrollments; the domain becomes one more name of the first
  that has room. CPS works on one change of an enrollment at a time, so others have to wait.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

from poppy.common.errors import InProgressError, PermanentError, RetryableError
from poppy.provider.akamai.cps import CPS, Change, Enrollment
from poppy.provider.akamai.edgegrid import Document

_MARK = "Poppy"  # In csr.ou: an enrollment that may be deleted again.
_AGAIN = 5.0  # Seconds.
_RACE = 5
_STATUSES = {"error": "failed", "cancelled": "cancelled"}
#: Inputs that need no thought: a warning tells what is to be expected here, such as that a name
#: is on another certificate while it moves.
_WARNINGS = ("pre-verification-warnings-ack", "post-verification-warnings-ack")
_CHALLENGES = "lets-encrypt-challenges-completed"
_APPROVAL = "change-management-ack"


class Record(NamedTuple):
    """A DNS record that shows whose a domain is."""

    domain: str
    name: str
    value: str


class Order(NamedTuple):
    """How far a domain's certificate is.

    Attributes:
        enrollment_id: None until there is one with the domain.
        common_name: of the certificate; its edge hostname is made from this.
        status: as in :class:`~poppy.provider.base.Issuance`.
        wants: what it waits for, in words for the tenant; or why it failed.
        records: what the domain's owner may do to show that it is theirs.
    """

    enrollment_id: int | None
    common_name: str
    status: str
    wants: str = ""
    records: tuple[Record, ...] = ()


class Certificates:
    """Orders for domains.

    Args:
        san_enrollments: their ids, the one to fill first first.
        hostname_limit: names that one of them may have.
        template: what an enrollment for one domain is made from; None if there are none.
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
        """Have a certificate of a kind for the domain; call again while it is in progress."""
        found = self.enrollment(domain, kind)
        if found is None:
            found = self._add(domain) if kind == "san" else self._create(domain)
        if found is None:
            wants = f"waiting for another change of the certificate that {domain} is to join"
            return Order(None, "", "create_in_progress", wants)
        return self._order(found, domain)

    def find(self, domain: str, kind: str) -> Order | None:
        """How far it is, without ordering anything; None if nothing was ordered."""
        found = self.enrollment(domain, kind)
        return None if found is None else self._order(found, domain)

    def enrollment(self, domain: str, kind: str) -> Enrollment | None:
        """The enrollment with the domain: of several, the oldest, or the first in the options."""
        if kind == "san":
            return next((one for one in self._shared() if domain in one.names), None)
        ours = (one for one in self._cps.enrollments() if one.common_name == domain)
        return next(ours, None)

    def remove(self, domain: str, kind: str) -> None:
        """Give up the domain's certificate; fine if there is none.

        Raises:
            InProgressError: another change of the certificate it shares has to be done first.
        """
        if kind == "san":
            self._drop(domain)
            return
        for one in self._cps.enrollments():
            if one.common_name == domain and one.document["csr"].get("ou") == _MARK:
                self._cps.delete(one.enrollment_id)

    def by_name(self, common_name: str) -> Enrollment | None:
        """The enrollment whose certificate has this common name."""
        found = (one for one in self._cps.enrollments() if one.common_name == common_name)
        return next(found, None)

    def shared_names(self) -> set[str]:
        """The common names of the shared certificates."""
        return {one.common_name for one in self._shared()}

    def _shared(self) -> list[Enrollment]:
        found = []
        for number in self._san_enrollments:
            one = self._cps.enrollment(number)
            if one is None:
                raise PermanentError(f"Akamai has no enrollment {number}, which san_certs names")
            found.append(one)
        return found

    def _add(self, domain: str) -> Enrollment | None:
        """Add a domain to a shared certificate; None if each with room has to finish a change."""
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
                    f"Another change of the certificate with {domain} is under way",
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
                # Another worker was at it too; the oldest stays.
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
        wants = f"the certificate {one.common_name} came to nothing for {domain}"
        return Order(one.enrollment_id, one.common_name, "cancelled", wants)

    def _changing(self, one: Enrollment, change: Change, domain: str) -> Order:
        path = one.changes[-1]
        for name in _WARNINGS:
            if name in change.needed:
                self._cps.acknowledge(path, name)
        records: list[Record] = []
        if _CHALLENGES in change.inputs:
            records = _records(self._cps.challenges(change.inputs[_CHALLENGES]), domain)
        status = _STATUSES.get(change.state, "create_in_progress")
        if status != "create_in_progress":
            wants = f"The certificate {one.common_name} {status}: {change.description}"
        elif records:
            wants = "; ".join(
                f"to get the certificate for {entry.domain}, make {entry.name} a TXT record of "
                f"{entry.value}"
                for entry in records
            )
        elif _APPROVAL in change.needed:
            wants = f"the change of the certificate {one.common_name} waits for an approval"
        else:
            wants = _taking(one)
        return Order(one.enrollment_id, one.common_name, status, wants, tuple(records))


def _taking(one: Enrollment) -> str:
    return f"waiting for the certificate {one.common_name}"


def _records(challenges: Sequence[Document], domain: str) -> list[Record]:
    """The DNS records that a domain still needs; other domains are other tenants' business."""
    return [
        Record(domain, way["fullPath"].rstrip("."), way["responseBody"])
        for entry in challenges
        if entry["domain"] == domain
        for way in entry["challenges"]
        if way.get("type") == "dns-01" and str(way.get("status")).lower() != "valid"
    ]
