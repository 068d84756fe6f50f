# SPDX-License-Identifier: Apache-2.0
"""The tasks of flows. Each does one thing at one driver and can be run twice."""

import abc
from collections.abc import Collection, Mapping, Sequence

from poppy.common import errors
from poppy.common.driver import Driver
from poppy.distributed_task import steering
from poppy.distributed_task.operation_result import Details
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.run import OperationRun
from poppy.dns.base import DNSDriver
from poppy.dns.steering import Policy
from poppy.model.dns_records import Purpose
from poppy.model.flavors import Flavor
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.provider.base import Deployment, Provider

#: The step that proves the project's ownership of its domains.
OWNERSHIP = "ownership"
#: The step that creates or changes the operator names.
DNS = "dns"
#: The step that removes the operator names.
REMOVE_DNS = "remove:dns"


def ensure_step(provider: str) -> str:
    """Return the step in which a provider deploys or purges."""
    return f"provider:{provider}"


def gate_of(driver: Driver) -> str:
    """Return the key of a driver's throttle and circuit breaker, ``<kind>:<name>``."""
    return f"{driver.KIND}:{driver.name}"


def provider_gate(name: str) -> str:
    """Return :func:`gate_of` a provider that may not be loaded."""
    return f"{Provider.KIND}:{name}"


def remove_step(provider: str) -> str:
    """Return the step that removes the service from a provider."""
    return f"remove:provider:{provider}"


class Task(abc.ABC):
    """One action at one driver.

    Attributes:
        name: for display.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abc.abstractmethod
    def execute(self, run: OperationRun) -> None:
        """Run the task: at most one :meth:`~poppy.distributed_task.run.OperationRun.attempt`."""


class ProveOwnership(Task):
    """Wait until the project has proven its ownership of each new domain."""

    def __init__(self, ownership: Ownership) -> None:
        super().__init__("check the ownership of domains")
        self._ownership = ownership

    def execute(self, run: OperationRun) -> None:
        """Remember the records found; park while any are missing."""

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
    """Deploy the service at one provider.

    Args:
        after: the steps that must be done first.
    """

    def __init__(
        self, name: str, providers: Mapping[str, Provider], after: Sequence[str] = ()
    ) -> None:
        super().__init__(f"ensure at {name}")
        self._name = name
        self._providers = providers
        self._after = after

    def execute(self, run: OperationRun) -> None:
        """Remember the provider's object and names; park while the provider is in progress."""
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
                message = deployment.message or f"{name} is still in progress"
                raise errors.InProgressError(message, deployment.poll_after)

        def undo() -> None:
            known = run.service.provider_details.get(name)
            loaded(name, self._providers).remove(run.service, known)

        run.attempt(ensure_step(name), provider_gate(name), work, undo)


class EnsureDNS(Task):
    """Point the operator names to providers, and remove those of dropped domains.

    This waits until every provider serves; until then names stay as they are.

    Args:
        after: the steps that must be done first.
    """

    def __init__(self, dns: DNSDriver, flavor: Flavor, after: Sequence[str]) -> None:
        super().__init__("ensure names in DNS")
        self._dns = dns
        self._flavor = flavor
        self._after = after

    def execute(self, run: OperationRun) -> None:
        """Remember the operator names; forget those of dropped domains."""
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
            # By now another service may hold some of the domains.
            service = run.service
            lost = [domain for domain in service.known_domains if not run.holds(domain)]
            if names := expected_names(service, self._dns, lost):
                self._dns.remove(sorted(names))

        run.attempt(DNS, gate_of(self._dns), work, undo)


class DisableDNS(Task):
    """Point no name of a service to its providers any more.

    The names point to the operator's host for disabled services, or are removed if there is none.
    """

    def __init__(self, dns: DNSDriver) -> None:
        super().__init__("switch names off in DNS")
        self._dns = dns

    def execute(self, run: OperationRun) -> None:
        """Switch the names off. The service keeps its operator names for later."""

        def work() -> None:
            switch_off(operator_names(run.service, self._dns), self._dns)

        run.attempt(DNS, gate_of(self._dns), work)


