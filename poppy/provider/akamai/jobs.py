# SPDX-License-Identifier: Apache-2.0
"""What an operator can have done about certificates at Akamai, beside a service's operations."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from poppy.model.certificates import Certificate
from poppy.model.services import ProviderDetail, Service
from poppy.provider.base import Deployment, Issuance


@runtime_checkable
class CertificateJobs(Protocol):
    """The jobs. The provider ``akamai`` does them; each may be repeated at any point.

    Each raises RetryableError and PermanentError as the verbs of a provider do. A Deployment that
    is ``in_progress`` is asked for again after ``poll_after`` by the same call. The names to lead
    domains to are in ``access_urls``; to change DNS is the caller's business, once it is done.
    """

    def certificate_status(self, certificate: Certificate) -> Issuance | None:
        """How far a certificate is, without ordering anything; None if it was never ordered.

        For the job ``akamai_check_and_update_cert_status``. Warnings that CPS waits for an
        answer to are acknowledged.
        """

    def san_mapping(self, service: Service) -> Mapping[str, str | None]:
        """By domain with a san certificate, the edge hostname of the certificate it is on.

        None for a domain that is on none of ``san_certs``. To validate a stored mapping.
        """

    def update_property(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Lead the service's san and sni domains to the edge hostnames of their certificates.

        For the jobs ``akamai_update_papi_property_for_mod_san`` and ``..._mod_sni``. It undoes
        :meth:`migrate`.

        Raises:
            PermanentError: the service was never deployed.
            InProgressError: a certificate can't take a domain yet.
        """

    def migrate(
        self, service: Service, known: ProviderDetail | None, domain: str, new_cert: str
    ) -> Deployment:
        """Lead one domain to another certificate's edge hostname, where it then stays.

        Args:
            new_cert: the edge hostname, or its name without ``.edgekey.net``. It is made if
                there is an enrollment with that common name.

        Raises:
            PermanentError: the service does not have the domain, or was never deployed; or there
                is neither such an edge hostname nor such an enrollment.
        """
