# SPDX-License-Identifier: Apache-2.0
"""Operators' certificate jobs at Akamai, which are separate from a service's operations."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from poppy.model.certificates import Certificate
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.provider.base import Deployment, Issuance


@runtime_checkable
class CertificateJobs(Protocol):
    """The jobs, which the provider ``akamai`` implements. They are idempotent.

    They raise RetryableError and PermanentError like a provider's other methods. If a Deployment
    is ``in_progress``, the caller repeats the call after ``poll_after``. The target names of the
    domains are in ``access_urls``; the caller changes DNS once the deployment is complete.
    """

    def certificate_status(self, certificate: Certificate) -> Issuance | None:
        """Return the status of a certificate without ordering it; None if it was never ordered.

        For the job ``akamai_check_and_update_cert_status``. It acknowledges CPS warnings that
        block the order.
        """

    def san_mapping(self, service: Service) -> Mapping[str, str | None]:
        """Return, by domain with a san certificate, the edge hostname of its certificate.

        The value is None for a domain that is in none of ``san_certs``. Used to validate a stored
        mapping.
        """

    def update_property(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Move the service's san and sni domains to the edge hostnames of their certificates.

        For the jobs ``akamai_update_papi_property_for_mod_san`` and ``..._mod_sni``. It reverts
        :meth:`migrate`.

        Raises:
            PermanentError: the service was never deployed.
            InProgressError: a certificate can't take a domain yet.
        """

    def migrate(
        self, service: Service, known: ProviderDetail | None, domain: str, new_cert: str
    ) -> Deployment:
        """Move one domain to another certificate's edge hostname permanently.

        Args:
            new_cert: the edge hostname, with or without ``.edgekey.net``. It is created if there
                is an enrollment with that common name.

        Raises:
            PermanentError: the service does not have the domain or was never deployed; or the
                domain has a default certificate; or neither the edge hostname nor an enrollment
                exists.
        """
