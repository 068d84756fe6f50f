# SPDX-License-Identifier: Apache-2.0
"""When a certificate is renewed."""

import base64
import datetime
import hashlib
from typing import NamedTuple

import josepy.errors
from acme import errors
from cryptography import x509

from poppy.common import waits
from poppy.common.clock import now_utc
from poppy.provider.edge.acme_session import Session

#: Certificates with a shorter lifetime are renewed after half of it, as
#: https://letsencrypt.org/docs/integration-guide/ advises.
_SHORT = datetime.timedelta(days=10)
#: The part of the remaining lifetime over which renewals are spread, before the latest time.
_JITTER = 0.1
_ASK_AGAIN = datetime.timedelta(hours=6)


class Renewal(NamedTuple):
    """A certificate's renewal.

    Attributes:
        at: when to renew it.
        ask_again: when to ask the authority again; it may then name another time.
    """

    at: datetime.datetime
    ask_again: datetime.datetime


def leaf(chain: str) -> x509.Certificate:
    """Return the first certificate of a chain in PEM."""
    return x509.load_pem_x509_certificate(chain.encode())


def default_time(certificate: x509.Certificate) -> datetime.datetime:
    """Return when to renew a certificate if its authority suggests nothing.

    This is at two thirds of its lifetime, or half of a short one, or a bit earlier, so that
    certificates which were issued together are not renewed together. It is always the same time
    for a certificate.
    """
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    lifetime = end - begin
    latest = begin + lifetime * (1 / 2 if lifetime < _SHORT else 2 / 3)
    digest = hashlib.sha256(str(certificate.serial_number).encode()).digest()
    return latest - (end - latest) * _JITTER * (digest[0] / 255)


def suggested(session: Session, chain: str) -> Renewal:
    """Ask the authority when to renew a certificate (RFC 9773).

    The time is random within the authority's window, so store it. It is the default time if the
    authority suggests none or does not answer, and never later than a day before the end.
    """
    certificate = leaf(chain)
    now = now_utc()
    if not session.suggests_renewals:
        return Renewal(default_time(certificate), certificate.not_valid_after_utc)
    try:
        at, ask = session.library().renewal_time(chain.encode())
    except errors.ARIError as exc:
        at, ask = None, exc.retry_after
    except (errors.Error, josepy.errors.Error, OverflowError, TypeError):
        # The authority's answer does not match the RFC.
        return Renewal(default_time(certificate), now + _ASK_AGAIN)
    latest = certificate.not_valid_after_utc - min(
        datetime.timedelta(days=1),
        (certificate.not_valid_after_utc - certificate.not_valid_before_utc) / 4,
    )
    if at is None:
        at = default_time(certificate)
    elif at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    # The library returns local time without a zone.
    return Renewal(
        min(at, latest), now + datetime.timedelta(seconds=waits.until(ask.astimezone(), now))
    )


def certificate_id(certificate: x509.Certificate) -> str | None:
    """Return the ID by which an order replaces a certificate (RFC 9773, section 4.1).

    None if the certificate does not name the key of its issuer.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    serial = certificate.serial_number
    # One more bit, since an INTEGER of DER is signed.
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    key_id = extension.value.key_identifier
    return None if key_id is None else f"{_base64(key_id)}.{_base64(number)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
