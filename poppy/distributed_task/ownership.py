# SPDX-License-Identifier: Apache-2.0
"""Proof that a project owns its domains: a TXT record with a value that only the project has.

The value is derived from the project's id with a key that is created once and kept in storage.
After a rotation the previous key stays valid, so that records can be changed without a gap.

A claim is pending until its domain is proven (see :mod:`poppy.storage.domains`). The proof is
stored *before* any provider is called. A pending claim excludes no one: another project that
proves the domain gets it. Storage accepts only one of a proof and such a revocation.
"""

import datetime
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from oslo_config import cfg
from oslo_log import log

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.common.domains import RESOLVER_GROUP
from poppy.distributed_task.record_check import pause
from poppy.dns.resolver import Resolver
from poppy.model import certificates, dns_records
from poppy.model.dns_records import DNSRecord, Purpose, RecordStatus
from poppy.model.provider_details import ProviderDetails
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.storage.base import Storage
from poppy.storage.domains import Claim

LOG = log.getLogger(__name__)

#: The name of the document that holds the keys.
DOCUMENT = "domain_ownership"
#: Seconds for the lookup of a domain while a client waits for the response.
_BRIEF = 2.0
_KEYS = 2


class Keys:
    """The keys from which values are derived, the current one first."""

    def __init__(self, storage: Storage) -> None:
        self._documents = storage.documents

    def read(self) -> Sequence[bytes]:
        """Return all valid keys. Create the first one on first use."""
        content = self._documents.get(DOCUMENT).content
        if not content:
            # Another process may have created it since.
            content = self._documents.change(DOCUMENT, lambda it: it or _with_new_key(None))
        return [bytes.fromhex(key) for key in content["keys"]]

    def rotate(self) -> Sequence[bytes]:
        """Create a new key. The previous one stays valid; older ones do not.

        Raises:
            Unavailable: others keep changing the keys at the same time.
        """
        content = self._documents.change(DOCUMENT, _with_new_key)
        return [bytes.fromhex(key) for key in content["keys"]]


def _with_new_key(content: Any) -> dict[str, list[str]]:
    known = content["keys"] if content else []
    return {"keys": [secrets.token_hex(32), *known][:_KEYS]}


