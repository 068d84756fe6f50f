# SPDX-License-Identifier: Apache-2.0
"""Certificates as HAProxy knows them: an entry of a crt-list, and the PEM that it names.

A certificate is never changed: its name has a digest of its content. So a replacement is one more
entry, and then one less. The entry lists the names for which clients get it, whatever other names
the certificate has.
"""

import hashlib
import os
import ssl
from dataclasses import dataclass, field

from poppy.edge.errors import Refused
from poppy.edge.program import Certificate


@dataclass(frozen=True, slots=True)
class Served:
    """A certificate with its key.

    Attributes:
        name: of the PEM file.
        names: the names in SNI for which clients get it.
        pem: the chain and the private key.
        options: for the entry of the list, in brackets; may be empty.
    """

    name: str
    names: tuple[str, ...]
    pem: str = field(repr=False)
    options: str = ""


def served(service_id: str, certificate: Certificate, options: str = "") -> Served:
    """Return how HAProxy knows a service's certificate."""
    pem = certificate.chain + certificate.key
    content = "\n".join((*certificate.names, *filter(None, (options,)), pem))
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    return Served(f"{service_id}-{digest}.pem", certificate.names, pem, options)


def check(certificate: Served) -> None:
    """Load a certificate by OpenSSL, which HAProxy uses too. This takes a millisecond.

    Raises:
        Refused: HAProxy would not start with it. OpenSSL can't read it, its key is of another
            certificate or too short, say.
    """
    # Python only loads files.
    with open(os.memfd_create("certificate"), "w") as file:
        file.write(certificate.pem)
        file.flush()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        except ssl.SSLError as exc:
            names = ", ".join(certificate.names)
            reason = exc.reason or "unreadable"
            raise Refused(f"The certificate of {names:.100} is invalid: {reason}") from exc
