# SPDX-License-Identifier: Apache-2.0
"""The options of certificates by ACME, in the group of the provider ``edge``.

This module needs no library of the extra ``acme``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from oslo_config import cfg

from poppy.common import logs
from poppy.common.errors import ConfigError

_MAX_AUTHORITIES = 10


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority.

    Attributes:
        directory: URL of its ACME directory.
        email: contact of the account; None for none.
        ca_file: certificates to verify its API with; None for those of the system.
        timeout: seconds to wait for a response.
        profile: the wanted profile, for an authority that has it; empty for its default.
        external: key ID and HMAC key of an external account; None for none.
    """

    directory: str
    email: str | None = None
    ca_file: str | None = None
    timeout: int = 30
    profile: str = ""
    external: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its host name, for messages."""
        return urlsplit(self.directory).hostname or self.directory


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers; the periods are fixed.

    Attributes:
        orders: at one authority, in 3 hours.
        certificates: for one registered domain at one authority, in 7 days. Renewals are free.
        duplicates: for exactly the same names at one authority, in 7 days. Renewals that the
            authority recognizes as such (RFC 9773) are free.
        failures: of the validation of one name, in an hour, at all authorities together.
    """

    orders: int = 240
    certificates: int = 40
    duplicates: int = 4
    failures: int = 4


_DEFAULTS = Limits()

OPTS: Sequence[cfg.Opt] = (
    cfg.ListOpt(
        "encryption_keys",
        default=[],
        secret=True,
        help="Keys that encrypt account keys and certificates' private keys in the store: 32 "
        "bytes in base64 each, from 'openssl rand -base64 32'. The first one encrypts, all of "
        "them decrypt. To rotate, prepend a new one. Without a key that is in use, certificates "
        "can be neither served nor renewed.",
    ),
    cfg.ListOpt(
        "acme_directories",
        default=[],
        help="URLs of ACME directories of certificate authorities, in order of preference "
        "(https://acme-v02.api.letsencrypt.org/directory). A certificate stays with its "
        "authority until that is down or limits Poppy; then the next one gets the order.",
    ),
    cfg.BoolOpt(
        "acme_terms_accepted",
        default=False,
        help="Whether you accept the terms of service of all these authorities. Without it, no "
        "account is created.",
    ),
    cfg.StrOpt(
        "acme_email",
        help="Contact of the accounts, for authorities that write to their customers.",
    ),
    cfg.StrOpt(
        "acme_ca_file",
        help="File with the certificates, in PEM, by which the authorities' APIs are verified, "
        "for a private authority. Unset: those of the system.",
    ),
    cfg.BoolOpt(
        "acme_shared_certificates",
        default=False,
        help="Whether to order a wildcard certificate for each shard of the DNS driver "
        "(shared_ssl_num_shards), for domains with a shared certificate. The DNS driver proves "
        "the control over the shards (dns-01), so it must support TXT records.",
    ),
    cfg.BoolOpt(
        "acme_renewal_info",
        default=True,
        help="Whether to ask authorities that support it (RFC 9773) when to renew a certificate, "
        "every 6 to 24 hours. Otherwise it is renewed after two thirds of its lifetime.",
    ),
    cfg.IntOpt(
        "acme_timeout",
        default=30,
        min=1,
        max=300,
        help="Seconds to wait for an authority's response.",
    ),
    cfg.StrOpt(
        "acme_profile",
        default="",
        help="Profile of the certificates (shortlived, say), for authorities that offer it. "
        "Empty: the authority's default.",
    ),
    cfg.DictOpt(
        "acme_eab_key_ids",
        default={},
        help="Key IDs of external accounts by the host of the directory "
        "(acme.example.net:kid-1), for authorities that require them (RFC 8555, section 7.3.4).",
    ),
    cfg.DictOpt(
        "acme_eab_hmac_keys",
        default={},
        secret=True,
        help="HMAC keys of these accounts, in base64url, by the host of the directory.",
    ),
    cfg.IntOpt(
        "acme_max_orders",
        default=_DEFAULTS.orders,
        min=1,
        max=100_000,
        help="Maximum orders at one authority in 3 hours. Let's Encrypt allows 300. When this or "
        "the next two limits are reached, the next authority gets the order, or it waits.",
    ),
    cfg.IntOpt(
        "acme_max_certificates",
        default=_DEFAULTS.certificates,
        min=1,
        max=100_000,
        help="Maximum certificates for one registered domain at one authority in 7 days, without "
        "renewals. Let's Encrypt allows 50.",
    ),
    cfg.IntOpt(
        "acme_max_duplicates",
        default=_DEFAULTS.duplicates,
        min=1,
        max=100_000,
        help="Maximum certificates for exactly the same names at one authority in 7 days. Let's "
        "Encrypt allows 5.",
    ),
    cfg.IntOpt(
        "acme_max_failures",
        default=_DEFAULTS.failures,
        min=1,
        max=100_000,
        help="Maximum failed validations of one name in an hour. Let's Encrypt allows 5.",
    ),
)


def authorities(options: Any, group: str) -> list[Authority]:
    """Return the authorities of an option group, in order of preference.

    Raises:
        ConfigError: an option is missing or invalid; the message names it.
    """
    urls = options.acme_directories
    if not 1 <= len(urls) <= _MAX_AUTHORITIES or len(set(urls)) != len(urls):
        raise ConfigError(
            f"[{group}] acme_directories must contain 1 to {_MAX_AUTHORITIES} different URLs"
        )
    if not options.acme_terms_accepted:
        raise ConfigError(f"[{group}] acme_terms_accepted must be true to order certificates")
    hmac_keys = options.acme_eab_hmac_keys
    logs.register_secrets(hmac_keys.values())
    hosts = {_host(url, group) for url in urls}
    for option in ("acme_eab_key_ids", "acme_eab_hmac_keys"):
        for host in sorted(options[option].keys() ^ options.acme_eab_key_ids.keys()):
            raise ConfigError(
                f"[{group}] acme_eab_key_ids and acme_eab_hmac_keys must both contain {host}"
            )
        for host in sorted(options[option].keys() - hosts):
            raise ConfigError(f"[{group}] {option}: {host} is no host of acme_directories")
    return [
        Authority(
            directory=url,
            email=options.acme_email,
            ca_file=options.acme_ca_file,
            timeout=options.acme_timeout,
            profile=options.acme_profile,
            external=_external(options, _host(url, group)),
        )
        for url in urls
    ]


def limits(options: Any) -> Limits:
    """Return the limits of an option group."""
    return Limits(
        orders=options.acme_max_orders,
        certificates=options.acme_max_certificates,
        duplicates=options.acme_max_duplicates,
        failures=options.acme_max_failures,
    )


def _host(url: str, group: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port  # The port is checked when it is read.
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme != "https" or not host or port == 0 or parts.username is not None:
        raise ConfigError(f"[{group}] acme_directories: {url!r:.200} is no https URL")
    return host


def _external(options: Any, host: str) -> tuple[str, str] | None:
    key_id = options.acme_eab_key_ids.get(host)
    return None if key_id is None else (key_id, options.acme_eab_hmac_keys[host])
