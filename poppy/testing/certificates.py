# SPDX-License-Identifier: Apache-2.0
"""Conformance suite of provider drivers that issue certificates.

It is for drivers that declare ``SAN_CERTIFICATE`` or ``SNI_CERTIFICATE``. Use it in addition to
:class:`poppy.testing.provider.ProviderContract`.
"""

import pytest

from poppy.model.certificates import STATES, TYPES, Certificate
from poppy.provider.base import Capability, Issuance, Provider

_POLLS = 100
_CAPABILITIES = {"san": Capability.SAN_CERTIFICATE, "sni": Capability.SNI_CERTIFICATE}


class CertificateContract:
    """Tests with a fixture ``provider``: a driver of a provider without certificates."""

    @pytest.fixture(params=TYPES)
    def certificate(self, request: pytest.FixtureRequest, provider: Provider) -> Certificate:
        """An order of each type that the driver declares."""
        if _CAPABILITIES[request.param] not in provider.supports:
            pytest.skip(f"no {request.param} certificates")
        return Certificate("project-1", "www.example.com", request.param, "standard")

    def issue(
        self, provider: Provider, certificate: Certificate, known: Issuance | None = None
    ) -> Issuance:
        """Call ``ensure_certificate`` until it is done; override this to advance a fake clock."""
        for _ in range(_POLLS):
            known = provider.ensure_certificate(certificate, known)
            assert known.status in STATES
            if not known.in_progress:
                return known
        raise AssertionError(f"still in progress after {_POLLS} calls")

    def test_a_certificate_is_issued(self, provider: Provider, certificate: Certificate) -> None:
        assert self.issue(provider, certificate).status == "deployed"

    def test_issuing_again_changes_nothing(
        self, provider: Provider, certificate: Certificate
    ) -> None:
        first = self.issue(provider, certificate)
        assert self.issue(provider, certificate, first) == first
        assert self.issue(provider, certificate, None) == first

    def test_cancelled_certificate_can_be_ordered_again(
        self, provider: Provider, certificate: Certificate
    ) -> None:
        known = self.issue(provider, certificate)
        provider.remove_certificate(certificate, known)
        provider.remove_certificate(certificate, known)
        assert self.issue(provider, certificate).status == "deployed"

    def test_cancelling_a_certificate_that_never_existed_succeeds(
        self, provider: Provider, certificate: Certificate
    ) -> None:
        provider.remove_certificate(certificate, None)
