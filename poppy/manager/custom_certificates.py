# SPDX-License-Identifier: Apache-2.0
"""Certificates that tenants bring for domains of their services."""

from collections.abc import Callable, Mapping, Sequence

from poppy.common import errors
from poppy.manager.change_pipeline import Change, Changes, check_settled
from poppy.model import certificates, validation
from poppy.model.certificates import Uploaded
from poppy.model.services import Service
from poppy.provider.base import Provider
from poppy.storage.base import Storage


class CustomCertificatesManager:
    """Keep certificates at the providers, and deploy them by updates of the service."""

    def __init__(
        self, storage: Storage, changes: Changes, providers: Mapping[str, Provider]
    ) -> None:
        self._storage = storage
        self._changes = changes
        self._providers = providers

    def get(self, project_id: str, service_id: str, domain: str) -> Uploaded:
        """Return what is known of the certificate of a domain.

        Raises:
            NotFound: the project has no such service, or the domain no certificate.
        """
        return self._uploaded(self._storage.services.get(project_id, service_id), domain)

    def put(
        self,
        project_id: str,
        service_id: str,
        domain: str,
        document: object,
        request_id: str | None,
    ) -> None:
        """Keep a certificate in place of the domain's previous one, and deploy it.

        Raises:
            InvalidRequest: the certificate is refused, or the document of the service does not
                ask for a custom certificate for the domain.
            ServiceBusy: the service has an unfinished operation, or is disabled.
            TooManyRequests: the project has reached its limit of unfinished operations.
            NotFound: the project has no such service.
        """
        body = validation.validate(certificates.UPLOAD, document)

        def keep(service: Service, provider: Provider) -> None:
            provider.keep_certificate(service, domain, body["chain"], body["key"])

        self._change(project_id, service_id, domain, keep, request_id)

    def delete(
        self, project_id: str, service_id: str, domain: str, request_id: str | None
    ) -> None:
        """Delete the certificate of a domain, and deploy the service without it.

        Raises:
            ServiceBusy: the service has an unfinished operation, or is disabled.
            TooManyRequests: the project has reached its limit of unfinished operations.
            NotFound: the project has no such service, or the domain no certificate.
        """

        def drop(service: Service, provider: Provider) -> None:
            self._uploaded(service, domain)
            provider.drop_certificate(service, domain)

        self._change(project_id, service_id, domain, drop, request_id)

    def _change(
        self,
        project_id: str,
        service_id: str,
        domain: str,
        act: Callable[[Service, Provider], None],
        request_id: str | None,
    ) -> None:
        def decide(service: Service) -> Change:
            wanted = {it.domain for it in service.spec.domains if it.certificate == "custom"}
            if domain not in wanted:
                raise errors.InvalidRequest(
                    f"{domain} is no domain of the service with a custom certificate"
                )
            check_settled(service)
            change = self._changes.updated(service, service.spec, request_id, capped=True)
            # Before the update is stored, so that it finds the certificate.
            for provider in self._of(service):
                try:
                    act(service, provider)
                except errors.PermanentError as exc:
                    raise errors.InvalidRequest(f"Certificate of {domain}: {exc}") from exc
            return change

        self._changes.make(project_id, service_id, decide)

    def _uploaded(self, service: Service, domain: str) -> Uploaded:
        for provider in self._of(service):
            found = provider.kept_certificate(service, domain)
            if found is not None:
                return found
        raise errors.NotFound(f"{domain} has no custom certificate")

    def _of(self, service: Service) -> Sequence[Provider]:
        names = service.provider_details
        return [self._providers[name] for name in names if name in self._providers]
