# SPDX-License-Identifier: Apache-2.0
"""Whether the parts that Poppy consists of answer."""

from collections.abc import Callable, Mapping

from oslo_context import context

from poppy.common import errors, tracing
from poppy.distributed_task.base import DistributedTask
from poppy.dns.base import DNSDriver
from poppy.manager.remembered import Remembered
from poppy.provider.base import Provider
from poppy.storage.base import Storage

#: Seconds that a part's answer is good for: anybody may ask, and some parts are others' APIs.
MEMORY = 5.0


class HealthManager:
    """Asks the drivers; each bounds its own answer to a few seconds.

    However many ask, a part is asked once at a time, and not again for :data:`MEMORY`. Only
    :meth:`ping` always asks: load balancers go by it, and what it asks is Poppy's own.
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
        self._remembered: dict[str, dict[str, Callable[[], bool]]] = {
            kind: {name: Remembered(ask, MEMORY) for name, ask in parts.items()}
            for kind, parts in self._checks.items()
        }

    def ping(self) -> bool:
        """Whether requests can be served: storage and the job board answer."""
        own = {kind: self._checks[kind] for kind in ("storage", "distributed_task")}
        return all(online for parts in _ask(own).values() for online in parts.values())

    def report(self) -> Mapping[str, Mapping[str, bool]]:
        """Whether each part answers: ``{kind: {name: bool}}``; asked side by side."""
        return _ask(self._remembered)

    def check(self, kind: str, name: str) -> bool:
        """Whether one part answers.

        Args:
            kind: ``storage``, ``dns``, ``distributed_task`` or ``provider``.

        Raises:
            NotFound: no part of that kind and name is loaded.
        """
        try:
            ask = self._remembered[kind][name]
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
    """Ask in a thread whose log lines are those of the request."""
    if request is not None:
        request.update_store()
    return ask()
