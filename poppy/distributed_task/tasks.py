# SPDX-License-Identifier: Apache-2.0
"""The tasks that flows are made of. Each does one thing at one driver and can be run twice."""

import abc
from collections.abc import Collection, Mapping, Sequence

from poppy.common import errors
from poppy.common.driver import Driver
from poppy.distributed_task import steering
from poppy.distributed_task.outcome import Details
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.run import OperationRun
from poppy.dns.base import DNSDriver
from poppy.dns.steering import Policy
from poppy.model.dns_records import Purpose
from poppy.model.flavors import Flavor
from poppy.model.services import AccessURL, ProviderDetail, ProviderStatus, Service
from poppy.provider.base import Deployment, Provider

#: The step in which the project proves that the domains are its own.
OWNERSHIP = "ownership"
#: The step in which the operator's names are made.
DNS = "dns"
#: The step in which they are removed.
REMOVE_DNS = "remove:dns"


def ensure_step(provider: str) -> str:
    """The step in which a provider is made to serve, or to purge."""
    return f"provider:{provider}"


def gate_of(driver: Driver) -> str:
    """The key of a driver's throttle and circuit breaker, ``<kind>:<name>``."""
    return f"{driver.KIND}:{driver.name}"


def provider_gate(name: str) -> str:
    """As :func:`gate_of`, of a provider that may not be loaded."""
    return f"{Provider.KIND}:{name}"


def remove_step(provider: str) -> str:
    """The step in which a provider is cleaned."""
    return f"remove:provider:{provider}"


class Task(abc.ABC):
    """One thing to be done at one driver.

    Attributes:
        name: for people.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abc.abstractmethod
    def execute(self, run: OperationRun) -> None:
        """Do it, by one :meth:`~poppy.distributed_task.run.OperationRun.attempt` at most."""


class ProveOwnership(Task):
    """Go on once the project has proven that it owns each new domain."""

    def __init__(self, ownership: Ownership) -> None:
        super().__init__("check the ownership of domains")
        self._ownership = ownership

    def execute(self, run: OperationRun) -> None:
        """Remember what was found; what is missing parks."""

        def work() -> None:
            try:
                records = self._ownership.verify(run.service)
            except errors.Unavailable as exc:
                raise errors.RetryableError(str(exc)) from exc

            def remember(details: Details) -> None:
                for name, detail in details.items():
                    details[name] = detail.with_records(Purpose.OWNERSHIP, records)

            run.remember(remember)
            self._ownership.check_complete(records, run.operation.since)

        run.attempt(OWNERSHIP, OWNERSHIP, work)


class EnsureProvider(Task):
    """Make one provider serve the service's document.

    Args:
        after: the steps that must be done before.
    """

    def __init__(
        self, name: str, providers: Mapping[str, Provider], after: Sequence[str] = ()
    ) -> None:
        super().__init__(f"ensure at {name}")
        self._name = name
        self._providers = providers
        self._after = after

    def execute(self, run: OperationRun) -> None:
        """Remember the provider's object and names; in progress parks."""
        if not run.done(*self._after):
            return
        name = self._name

        def work() -> None:
            known = run.service.provider_details.get(name)
            deployment = loaded(name, self._providers).ensure(run.service, known)

            def remember(details: Details) -> None:
                details[name] = _deployed(run.service, details.get(name), deployment)

            run.remember(remember)
            if deployment.in_progress:
                message = deployment.message or f"{name} is at it"
                raise errors.InProgressError(message, deployment.poll_after)

        def undo() -> None:
            known = run.service.provider_details.get(name)
            loaded(name, self._providers).remove(run.service, known)

        run.attempt(ensure_step(name), provider_gate(name), work, undo)


class EnsureDNS(Task):
    """Have the operator's names lead to providers, and remove those of dropped domains.

    Only once every provider serves: until then, names go on leading where they did.

    Args:
        after: the steps that must be done before.
    """

    def __init__(self, dns: DNSDriver, flavor: Flavor, after: Sequence[str]) -> None:
        super().__init__("ensure names in DNS")
        self._dns = dns
        self._flavor = flavor
        self._after = after

    def execute(self, run: OperationRun) -> None:
        """Remember the operator's names; forget those of domains that are gone."""
        if not run.done(*self._after):
            return

        def work() -> None:
            spec = run.service.spec
            names = {
                domain.domain: self._dns.operator_name(domain.domain, domain.certificate)
                for domain in spec.domains
            }
            policies = steering.policies(run.service, self._flavor, names, self._dns.steering)
            if run.service.disabled:
                switch_off(policies, self._dns)
            else:
                lead(policies, self._dns)
            stale = operator_names(run.service, self._dns) - set(names.values()) - set(policies)
            if stale:
                self._dns.remove(sorted(stale))

            def remember(details: Details) -> None:
                for provider, detail in details.items():
                    details[provider] = detail.with_operator_names(names)

            run.remember(remember)

        def undo() -> None:
            self._dns.remove(sorted(expected_names(run.service, self._dns)))

        run.attempt(DNS, gate_of(self._dns), work, undo)


class DisableDNS(Task):
    """Have no name of a service lead to its providers any more.

    They lead to the operator's host for that, or are removed where there is none.
    """

    def __init__(self, dns: DNSDriver) -> None:
        super().__init__("switch names off in DNS")
        self._dns = dns

    def execute(self, run: OperationRun) -> None:
        """There is nothing to remember: where the names belong stays known."""

        def work() -> None:
            switch_off(operator_names(run.service, self._dns), self._dns)

        run.attempt(DNS, gate_of(self._dns), work)


