# SPDX-License-Identifier: Apache-2.0
"""The tasks of flows. Each does one thing at one driver and can be run twice."""

import abc
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace

import taskflow.task

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.common.driver import Driver
from poppy.distributed_task.operation_result import Result
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.record_check import RecordCheck
from poppy.distributed_task.run import OperationRun
from poppy.model.dns_records import Purpose, RecordStatus
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.provider.base import Capability, Deployment, Provider

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

    Operations of the same shape share a task, so a task must not keep state of an operation.

    Args:
        name: for display, unique in a flow.
        step: the name under which the outcome is stored.
        driver: the driver to call, as ``<kind>:<name>``.
        after: the steps that must be done first.
    """

    # A driver call reports no progress.
    TASK_EVENTS = ()

    def __init__(self, name: str, step: str, driver: str, after: Sequence[str] = ()) -> None:
        super().__init__(name)
        self.step = step
        self.driver = driver
        self.after = after

    def execute(self, run: OperationRun) -> None:
        """Attempt the step. TaskFlow passes the run."""
        run.attempt(self)

    @abc.abstractmethod
    def call(self, run: OperationRun) -> Result:
        """Call the driver. Two calls must have the same effect as one.

        Raises:
            DriverError: the driver could not do it.
            Unavailable: storage does not answer.
        """

    def undo(self, run: OperationRun) -> bool:
        """Remove what a call may have created that took effect too late.

        Returns:
            Whether the call can create anything.

        Raises:
            DriverError: the driver could not do it.
        """
        return False


class ProviderTask(Task):
    """One action at one provider.

    Args:
        verb: what the task does, for display.
        name: the provider's.
    """

    def __init__(
        self,
        verb: str,
        name: str,
        step: str,
        providers: Mapping[str, Provider],
        after: Sequence[str] = (),
    ) -> None:
        super().__init__(f"{verb} {name}", step, provider_gate(name), after)
        self._name = name
        self._providers = providers

    @property
    def provider(self) -> Provider:
        """The provider's driver.

        Raises:
            PermanentError: it is not loaded.
        """
        if self._name not in self._providers:
            raise errors.PermanentError("this provider is not loaded; see [drivers] providers")
        return self._providers[self._name]

    def known(self, run: OperationRun) -> ProviderDetail | None:
        """Return what is known about the service at the provider."""
        return run.service.provider_details.get(self._name)


class ProveOwnership(Task):
    """Wait until the project has proven its ownership of each new domain."""

    def __init__(self, ownership: Ownership) -> None:
        super().__init__("check the ownership of domains", OWNERSHIP, OWNERSHIP)
        self._ownership = ownership

    def call(self, run: OperationRun) -> Result:
        """Return the records found; park while any are missing."""
        try:
            records = self._ownership.verify(run.service)
        except errors.Unavailable as exc:
            raise errors.RetryableError(str(exc)) from exc
        details = {
            name: detail.with_records(records, purposes={Purpose.OWNERSHIP})
            for name, detail in run.service.provider_details.items()
        }
        try:
            self._ownership.check_complete(records, run.operation.since)
        except errors.InProgressError as exc:
            return Result(details, exc)
        return Result(details)


class EnsureProvider(ProviderTask):
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
        super().__init__("ensure at", name, ensure_step(name), providers, after)
        self._check = check

    def call(self, run: OperationRun) -> Result:
        """Return the provider's object and names; park while the provider is in progress."""
        name, known = self._name, self.known(run)
        deployment = self.provider.ensure(run.service, known)
        deployment, poll_after = self._with_lookups(deployment, run.operation.since)
        details = {name: _deployed(name, run.service, known, deployment)}
        if not deployment.in_progress:
            return Result(details)
        message = deployment.message or f"{name} is still in progress"
        return Result(details, errors.InProgressError(message, poll_after))

    def undo(self, run: OperationRun) -> bool:
        """Remove the service from the provider."""
        self.provider.remove(run.service, self.known(run))
        return True

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


class RemoveProvider(ProviderTask):
    """Remove the service from one provider, once its names are out of DNS.

    Args:
        after: the step that must be done first.
    """

    def __init__(self, name: str, providers: Mapping[str, Provider], after: str) -> None:
        super().__init__("remove from", name, remove_step(name), providers, [after])

    def call(self, run: OperationRun) -> Result:
        """Remove the service and the provider's details."""
        self.provider.remove(run.service, self.known(run))
        return Result({self._name: None})


class PurgeProvider(ProviderTask):
    """Evict or invalidate content at one provider."""

    def __init__(self, name: str, providers: Mapping[str, Provider]) -> None:
        super().__init__("purge at", name, ensure_step(name), providers)

    def call(self, run: OperationRun) -> Result:
        """Purge, which changes no details.

        All paths are begun before any is waited for.
        """
        purge, reference = run.operation.purge, run.operation.reference
        if purge is None:
            raise errors.PermanentError("it does not say what to purge")
        waiting: errors.InProgressError | None = None
        parts = purge.single(reference)
        if len(parts) > 1 and Capability.PURGE_MANY in self.provider.supports:
            parts = (purge._replace(reference=reference),)
        for single in parts[run.purged[self.step] :]:
            try:
                self.provider.purge(run.service, self.known(run), single)
            except errors.InProgressError as exc:
                waiting = exc
            # A retry within this run continues with the next one that is not done.
            if waiting is None:
                run.purged[self.step] += 1
        return Result({}, waiting)


class PrewarmProvider(ProviderTask):
    """Let one provider fetch paths of the service."""

    def __init__(self, name: str, providers: Mapping[str, Provider]) -> None:
        super().__init__("prewarm", name, ensure_step(name), providers)

    def call(self, run: OperationRun) -> Result:
        """Prewarm, which changes no details; the step says what could not be fetched."""
        paths, reference = run.operation.prewarm, run.operation.reference
        message = self.provider.prewarm(run.service, self.known(run), paths, reference)
        return Result(message=message or None)


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
        certificate_messages=dict(deployment.certificate_messages),
        avoided=known.avoided if known else False,
        dns_records=known.dns_records if known else (),
        log_url=deployment.log_url,
    )
    records = [replace(record, provider=name) for record in deployment.records]
    return detail.with_records(records, purposes=set(Purpose), provider=name)
