# SPDX-License-Identifier: Apache-2.0
"""The contract of DNS drivers."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from oslo_config import cfg

from poppy.common import inspection, limits
from poppy.common.driver import Driver
from poppy.common.errors import InProgressError, PermanentError, Unauthorized
from poppy.common.inspection import Sighting as Sighting
from poppy.dns.steering import AddressPool, Policy, Steering
from poppy.model import names as model_names

#: Options of every DNS driver, in its own group.
COMMON_OPTS = (
    cfg.StrOpt(
        "suffix",
        default="cdn.example.net",
        help="The operator's DNS suffix. The operator name of a domain is <domain>.<suffix>, a "
        "CNAME to the provider's name.",
    ),
    cfg.IntOpt(
        "shared_ssl_num_shards",
        default=0,
        min=0,
        help="Number of shards under the operator's shared certificate. A domain with a shared "
        "certificate gets <label>.<prefix><n>.<suffix>. 0 disables shared certificates.",
    ),
    cfg.StrOpt(
        "shared_ssl_shard_prefix",
        default="scdn",
        help="Prefix of the shards' names.",
    ),
    cfg.StrOpt(
        "shared_ssl_domain_suffix",
        default="secure.example.net",
        help="DNS suffix of the shards.",
    ),
    cfg.IntOpt(
        "ttl",
        default=300,
        min=0,
        max=2147483647,
        help="TTL of the operator names in seconds. A change reaches all clients within this "
        "time.",
    ),
    cfg.StrOpt(
        "url_404",
        help="Host name that the operator names of disabled services point to. The host must "
        "answer every request with 404. Unset: the names are removed.",
    ),
)


class DNSDriver(Driver, abc.ABC):
    """Base of DNS drivers, which create the operator names. This is the driver author's manual.

    Poppy creates CNAME records from operator names to providers' names. :meth:`ensure` and
    :meth:`remove` are idempotent and take all names of a service at once. If the protocol allows,
    they send one request per zone (see :mod:`poppy.dns.zones`). They raise
    :class:`~poppy.common.errors.RetryableError` or
    :class:`~poppy.common.errors.PermanentError`, like provider drivers. Every call to the server
    has a timeout. If one of several servers does not answer, the next one is used (see
    :mod:`poppy.dns.servers`). A driver compares names with the server, never with its own earlier
    calls, because others may have changed them.

    If the server can answer by weight or client location, a driver may declare this in
    ``STEERING`` and implement :meth:`steer`. :meth:`ensure` replaces, and :meth:`remove` removes,
    the records of :meth:`steer`.

    A driver that can keep the DNS name of the operator's own edge declares ``KEEPS_EDGE`` and
    implements :meth:`ensure_edge`.

    Register a driver with an entry point in the namespace ``poppy.dns``, and test it with
    ``poppy.testing.dns.DNSContract``.
    """

    KIND: ClassVar[str] = "dns"
    KIND_OPTS: ClassVar[Sequence[cfg.Opt]] = (*limits.OPTS, *inspection.OPTS)
    OPTS: ClassVar[Sequence[cfg.Opt]] = COMMON_OPTS
    STEERING: ClassVar[frozenset[Steering]] = frozenset()
    KEEPS_EDGE: ClassVar[bool] = False

    #: Whether the driver has :meth:`set_texts`, which shared certificates of the own edge need.
    TEXTS: ClassVar[bool] = False

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Check the suffixes.

        Raises:
            ConfigError: no name below a suffix would be possible in DNS.
        """
        super().__init__(conf, name)
        suffixes = ["suffix"]
        if self.options.shared_ssl_num_shards:
            suffixes.append("shared_ssl_domain_suffix")
        for option in suffixes:
            value = self.options[option]
            reason = model_names.impossible(f"a.{value}")
            if reason:
                raise self.config_error(f"{option} {value!r}: {reason}")

    @property
    def steering(self) -> frozenset[Steering]:
        """The supported steering: ``STEERING``, unless the driver's options change it."""
        return self.STEERING

    def operator_name(self, domain: str, certificate: str | None) -> str:
        """Return the operator name of a domain, to which the tenant points it.

        A shared domain is its own operator name, because it is under the operator's suffix.
        """
        return domain if certificate == "shared" else f"{domain}.{self.options.suffix}"

    @property
    def reserved_names(self) -> Sequence[str]:
        """The operator's names, which tenants may not use as domains or origins.

        Each includes all names below it. A driver that creates other names adds them.
        """
        options = self.options
        own = (options.suffix, options.shared_ssl_domain_suffix, options.url_404)
        return [name for name in own if name]

    def owns(self, domain: str) -> bool:
        """Return whether a name is at or below one of the operator's suffixes."""
        suffixes = (self.options.suffix, self.options.shared_ssl_domain_suffix)
        return any(domain == suffix or domain.endswith(f".{suffix}") for suffix in suffixes)

    def shared_domains(self, label: str) -> list[str]:
        """Return the possible names of a label under the shared certificate, best first."""
        return [f"{label}.{shard}" for shard in self.shards]

    @property
    def shards(self) -> Sequence[str]:
        """The names of the shards under the shared certificate, best first."""
        options = self.options
        return [
            f"{options.shared_ssl_shard_prefix}{number}.{options.shared_ssl_domain_suffix}"
            for number in range(options.shared_ssl_num_shards)
        ]

    def lead(self, policies: Mapping[str, Policy]) -> None:
        """Make each operator name point to the targets of its policy, of one or several targets.

        Raises the same errors as :meth:`ensure`.
        """
        single = {name: policy[0].name for name, policy in policies.items() if len(policy) == 1}
        if single:
            self.ensure(single)
        if len(single) < len(policies):
            self.steer({name: it for name, it in policies.items() if name not in single})

    def inspect(self, policies: Mapping[str, Policy]) -> Sighting:
        """Return how the records differ from what :meth:`lead` would set; change nothing.

        Calls :meth:`differences` in read-only mode.

        Returns:
            The differences. They are not repairable if the server would refuse a name, such as
            one that has other records: an update would fail, and the service with it.

        Raises:
            RetryableError: a temporary failure.
            Unauthorized: the server refuses the credentials.
        """
        found = self._inspected(policies)
        if not found.differences or len(policies) == 1:
            return found
        # The difference of one name may hide that another one can't be repaired.
        each = [self._inspected({name: policy}) for name, policy in policies.items()]
        differences = tuple(text for it in each for text in it.differences)
        return Sighting(differences, all(it.repairable for it in each))

    def _inspected(self, policies: Mapping[str, Policy]) -> Sighting:
        try:
            with inspection.read_only():
                return Sighting(tuple(self.differences(policies)))
        except inspection.Differs as exc:
            return Sighting((str(exc),))
        except InProgressError:
            return Sighting()
        except Unauthorized:
            raise
        except PermanentError as exc:
            return Sighting((str(exc),), repairable=False)

    def differences(self, policies: Mapping[str, Policy]) -> Sequence[str]:
        """Return how the records differ from those that :meth:`lead` would set.

        This runs :meth:`lead` up to its first change, which tells all differences of a driver
        that reads the records before it changes them. Other drivers compare here, and raise
        :func:`occupied` for a name with other records.

        Raises:
            Differs: the first difference; see :mod:`poppy.common.inspection`.
            PermanentError: the server would refuse a name.
            RetryableError: a temporary failure.
        """
        self.lead(policies)
        return ()

    @abc.abstractmethod
    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Make each operator name a CNAME to its provider's name.

        Create or update one record per name, with a TTL of ``options.ttl``. Do not change a name
        that has records of other types, because Poppy did not create it.

        Args:
            cnames: the provider's name by operator name, without trailing dots.

        Raises:
            InProgressError: the server accepted the change, but its name servers do not serve it
                yet. The caller calls again; such calls must be cheap.
            RetryableError: may work later; some names may already be changed.
            PermanentError: the server refuses, or a name has other records; the message has the
                name.
        """

    def steer(self, policies: Mapping[str, Policy]) -> None:
        """Make each operator name point to the targets of its policy.

        Only for drivers with ``STEERING``; policies use only the declared criteria. Raises the
        same errors as :meth:`ensure`.

        Args:
            policies: the policy by operator name, with two or more targets each.
        """
        raise PermanentError(f"{self.name} can't steer")

    def ensure_edge(self, name: str, pools: Sequence[AddressPool], ttl: int) -> None:
        """Make the DNS name of the operator's own edge resolve to addresses of pools.

        Only for drivers with ``KEEPS_EDGE``. Replace all A, AAAA and CNAME records of the name,
        because Poppy owns it. A client gets addresses of one pool, which is chosen as described at
        :data:`~poppy.dns.steering.Policy`; criteria that the server does not support are ignored.
        Each family (A, AAAA) has the pools with addresses of that family. Raises the same errors
        as :meth:`ensure`.

        Args:
            pools: at least one has an address.
            ttl: of the records, in seconds.
        """
        raise PermanentError(f"{self.name} can't keep the DNS name of the edge")

    def set_texts(self, name: str, values: Sequence[str]) -> None:
        """Make these the only TXT records of a name under a suffix; none removes them.

        Only for drivers with ``TEXTS``. Raises the same errors as :meth:`ensure`.

        Args:
            values: up to 255 characters of base64url each.
        """
        raise PermanentError(f"{self.name} can't set TXT records")

    def names_made(self, name: str, by_geography: bool) -> Iterable[str]:
        """Return every name that is created for an operator name, including itself.

        If one of them is not possible in DNS, the service is refused. For drivers that need
        helper names for steering.

        Args:
            by_geography: whether the client's location decides between several providers.
        """
        return (name,)

    @abc.abstractmethod
    def remove(self, names: Sequence[str]) -> None:
        """Remove the CNAMEs of these operator names, and no other records. Ignore missing ones.

        A name that is impossible in DNS counts as removed (see :func:`possible`). Otherwise a
        service with such a name could never be deleted.

        Raises:
            InProgressError: see :meth:`ensure`; name servers may still serve the names.
            RetryableError: may work later.
            PermanentError: the server refuses.
        """

    def remarks(self) -> Sequence[str]:
        """Return what the operator should change at the DNS server; change nothing.

        ``poppy-status`` shows it. For drivers whose server reports such settings.

        Raises:
            RetryableError: the server does not answer.
            PermanentError: the server's settings keep the driver from working.
        """
        return ()

    @abc.abstractmethod
    def health(self) -> bool:
        """Return whether the DNS server answers, within a few seconds; never raise."""


def difference(name: str, found: str | None, wanted: str) -> str | None:
    """Return how the target of a CNAME differs from the wanted one; None if it does not.

    Args:
        found: the current target; None without a CNAME.
    """
    if found is None:
        return f"{name} has no CNAME; it should be {wanted}"
    if found.rstrip(".").lower() != wanted.rstrip(".").lower():
        return f"{name} is a CNAME to {found.rstrip('.')}; it should be {wanted}"
    return None


def possible(names: Iterable[str]) -> list[str]:
    """Return the names that are possible in DNS: no name or label is too long or empty."""
    return [name for name in names if model_names.impossible(name) is None]


def occupied(name: str, records: str) -> PermanentError:
    """Return the error for a name with foreign records, which can't also have a CNAME."""
    return PermanentError(f"{name} can't be made a CNAME: it has other records ({records})")