class RemoveDNS(Task):
    """Remove the operator's names, before the providers': no name may point at nothing.

    (A name that points at a provider's free name can be taken over by whoever takes that.)
    """

    def __init__(self, dns: DNSDriver) -> None:
        super().__init__("remove names from DNS")
        self._dns = dns

    def execute(self, run: OperationRun) -> None:
        """Remove the names we know of, and those that a lost reply may have left.

        A domain that was revoked before it was deployed may be another service's by now.
        """
        service = run.service
        lost = [
            domain
            for domain in service.spec.domain_names - service.deployed_domains
            if not run.holds(domain)
        ]
        names = expected_names(service, self._dns, lost)

        def work() -> None:
            self._dns.remove(sorted(names))

        run.attempt(REMOVE_DNS, gate_of(self._dns), work)


class RemoveProvider(Task):
    """Leave nothing of the service at one provider, once its names are out of DNS.

    Args:
        after: the step that must be done before.
    """

    def __init__(self, name: str, providers: Mapping[str, Provider], after: str) -> None:
        super().__init__(f"remove from {name}")
        self._name = name
        self._providers = providers
        self._after = after

    def execute(self, run: OperationRun) -> None:
        """Forget the provider's object."""
        if not run.done(self._after):
            return

        def work() -> None:
            known = run.service.provider_details.get(self._name)
            loaded(self._name, self._providers).remove(run.service, known)
            run.remember(lambda details: details.pop(self._name, None))

        run.attempt(remove_step(self._name), provider_gate(self._name), work)


class PurgeProvider(Task):
    """Evict or invalidate at one provider."""

    def __init__(self, name: str, providers: Mapping[str, Provider]) -> None:
        super().__init__(f"purge at {name}")
        self._name = name
        self._providers = providers

    def execute(self, run: OperationRun) -> None:
        """There is nothing to remember."""
        purge = run.operation.purge
        if purge is None:
            raise errors.NotRunnable("it does not say what to purge")
        left = list(purge.single())

        def work() -> None:
            known = run.service.provider_details.get(self._name)
            while left:
                loaded(self._name, self._providers).purge(run.service, known, left[0])
                # A repetition within this run goes on from there.
                del left[0]

        run.attempt(ensure_step(self._name), provider_gate(self._name), work)


def expected_names(service: Service, dns: DNSDriver, lost: Collection[str] = ()) -> set[str]:
    """Every operator name that a service has or should have.

    Args:
        lost: domains of its document that it should not have any more.
    """
    expected = {
        dns.operator_name(domain.domain, domain.certificate)
        for domain in service.spec.domains
        if domain.domain not in lost
    }
    return expected | operator_names(service, dns)


def lead(policies: Mapping[str, Policy], dns: DNSDriver) -> None:
    """Have names lead to their providers."""
    single = {name: policy[0].name for name, policy in policies.items() if len(policy) == 1}
    if single:
        dns.ensure(single)
    if len(single) < len(policies):
        dns.steer({name: it for name, it in policies.items() if name not in single})


def switch_off(names: Collection[str], dns: DNSDriver) -> None:
    """Have names lead to where the operator wants those of disabled services to lead."""
    if not names:
        return
    if dns.options.url_404:
        dns.ensure(dict.fromkeys(sorted(names), str(dns.options.url_404)))
    else:
        dns.remove(sorted(names))


def operator_names(service: Service, dns: DNSDriver) -> set[str]:
    """Every operator name that may stand in DNS for a service.

    Also those that nobody has acknowledged: the reply may have been lost, or the worker.
    """
    return {
        entry.operator_url
        or dns.operator_name(entry.domain, "shared" if dns.owns(entry.domain) else None)
        for detail in service.provider_details.values()
        for entry in detail.access_urls
    }


def loaded(name: str, providers: Mapping[str, Provider]) -> Provider:
    """A provider that an operation names.

    Raises:
        PermanentError: it is not loaded.
    """
    if name not in providers:
        raise errors.PermanentError("this provider is not loaded; see [drivers] providers")
    return providers[name]


def _deployed(
    service: Service, known: ProviderDetail | None, deployment: Deployment
) -> ProviderDetail:
    """The detail after a success; the status is settled when the operation ends.

    Entries of dropped domains are kept: their names still stand in DNS. So are those that an
    operator has moved by hand, or every update would move them back.
    """
    entries = known.access_urls if known else ()
    before = {entry.domain: entry for entry in entries}
    moved = tuple(entry for entry in entries if entry.moved)
    settled = {entry.domain for entry in moved}
    current = tuple(
        AccessURL(
            domain=domain,
            provider_url=url,
            operator_url=before[domain].operator_url if domain in before else None,
        )
        for domain, url in deployment.access_urls.items()
        if domain not in settled
    )
    dropped = tuple(
        entry
        for domain, entry in before.items()
        if domain not in service.spec.domain_names
        and domain not in deployment.access_urls
        and not entry.moved
    )
    return ProviderDetail(
        status=known.status if known else ProviderStatus.DEPLOY_IN_PROGRESS,
        provider_service_id=deployment.provider_service_id,
        access_urls=moved + current + dropped,
        certificates=dict(deployment.certificates),
        avoided=known.avoided if known else False,
        dns_records=known.dns_records if known else (),
    )
