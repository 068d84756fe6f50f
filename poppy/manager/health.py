# SPDX-License-Identifier: Apache-2.0
"""Health checks of Poppy's drivers."""

from collections.abc import Callable, Mapping

from oslo_context import context

from poppy.common import errors, tracing
from poppy.distributed_task.base import DistributedTask
from poppy.dns.base import DNSDriver
from poppy.manager.caching import cached
from poppy.provider.base import Provider
from poppy.storage.base import Storage

#: How long a check's result is cached, in seconds: anyone may ask, and some call external APIs.
MEMORY = 5.0


class HealthManager:
    """Check the drivers; each driver bounds its check to a few seconds.

    Concurrent requests share one check, and its result is cached for :data:`MEMORY` seconds. Only
    :meth:`ping` is never cached: load balancers use it, and it calls only Poppy's own backends.
    """

    def __init__(
        self,
        storage: Storage,
        distributed_task: DistributedTask,
        providers: Mapping[str, Provider],
        dns: DNSDriver,
    ) -> None:
        self._checks: dict[str, dict[str, Callable[[], bool]]] = {
            "storage": {storage.name: storage.is_alive},
            "dns": {dns.name: dns.health},
            "distributed_task": {distributed_task.name: distributed_task.is_alive},
            "provider": {name: provider.health for name, provider in providers.items()},
        }
        self._cached: dict[str, dict[str, Callable[[], bool]]] = {
            kind: {name: cached(ask, MEMORY) for name, ask in parts.items()}
            for kind, parts in self._checks.items()
        }

    def ping(self) -> bool:
        """Whether Poppy can serve requests: storage and the job board answer."""
        own = {kind: self._checks[kind] for kind in ("storage", "distributed_task")}
        return all(online for parts in _ask(own).values() for online in parts.values())

    def report(self) -> Mapping[str, Mapping[str, bool]]:
        """Check all drivers concurrently; return ``{kind: {name: bool}}``."""
        return _ask(self._cached)

    def check(self, kind: str, name: str) -> bool:
        """Whether one driver answers.

        Args:
            kind: ``storage``, ``dns``, ``distributed_task`` or ``provider``.
            name: the driver's name.

        Raises:
            NotFound: no driver of this kind and name is loaded.
        """
        try:
            ask = self._cached[kind][name]
        except KeyError:
            raise errors.NotFound(f"There is no {kind} '{name}'") from None
        return ask()


def _ask(
    checks: Mapping[str, Mapping[str, Callable[[], bool]]],
) -> dict[str, dict[str, bool]]:
    request = context.get_current()
    size = sum(len(parts) for parts in checks.values())
    with tracing.Threads(max_workers=size) as pool:
        answers = {
            kind: {name: pool.submit(_logged, request, ask) for name, ask in parts.items()}
            for kind, parts in checks.items()
        }
        return {
            kind: {name: answer.result() for name, answer in parts.items()}
            for kind, parts in answers.items()
        }


def _logged(request: context.RequestContext | None, ask: Callable[[], bool]) -> bool:
    """Run a check in a thread with the request's log context."""
    if request is not None:
        request.update_store()
    return ask()
