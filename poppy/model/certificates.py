# SPDX-License-Identifier: Apache-2.0
"""Certificates that are ordered by themselves, before a service uses their domain."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Certificate:
    """An order for a certificate.

    Attributes:
        domain_name: the host name it is for.
        cert_type: ``san`` or ``sni``.
        flavor_id: the flavor whose providers are to have it.
    """

    project_id: str
    domain_name: str
    cert_type: str
    flavor_id: str
