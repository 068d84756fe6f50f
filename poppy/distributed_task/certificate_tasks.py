# SPDX-License-Identifier: Apache-2.0
"""The tasks of separately ordered certificates; see :mod:`poppy.model.certificates`.

Their steps are named like those of a service, and their results are stored in the same way.
"""

from collections.abc import Mapping
from dataclasses import replace

from poppy.common import errors
from poppy.distributed_task.operation_result import Details
from poppy.distributed_task.run import OperationRun
from poppy.distributed_task.tasks import Task, ensure_step, loaded, provider_gate, remove_step
from poppy.model import certificates
from poppy.model.certificates import Certificate
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.provider.base import Issuance, Provider


class EnsureCertificate(Task):
    """Order a certificate at one provider, and poll while it is being issued."""

    def __init__(self, name: str, providers: Mapping[str, Provider]) -> None:
        super().__init__(f"ensure a certificate at {name}")
        self._name = name
        self._providers = providers

    def execute(self, run: OperationRun) -> None:
        """Remember the certificate's status and details at the provider."""
        name = self._name
        certificate = certificate_of(run.service)

        def work() -> None:
            known = _known(run.service.provider_details[name], certificate)
            issuance = loaded(name, self._providers).ensure_certificate(certificate, known)

            def remember(details: Details) -> None:
                details[name] = replace(
                    details[name],
                    certificates={certificate.domain_name: issuance.status},
                    extra=dict(issuance.details),
                )

            run.remember(remember)
            if issuance.in_progress:
                raise errors.InProgressError(f"{name} is still in progress", issuance.poll_after)
            if issuance.status in ("failed", "cancelled"):
                raise errors.PermanentError(f"the certificate is {issuance.status}")

        def undo() -> None:
            known = _known(run.service.provider_details[name], certificate)
            loaded(name, self._providers).remove_certificate(certificate, known)

        run.attempt(ensure_step(name), provider_gate(name), work, undo)


class RemoveCertificate(Task):
    """Remove a certificate from one provider."""

    def __init__(self, name: str, providers: Mapping[str, Provider]) -> None:
        super().__init__(f"remove a certificate from {name}")
        self._name = name
        self._providers = providers

    def execute(self, run: OperationRun) -> None:
        """Remove the certificate. The details go when the order is deleted."""
        certificate = certificate_of(run.service)

        def work() -> None:
            known = _known(run.service.provider_details[self._name], certificate)
            loaded(self._name, self._providers).remove_certificate(certificate, known)

        run.attempt(remove_step(self._name), provider_gate(self._name), work)


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