class RemoveDNS(Task):
    """Remove the operator names before the providers' names, so that none is left dangling.

    (If an operator name points to a free name at a provider, anyone who registers that name there
    takes it over.)
    """

    def __init__(self, dns: DNSDriver) -> None:
        super().__init__("remove names from DNS")
        self._dns = dns

    def execute(self, run: OperationRun) -> None:
        """Remove known names, and those that may exist because a reply was lost.

        Skip a domain with a claim that was revoked before it was deployed: another service may
        hold it now.
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
    """Remove the service from one provider, once its names are out of DNS.

    Args:
        after: the step that must be done first.
    """

    def __init__(self, name: str, providers: Mapping[str, Provider], after: str) -> None:
        super().__init__(f"remove from {name}")
        self._name = name
        self._providers = providers
        self._after = after

    def execute(self, run: OperationRun) -> None:
        """Remove the service and forget the provider's object."""
        if not run.done(self._after):
            return

        def work() -> None:
            known = run.service.provider_details.get(self._name)
            loaded(self._name, self._providers).remove(run.service, known)
            run.remember(lambda details: details.pop(self._name, None))

        run.attempt(remove_step(self._name), provider_gate(self._name), work)


class PurgeProvider(Task):
    """Evict or invalidate content at one provider."""

    def __init__(self, name: str, providers: Mapping[str, Provider]) -> None:
        super().__init__(f"purge at {name}")
        self._name = name
        self._providers = providers

    def execute(self, run: OperationRun) -> None:
        """Purge. There is nothing to remember."""
        purge = run.operation.purge
        if purge is None:
            raise errors.NotRunnable("it does not say what to purge")
        left = list(purge.single())

        def work() -> None:
            known = run.service.provider_details.get(self._name)
            while left:
                loaded(self._name, self._providers).purge(run.service, known, left[0])
                # A retry within this run continues with the next one.
                del left[0]

        run.attempt(ensure_step(self._name), provider_gate(self._name), work)


def expected_names(service: Service, dns: DNSDriver, lost: Collection[str] = ()) -> set[str]:
    """Return every operator name that a service has or should have.

    Args:
        lost: domains that it no longer holds.
    """
    expected = {
        dns.operator_name(domain.domain, domain.certificate)
        for domain in service.spec.domains
        if domain.domain not in lost
    }
    return expected | operator_names(service, dns, lost)


def lead(policies: Mapping[str, Policy], dns: DNSDriver) -> None:
    """Point names to their providers."""
    single = {name: policy[0].name for name, policy in policies.items() if len(policy) == 1}
    if single:
        dns.ensure(single)
    if len(single) < len(policies):
        dns.steer({name: it for name, it in policies.items() if name not in single})


def switch_off(names: Collection[str], dns: DNSDriver) -> None:
    """Point names to the operator's host for disabled services, or remove them."""
    if not names:
        return
    if dns.options.url_404:
        dns.ensure(dict.fromkeys(sorted(names), str(dns.options.url_404)))
    else:
        dns.remove(sorted(names))


def operator_names(service: Service, dns: DNSDriver, lost: Collection[str] = ()) -> set[str]:
    """Return every operator name that may be in DNS for a service.

    This includes unconfirmed names: the reply or the worker may have been lost.

    Args:
        lost: domains that it no longer holds.
    """
    return {
        entry.operator_url
        or dns.operator_name(entry.domain, "shared" if dns.owns(entry.domain) else None)
        for detail in service.provider_details.values()
        for entry in detail.access_urls
        if entry.domain not in lost
    }


def loaded(name: str, providers: Mapping[str, Provider]) -> Provider:
    """Return a provider named by an operation.

    Raises:
        PermanentError: it is not loaded.
    """
    if name not in providers:
        raise errors.PermanentError("this provider is not loaded; see [drivers] providers")
    return providers[name]


def _deployed(
    service: Service, known: ProviderDetail | None, deployment: Deployment
) -> ProviderDetail:
    """Return the detail after a successful call. The end of the operation sets the status.

    Entries of dropped domains stay, because their names are still in DNS. So do entries that an
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
