# SPDX-License-Identifier: Apache-2.0
"""The tasks that change operator names in DNS."""

from collections.abc import Collection, Sequence

from poppy.distributed_task import steering
from poppy.distributed_task.operation_result import Result
from poppy.distributed_task.record_watch import RecordWatch
from poppy.distributed_task.run import OperationRun
from poppy.distributed_task.tasks import Task, gate_of
from poppy.dns.base import DNSDriver
from poppy.model import dns_records
from poppy.model.dns_records import Purpose
from poppy.model.flavors import Flavor
from poppy.model.services import Service

#: The step that creates or changes the operator names.
DNS = "dns"
#: The step that removes the operator names.
REMOVE_DNS = "remove:dns"


class DNSTask(Task):
    """One action in DNS."""

    def __init__(self, name: str, step: str, dns: DNSDriver, after: Sequence[str] = ()) -> None:
        super().__init__(name, step, gate_of(dns), after)
        self._dns = dns


class EnsureDNS(DNSTask):
    """Point the operator names to providers, and remove those of dropped domains.

    This waits until every provider serves; until then names stay as they are.

    Args:
        after: the steps that must be done first.
        watch: looks up the records that the tenant must create now; None if nothing does.
    """

    def __init__(
        self,
        dns: DNSDriver,
        flavor: Flavor,
        after: Sequence[str],
        watch: RecordWatch | None = None,
    ) -> None:
        super().__init__("ensure names in DNS", DNS, dns, after)
        self._flavor = flavor
        self._watch = watch

    def execute(self, run: OperationRun) -> None:
        """Attempt the step. Then show the records that lead visitors to the operator names."""
        super().execute(run)
        # Not in the call: its slot is for the driver.
        if run.done(*self.after, DNS):
            self._show_traffic(run)

    def call(self, run: OperationRun) -> Result:
        """Return the operator names, without those of dropped domains."""
        names = wanted_names(run.service, self._dns)
        policies = steering.policies(run.service, self._flavor, names, self._dns.steering)
        if run.service.disabled:
            switch_off(policies, self._dns)
        else:
            self._dns.lead(policies)
        stale = operator_names(run.service, self._dns) - set(names.values()) - set(policies)
        if stale:
            self._dns.remove(sorted(stale))
        details = run.service.provider_details
        return Result({name: it.with_operator_names(names) for name, it in details.items()})

    def undo(self, run: OperationRun) -> bool:
        """Remove the operator names, except those that another service holds by now."""
        service = run.service
        lost = [domain for domain in service.known_domains if not run.holds(domain)]
        if names := expected_names(service, self._dns, lost):
            self._dns.remove(sorted(names))
        return True

    def _show_traffic(self, run: OperationRun) -> None:
        traffic = [
            dns_records.traffic_record(domain, name)
            for domain, name in wanted_names(run.service, self._dns).items()
            if not self._dns.owns(domain)
        ]
        details = run.service.provider_details
        run.apply(
            {
                name: detail.with_records(traffic, purposes={Purpose.TRAFFIC})
                for name, detail in details.items()
            }
        )
        if self._watch is not None:
            self._watch.add(run.service)


class DisableDNS(DNSTask):
    """Point no name of a service to its providers any more.

    The names point to the operator's host for disabled services, or are removed if there is none.
    """

    def __init__(self, dns: DNSDriver) -> None:
        super().__init__("switch names off in DNS", DNS, dns)

    def call(self, run: OperationRun) -> Result:
        """Switch the names off. The service keeps its operator names for later."""
        switch_off(operator_names(run.service, self._dns), self._dns)
        return Result()


class RemoveDNS(DNSTask):
    """Remove the operator names before the providers' names, so that none is left dangling.

    (If an operator name points to a free name at a provider, anyone who registers that name there
    takes it over.)
    """

    def __init__(self, dns: DNSDriver) -> None:
        super().__init__("remove names from DNS", REMOVE_DNS, dns)

    def call(self, run: OperationRun) -> Result:
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
        self._dns.remove(sorted(expected_names(service, self._dns, lost)))
        return Result()


def wanted_names(service: Service, dns: DNSDriver) -> dict[str, str]:
    """Return the operator names of a service's document, by domain."""
    return {
        domain.domain: dns.operator_name(domain.domain, domain.certificate)
        for domain in service.spec.domains
    }


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
