# SPDX-License-Identifier: Apache-2.0
"""The contract of DNS drivers."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from oslo_config import cfg

from poppy.common import limits
from poppy.common.driver import Driver
from poppy.common.errors import PermanentError
from poppy.dns.steering import Policy, Steering
from poppy.model import names as model_names

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
    cfg.IntOpt(
        "ttl",
        default=300,
        min=0,
        max=2147483647,
        help="Seconds for which resolvers may keep the operator's names: the longest that a "
        "change takes to reach everyone.",
    ),
    cfg.StrOpt(
        "url_404",
        help="Where the names of disabled services point to: the name of a host that answers "
        "every request with 404. Unset: their names are removed.",
    ),
)


class DNSDriver(Driver, abc.ABC):
    """Where the operator's names are made. This is the driver author's manual.

    The one kind of record Poppy makes is a CNAME from the operator's name of a domain to the
    provider's name. Both verbs are idempotent and take all names of a service at once; what is
    in one zone goes by one request, where the protocol can (see :mod:`poppy.dns.zones`). They
    raise :class:`~poppy.common.errors.RetryableError` or
    :class:`~poppy.common.errors.PermanentError`, as provider drivers do. Every call to the
    server has a timeout, and where there are several servers, the next one is asked when one
    does not answer (see :mod:`poppy.dns.servers`).

    Where a server can answer by weights, or by where the client is, a driver may declare it in
    ``STEERING`` and have :meth:`steer`. What :meth:`steer` makes, :meth:`ensure` replaces and
    :meth:`remove` removes.

    Make a driver known by an entry point in the namespace ``poppy.dns``, and run
    ``poppy.testing.dns.DNSContract`` over it.
    """

    KIND: ClassVar[str] = "dns"
    KIND_OPTS: ClassVar[Sequence[cfg.Opt]] = limits.OPTS
    OPTS: ClassVar[Sequence[cfg.Opt]] = COMMON_OPTS
    STEERING: ClassVar[frozenset[Steering]] = frozenset()

    @property
    def steering(self) -> frozenset[Steering]:
        """``STEERING``, unless the driver's options add to it or take from it."""
        return self.STEERING

    def operator_name(self, domain: str, certificate: str | None) -> str:
        """The operator's name for a domain: where the tenant points it.

        A shared domain is under the operator's own suffix already and is its own name.
        """
        return domain if certificate == "shared" else f"{domain}.{self.options.suffix}"

    @property
    def reserved_names(self) -> Sequence[str]:
        """The operator's own names, which tenants may use neither as domains nor as origins.

        Each stands for itself and all names below it. A driver that makes other names adds them.
        """
        options = self.options
        own = (options.suffix, options.shared_ssl_domain_suffix, options.url_404)
        return [name for name in own if name]

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
        """Make each operator name a CNAME to its provider name, whatever that was before.

        Records with a TTL of ``options.ttl`` are made, changed, and never doubled. A name that
        has records of other types is not ours, and is left as it is.

        Args:
            cnames: provider name by operator name, without trailing dots.

        Raises:
            InProgressError: the server knows, but its name servers don't yet; to be called
                again, which must be cheap then.
            RetryableError: may work later; names may have been changed, in any number.
            PermanentError: the server refuses, or a name has other records; names the name.
        """

    def steer(self, policies: Mapping[str, Policy]) -> None:
        """Make each operator name lead where its policy says, whatever it led to before.

        For drivers that declare what they can in ``STEERING``; policies hold nothing else. Raises
        as :meth:`ensure`.

        Args:
            policies: by operator name, each of two targets or more.
        """
        raise PermanentError(f"{self.name} can't steer")

    def names_made(self, name: str, by_geography: bool) -> Iterable[str]:
        """Every name that is made for an operator's name, itself included.

        Each must be possible in DNS, or the service is refused. For drivers that need helper
        names to steer.

        Args:
            by_geography: whether the name is to lead to several providers by place.
        """
        return (name,)

    @abc.abstractmethod
    def remove(self, names: Sequence[str]) -> None:
        """Remove the CNAMEs of these operator names, and no other records; fine if there are none.

        A name that can't be in DNS at all counts as removed (see :func:`possible`). Otherwise a
        service that could not be made could not be deleted either.

        Raises:
            InProgressError: as for :meth:`ensure`: resolvers may still be told the names.
            RetryableError: may work later.
            PermanentError: the server refuses.
        """

    @abc.abstractmethod
    def health(self) -> bool:
        """Whether the DNS server answers now; never raises; bounded by a few seconds."""


def possible(names: Iterable[str]) -> list[str]:
    """Those names that can be in DNS: neither they nor a label of them is too long, or empty."""
    return [name for name in names if model_names.impossible(name) is None]
