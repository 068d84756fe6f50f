# SPDX-License-Identifier: Apache-2.0
"""The tasks of separately ordered certificates; see :mod:`poppy.model.certificates`.

Their steps are named like those of a service, and their results are stored in the same way.
"""

from collections.abc import Mapping
from dataclasses import replace

from poppy.common import errors
from poppy.distributed_task.operation_result import Result
from poppy.distributed_task.run import OperationRun
from poppy.distributed_task.tasks import ProviderTask, ensure_step, remove_step
from poppy.model import certificates
from poppy.model.certificates import Certificate
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.provider.base import Issuance, Provider


class CertificateTask(ProviderTask):
    """One action for a certificate at one provider."""

    def remove(self, run: OperationRun) -> None:
        """Remove the certificate."""
        certificate = certificate_of(run.service)
        known = _known(run.service.provider_details[self._name], certificate)
        self.provider.remove_certificate(certificate, known)


class EnsureCertificate(CertificateTask):
    """Order a certificate at one provider, and poll while it is being issued."""

    def __init__(self, name: str, providers: Mapping[str, Provider]) -> None:
        super().__init__("ensure a certificate at", name, ensure_step(name), providers)

    def call(self, run: OperationRun) -> Result:
        """Return the certificate's status and details at the provider."""
        name = self._name
        certificate = certificate_of(run.service)
        detail = run.service.provider_details[name]
        issuance = self.provider.ensure_certificate(certificate, _known(detail, certificate))
        certificates = {certificate.domain_name: issuance.status}
        detail = replace(detail, certificates=certificates, extra=dict(issuance.details))
        error: errors.DriverError | None = None
        if issuance.in_progress:
            error = errors.InProgressError(f"{name} is still in progress", issuance.poll_after)
        elif issuance.status in ("failed", "cancelled"):
            error = errors.PermanentError(f"the certificate is {issuance.status}")
        return Result({name: detail}, error)

    def undo(self, run: OperationRun) -> bool:
        """Remove the certificate from the provider."""
        self.remove(run)
        return True


class RemoveCertificate(CertificateTask):
    """Remove a certificate from one provider."""

    def __init__(self, name: str, providers: Mapping[str, Provider]) -> None:
        super().__init__("remove a certificate from", name, remove_step(name), providers)

    def call(self, run: OperationRun) -> Result:
        """Remove the certificate. The details go when the order is deleted."""
        self.remove(run)
        return Result()


def certificate_of(order: Service) -> Certificate:
    """Return the part of an order that a provider needs."""
    (domain,) = order.spec.domains
    return Certificate(
        project_id=certificates.owner(order.project_id),
        domain_name=domain.domain,
        cert_type=domain.certificate or "",
        flavor_id=order.spec.flavor_id,
    )


def _known(detail: ProviderDetail, certificate: Certificate) -> Issuance | None:
    status = detail.certificates.get(certificate.domain_name)
    return None if status is None else Issuance(status, detail.extra)
