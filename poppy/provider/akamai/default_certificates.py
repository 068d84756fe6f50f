# SPDX-License-Identifier: Apache-2.0
"""Default DV certificates, which Akamai issues for hostnames of properties by itself.

A hostname with ``certProvisioningType`` DEFAULT has a status and a CNAME that the domain's owner
must create. Akamai issues the certificate once the CNAME is there and the hostname is active, and
renews it for as long as both stay so. See
https://techdocs.akamai.com/property-mgr/reference/get-property-version-hostnames.
"""

from collections.abc import Iterable

from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.provider.akamai.certificates import Order
from poppy.provider.akamai.edgegrid import Document

_DEPLOYED = frozenset({"DEPLOYED", "EXPIRING_SOON_NEEDS_VALIDATION"})
#: Statuses in which Akamai needs the CNAME.
_UNPROVEN = frozenset({"PENDING", "EXPIRED_NEEDS_VALIDATION"})
_WORKING = frozenset({"DEPLOYING", "NEEDS_ACTIVATION", "CAA_MISMATCH_RETRYING"})


def orders(hostnames: Iterable[Document], network: str) -> dict[str, Order]:
    """Return the progress of the default certificates by domain.

    Args:
        hostnames: a version's hostnames with the status of their certificates.
        network: ``STAGING`` or ``PRODUCTION``.
    """
    return {
        entry["cnameFrom"]: _order(entry["cnameFrom"], entry.get("certStatus") or {}, network)
        for entry in hostnames
        if is_default(entry)
    }


def is_default(hostname: Document) -> bool:
    """Return whether Akamai issues the certificate of a hostname by itself."""
    return bool(hostname.get("certProvisioningType") == "DEFAULT")


def _order(domain: str, found: Document, network: str) -> Order:
    entries = found.get(network.lower()) or [{}]
    state = entries[0].get("status", "")
    cname = found.get("validationCname")
    records: tuple[DNSRecord, ...] = ()
    if cname is not None:
        records = (
            DNSRecord(
                domain,
                Purpose.CERTIFICATE,
                RecordType.CNAME,
                cname["hostname"].rstrip("."),
                cname["target"].rstrip("."),
            ),
        )
    if state in _DEPLOYED:
        return Order(None, domain, "deployed", records=records)
    if state and state not in _UNPROVEN | _WORKING:
        wants = f"Akamai could not issue the certificate for {domain}: {state}"
        return Order(None, domain, "failed", _with_caa(wants, state), records)
    wants = f"waiting for Akamai to issue the certificate for {domain}"
    if records and state in _UNPROVEN:
        wants = (
            f"to get the certificate for {domain}, create the CNAME record {records[0].name} "
            f"with the target {records[0].value}, which must stay"
        )
    return Order(None, domain, "create_in_progress", _with_caa(wants, state), records)


def _with_caa(text: str, state: str) -> str:
    """Return a text with the reason that the domain's owner can remove."""
    if state.startswith("CAA_MISMATCH"):
        return f"{text}; the CAA records of the domain must allow Let's Encrypt"
    return text