class Ownership:
    """Determines the required records and looks them up.

    Args:
        interval: seconds between the first lookups.
        timeout: seconds for the lookups of one domain.
    """

    def __init__(
        self, storage: Storage, resolver: Resolver, interval: float, timeout: float
    ) -> None:
        self._storage = storage
        self._resolver = resolver
        self._interval = interval
        self._timeout = timeout
        self._keys = Keys(storage)
        self._taking_over = threading.Lock()

    @classmethod
    def of(cls, conf: cfg.ConfigOpts, storage: Storage) -> Self | None:
        """Return the configured instance; None if no proof is required."""
        if conf.domain_ownership == "off":
            return None
        timeout = conf[RESOLVER_GROUP].timeout
        return cls(storage, Resolver.of(conf), conf.domain_ownership_interval, timeout)

    def noted(self, details: ProviderDetails, service: Service) -> ProviderDetails:
        """Return details with a record for each domain that is new to the service.

        Args:
            details: the details to store.
            service: with the new document and the previous details.
        """
        if certificates.is_namespace(service.project_id):
            return details  # a certificate order: no edge serves its domain
        key = self._keys.read()[0]
        known = {
            record.domain: record
            for record in service.dns_records
            if record.purpose is Purpose.OWNERSHIP
        }
        asked = [name for name in _own(service.spec) if name not in service.deployed_domains]
        wanted = dict.fromkeys((*known, *asked))
        records = [
            known.get(name) or dns_records.ownership_record(name, key, service.project_id)
            for name in wanted
        ]
        return {
            name: detail.with_records(records, purposes={Purpose.OWNERSHIP})
            for name, detail in details.items()
        }

    def verify(self, service: Service) -> Sequence[DNSRecord]:
        """Look up the records of all unproven domains.

        Deployed domains are not looked up again.

        Returns:
            The service's records, with their status.

        Raises:
            PermanentError: the service has lost a domain to a project that has proven it.
            Unavailable: storage does not answer.
        """
        keys = self._keys.read()
        shown = {record.domain for record in service.dns_records}
        found = []
        for domain in _own(service.spec):
            record = dns_records.ownership_record(domain, keys[0], service.project_id)
            if domain not in service.deployed_domains:
                found.append(self._verify(service, record, keys))
            elif domain in shown:
                found.append(record.checked(RecordStatus.OK, now_utc()))
        return found

    def check_complete(self, records: Iterable[DNSRecord], since: datetime.datetime) -> None:
        """Make an operation wait while records are missing.

        Args:
            since: when the operation was requested.

        Raises:
            InProgressError: names the missing records.
        """
        missing = [record for record in records if record.status is not RecordStatus.OK]
        if missing:
            said = "; ".join(_describe(record) for record in missing)
            raise errors.InProgressError(said, pause(self._interval, since))

    def weaker_claim(self, project_id: str, taken: errors.DomainTaken) -> Claim | None:
        """Return the claim that keeps a project from a domain that it proves; None if it is gone.

        The proof ends another project's unproven claim, and a quarantine: anyone who can create
        the record can also point the domain elsewhere.

        Only one thread of a process looks records up here at a time, so that slow name servers
        do not use up the server's threads.

        Raises:
            DomainTaken: as given, or with the missing record.
        """
        try:
            claim = self._storage.domains.get(taken.domain)
        except errors.NotFound:
            return None
        if claim.project_id == project_id or self._is_kept(claim):
            raise taken
        keys = self._keys.read()
        record = dns_records.ownership_record(taken.domain, keys[0], project_id)
        status = RecordStatus.MISSING
        if self._taking_over.acquire(blocking=False):
            try:
                status = self._look_up(record, project_id, keys, min(_BRIEF, self._timeout))
            finally:
                self._taking_over.release()
        if status is not RecordStatus.OK:
            if claim.released_at is not None:
                raise taken
            raise errors.DomainUnproven(record.domain, record.name, record.value) from taken
        return claim

    def take_over(self, project_id: str, taken: errors.DomainTaken) -> None:
        """Free a domain for a project that proves it.

        Raises:
            DomainTaken: as :meth:`weaker_claim` does.
        """
        claim = self.weaker_claim(project_id, taken)
        if claim is None:
            return
        try:
            self._storage.domains.release(claim)
        except errors.Changed:
            raise taken from None
        LOG.info(
            "Domain %s is taken from project %s: project %s has proven that it owns it",
            claim.domain,
            claim.project_id,
            project_id,
        )

    def _is_kept(self, claim: Claim) -> bool:
        """Whether a claim withstands another project's proof."""
        if claim.released_at is not None:
            return False
        if not claim.pending:
            return True
        try:
            holder = self._storage.services.get(claim.project_id, claim.service_id or "")
        except errors.NotFound:
            return False
        return claim.domain in holder.deployed_domains

    def _verify(self, service: Service, record: DNSRecord, keys: Sequence[bytes]) -> DNSRecord:
        domain = record.domain
        held = (service.project_id, service.service_id)
        try:
            claim = self._storage.domains.get(domain)
        except errors.NotFound:
            claim = None
        if claim is None or (claim.project_id, claim.service_id) != held:
            raise errors.PermanentError(
                f"the claim to domain {domain} was revoked before it was proven"
            )
        if not claim.pending:
            return record.checked(RecordStatus.OK, now_utc())
        status = self._look_up(record, service.project_id, keys, self._timeout)
        if status is RecordStatus.OK and not self._storage.domains.prove(*held, domain):
            raise errors.PermanentError(
                f"the claim to domain {domain} was revoked before it was proven"
            )
        return record.checked(status, now_utc())

    def _look_up(
        self, record: DNSRecord, project_id: str, keys: Sequence[bytes], timeout: float
    ) -> RecordStatus:
        good = {dns_records.ownership_value(key, project_id) for key in keys}
        deadline = time.monotonic() + timeout
        status = RecordStatus.MISSING
        for name in dns_records.challenge_names(record.domain):
            try:
                texts = self._resolver.texts(name, deadline)
            except errors.RetryableError as exc:
                LOG.info("Domain %s: %s", record.domain, exc)
                continue
            if texts & good:
                return RecordStatus.OK
            if texts:
                status = RecordStatus.WRONG
        return status


def _own(spec: ServiceSpec) -> Iterator[str]:
    """Iterate over the domains that belong to the tenant, not to the operator."""
    return (entry.domain for entry in spec.domains if entry.certificate != "shared")


def _describe(record: DNSRecord) -> str:
    problem = "has another value" if record.status is RecordStatus.WRONG else "is missing"
    return (
        f"domain {record.domain} waits for its owner: the TXT record {record.name} {problem}; "
        f"make it {record.value}"
    )
