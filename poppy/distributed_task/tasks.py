# SPDX-License-Identifier: Apache-2.0
"""The tasks of flows. Each does one thing at one driver and can be run twice."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace

import taskflow.task

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.common.driver import Driver
from poppy.distributed_task.operation_result import Details
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.record_check import RecordCheck
from poppy.distributed_task.run import OperationRun
from poppy.model.dns_records import Purpose, RecordStatus
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.provider.base import Deployment, Provider

#: The step that proves the project's ownership of its domains.
OWNERSHIP = "ownership"


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


class Task(taskflow.task.Task):  # type: ignore[misc]
    """One action at one driver.

    ``execute`` does at most one :meth:`~poppy.distributed_task.run.OperationRun.attempt`. TaskFlow
    passes the arguments that it names: ``run``, and ``flavor``, the service's flavor. Operations
    of the same shape share a task, so a task must not keep state of an operation.

    Attributes:
        name: for display, unique in a flow.
    """

    # A driver call reports no progress.
    TASK_EVENTS = ()


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
                    details[name] = detail.with_records(records, purposes={Purpose.OWNERSHIP})

            run.remember(remember)
            self._ownership.check_complete(records, run.operation.since)

        run.attempt(OWNERSHIP, OWNERSHIP, work)


class EnsureProvider(Task):
    """Deploy the service at one provider.

    Args:
        after: the steps that must be done first.
        check: looks up records that the provider waits for; None if nothing looks them up.
    """

    def __init__(
        self,
        name: str,
        providers: Mapping[str, Provider],
        after: Sequence[str] = (),
        check: RecordCheck | None = None,
    ) -> None:
        super().__init__(f"ensure at {name}")
        self._name = name
        self._providers = providers
        self._after = after
        self._check = check

    def execute(self, run: OperationRun) -> None:
        """Remember the provider's object and names; park while the provider is in progress."""
        if not run.done(*self._after):
            return
        name = self._name

        def work() -> None:
            known = run.service.provider_details.get(name)
            deployment = loaded(name, self._providers).ensure(run.service, known)
            deployment, poll_after = self._with_lookups(deployment, run.operation.since)

            def remember(details: Details) -> None:
                details[name] = _deployed(name, run.service, details.get(name), deployment)

            run.remember(remember)
            if deployment.in_progress:
                message = deployment.message or f"{name} is still in progress"
                raise errors.InProgressError(message, poll_after)

        def undo() -> None:
            known = run.service.provider_details.get(name)
            loaded(name, self._providers).remove(run.service, known)

        run.attempt(ensure_step(name), provider_gate(name), work, undo)

    def _with_lookups(
        self, deployment: Deployment, since: datetime.datetime
    ) -> tuple[Deployment, float]:
        """Look up the records that the provider waits for.

        Returns:
            The deployment with the results, and the seconds until the next call.
        """
        records = deployment.records
        if not deployment.in_progress:
            # The provider has accepted the records.
            found = tuple(record.checked(RecordStatus.OK, now_utc()) for record in records)
            return replace(deployment, records=found), 0.0
        if not records or self._check is None:
            return deployment, deployment.poll_after
        found = self._check.check(records)
        poll_after = self._check.pause(since)
        if all(record.status is RecordStatus.OK for record in found):
            # The provider may find them at any moment.
            poll_after = min(poll_after, deployment.poll_after)
        return replace(deployment, records=found), poll_after


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
        left = list(purge.single(run.operation.reference))

        def work() -> None:
            known = run.service.provider_details.get(self._name)
            while left:
                loaded(self._name, self._providers).purge(run.service, known, left[0])
                # A retry within this run continues with the next one.
                del left[0]

        run.attempt(ensure_step(self._name), provider_gate(self._name), work)


def loaded(name: str, providers: Mapping[str, Provider]) -> Provider:
    """Return a provider named by an operation.

    Raises:
        PermanentError: it is not loaded.
    """
    if name not in providers:
        raise errors.PermanentError("this provider is not loaded; see [drivers] providers")
    return providers[name]


def _deployed(
    name: str, service: Service, known: ProviderDetail | None, deployment: Deployment
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
    detail = ProviderDetail(
        status=known.status if known else ProviderStatus.DEPLOY_IN_PROGRESS,
        provider_service_id=deployment.provider_service_id,
        access_urls=moved + current + dropped,
        certificates=dict(deployment.certificates),
        avoided=known.avoided if known else False,
        dns_records=known.dns_records if known else (),
        log_url=deployment.log_url,
    )
    records = [replace(record, provider=name) for record in deployment.records]
    return detail.with_records(records, purposes=set(Purpose), provider=name)
