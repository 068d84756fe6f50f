# SPDX-License-Identifier: Apache-2.0

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from poppy.provider.edge import acme_renewal

BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def certificate(lifetime, serial=1, key_id=None):
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder(x509.Name([]), x509.Name([]), key.public_key(), serial)
        .not_valid_before(BEGIN)
        .not_valid_after(BEGIN + lifetime)
    )
    if key_id is not None:
        identifier = x509.AuthorityKeyIdentifier(key_id, None, None)
        builder = builder.add_extension(identifier, critical=False)
    return builder.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    ("days", "latest", "jitter"), [(90, 60, 3), (47, 31 + 1 / 3, 1.6), (6, 3, 0.3)]
)
def test_renewals_are_spread_before_two_thirds_of_the_lifetime(days, latest, jitter):
    times = {
        (acme_renewal.default_time(certificate(days * DAY, serial)) - BEGIN) / DAY
        for serial in range(1, 60)
    }
    assert len(times) > 20
    assert max(times) <= latest + 0.001
    assert latest - jitter <= min(times) < latest - jitter / 2


def test_the_time_of_a_certificate_stays_the_same():
    found = certificate(90 * DAY)
    assert acme_renewal.default_time(found) == acme_renewal.default_time(found)


def test_the_id_of_a_certificate_is_that_of_the_rfc():
    # The example of RFC 9773, section 4.1.
    key_id = bytes.fromhex("69885b6b87464041e1b37b847bd0ae2cde01c8d4")
    found = certificate(DAY, 0x87654321, key_id)
    assert acme_renewal.certificate_id(found) == "aYhba4dGQEHhs3uEe9CuLN4ByNQ.AIdlQyE"


def test_a_certificate_without_the_key_of_its_issuer_has_no_id():
    assert acme_renewal.certificate_id(certificate(DAY)) is None
