# SPDX-License-Identifier: Apache-2.0
"""What tenants see of a service's distribution and certificate. No I/O."""

from collections.abc import Mapping

from poppy.common.errors import PermanentError
from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.model.specs import ServiceSpec
from poppy.provider.base import Deployment
from poppy.provider.cloudfront.aliases import Conflict, to_do
from poppy.provider.cloudfront.aliases import records as moving
from poppy.provider.cloudfront.certificates import Certificate
from poppy.provider.cloudfront.distributions import Distribution

#: Seconds between checks for a tenant's certificate validation records.
VALIDATION = 60.0


def deployment(
    spec: ServiceSpec,
    found: Distribution,
    certificate: Certificate,
    conflicts: Mapping[str, Conflict],
    poll_after: float,
) -> Deployment:
    """Return the state of a service.

    Args:
        spec: its document.
        found: its distribution.
        certificate: that of the service, or the operator's for shared domains.
        conflicts: domains that belong to other distributions.
        poll_after: seconds until the next look at a distribution that is being deployed.
    """
    status = status_of(certificate)
    is_waiting = certificate.is_pending or bool(conflicts)
    message = _to_do(certificate) if certificate.is_pending else ""
    records = _records(certificate)
    return Deployment(
        provider_service_id=found.distribution_id,
        access_urls=dict.fromkeys(sorted(spec.domain_names), found.domain_name),
        in_progress=is_waiting or not found.is_deployed,
        poll_after=VALIDATION if is_waiting else poll_after,
        certificates={entry.domain: status for entry in spec.domains if entry.certificate},
        certificate_messages=dict.fromkeys(
            (it.domain for it in spec.domains if certificate.is_awaited and it.certificate),
            "upload a certificate and its key for all domains of the service",
        ),
        message=message or to_do(conflicts, found.domain_name),
        records=(*records, *moving(conflicts, found.domain_name)),
    )


def status_of(certificate: Certificate) -> str:
    """Return the status of a certificate, as tenants see it."""
    if certificate.is_issued:
        return "deployed"
    is_waiting = certificate.is_pending or certificate.is_awaited
    return "create_in_progress" if is_waiting else "failed"


def _records(certificate: Certificate) -> tuple[DNSRecord, ...]:
    """Return the validation records, named ``_<token>.<domain>``. ACM needs them for renewals."""
    return tuple(
        DNSRecord(name.partition(".")[2], Purpose.CERTIFICATE, RecordType.CNAME, name, value)
        for name, value in sorted(certificate.records.items())
    )


def _to_do(certificate: Certificate) -> str:
    """Return what the tenant must do for a certificate."""
    records = "; ".join(f"{n} CNAME {v}" for n, v in sorted(certificate.records.items()))
    if not records:
        return "Amazon is preparing the certificate"
    return f"Waiting for these DNS records, which must stay: {records}"


def failure(certificate: Certificate) -> PermanentError:
    """Return the error for a certificate that was not issued."""
    names = ", ".join(sorted(certificate.names))
    reason = certificate.reason or certificate.status
    return PermanentError(f"The certificate for {names} failed: {reason}")
