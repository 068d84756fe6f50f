# SPDX-License-Identifier: Apache-2.0
"""The contract of DNS drivers."""

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

from oslo_config import cfg

from poppy.common import limits
from poppy.common.driver import Driver

#: Options that every DNS driver has, in its own group.
COMMON_OPTS = (
    cfg.StrOpt(
        "suffix",
        default="cdn.example.net",
        help="The operator's DNS suffix: a domain is reached by <domain>.<suffix>, which is a "
        "CNAME to the provider's name.",
    ),
    cfg.IntOpt(
        "shared_ssl_num_shards",
        default=0,
        min=0,
        help="How many names share the operator's certificate. A service that asks for a "
        "shared certificate gets <label>.<prefix><n>.<suffix>; 0 offers none.",
    ),
    cfg.StrOpt(
        "shared_ssl_shard_prefix",
        default="scdn",
        help="How the names of the shared shards begin.",
    ),
    cfg.StrOpt(
        "shared_ssl_domain_suffix",
        default="secure.example.net",
        help="The DNS suffix of the shared shards.",
    ),
)


class DNSDriver(Driver, abc.ABC):
    """Where the operator's names are made. This is the driver author's manual.

    The one kind of record Poppy makes is a CNAME from the operator's name of a domain to the
    provider's name. Both verbs are idempotent and take all names of a service at once, so that
    a driver can send one request per zone. They raise
    :class:`~poppy.common.errors.RetryableError` or
    :class:`~poppy.common.errors.PermanentError`, as provider drivers do. Every call to the
    server has a timeout.

    Make a driver known by an entry point in the namespace ``poppy.dns``, and run
    ``poppy.testing.dns.DNSContract`` over it.
    """

    KIND: ClassVar[str] = "dns"
    KIND_OPTS: ClassVar[Sequence[cfg.Opt]] = limits.OPTS
    OPTS: ClassVar[Sequence[cfg.Opt]] = COMMON_OPTS

    def operator_name(self, domain: str, certificate: str | None) -> str:
        """The operator's name for a domain: where the tenant points it.

        A shared domain is under the operator's own suffix already and is its own name.
        """
        return domain if certificate == "shared" else f"{domain}.{self.options.suffix}"

    def owns(self, domain: str) -> bool:
        """Whether a name is under one of the operator's own suffixes."""
        suffixes = (self.options.suffix, self.options.shared_ssl_domain_suffix)
        return any(domain == suffix or domain.endswith(f".{suffix}") for suffix in suffixes)

    def shared_domains(self, label: str) -> list[str]:
        """The names a label can have under the shared certificate, in order of preference."""
        options = self.options
        return [
            f"{label}.{options.shared_ssl_shard_prefix}{number}.{options.shared_ssl_domain_suffix}"
            for number in range(options.shared_ssl_num_shards)
        ]

    @abc.abstractmethod
    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Make each operator name a CNAME to its provider name, whatever it was before.

        Args:
            cnames: provider name by operator name, without trailing dots.
        """

    @abc.abstractmethod
    def remove(self, names: Sequence[str]) -> None:
        """Remove the CNAMEs of these operator names; fine if there are none."""

    @abc.abstractmethod
    def health(self) -> bool:
        """Whether the DNS server answers now; never raises; bounded by a few seconds."""
