# SPDX-License-Identifier: Apache-2.0
"""TaskFlow's engines, which run the flows of operations.

Durability is the operation's: finished steps are stored with it, and if a worker dies, another
runs the flow again and skips them. So an engine keeps its state in memory only. Its "SUCCESS"
means only that a task has returned; the task may have parked the operation.

Making an engine takes longer than running it. So each thread keeps a few engines, by the shape of
their flows, and resets them to run again.
"""

import concurrent.futures
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import taskflow.engines
import taskflow.exceptions
import taskflow.listeners.logging
from oslo_log import log
from oslo_utils import uuidutils
from taskflow.patterns import linear_flow, unordered_flow
from taskflow.persistence import models
from taskflow.persistence.backends import impl_memory

from poppy.distributed_task.flows import Shape

LOG = log.getLogger(__name__)

T = TypeVar("T")

#: How many engines a thread keeps, of about 30 kB each; beyond it, the least recently used goes.
KEPT = 16


class Engines:
    """Runs flows. Threads may share it; each has its own engines.

    Args:
        build: returns the flow of a shape.
        pool: runs the tasks of unordered flows. Other tasks run in the thread that calls
            :meth:`run`.
    """

    def __init__(
        self, build: Callable[[Shape], linear_flow.Flow], pool: concurrent.futures.Executor
    ) -> None:
        self._build = build
        self._pool = pool
        self._local = threading.local()

    def run(self, shape: Shape, inputs: Mapping[str, Any]) -> None:
        """Run all tasks of a flow.

        If a task raises an exception, later tasks do not run; parallel ones do.

        Args:
            inputs: the arguments of the tasks, by name.

        Raises:
            Exception: raised by a task, unchanged. If parallel tasks raise, the first in the
                flow's order.
        """
        kept: dict[Shape, Any] = self._local.__dict__.setdefault("kept", {})
        # A failed engine is not put back, because its storage would keep the failure and the run.
        engine = kept.pop(shape, None)
        if engine is not None:
            engine.reset()
        else:
            flow = self._build(shape)
            if not len(flow):
                return
            engine = self._make(flow)
        engine.storage.inject(inputs, transient=True)
        try:
            self._run(engine)
        except taskflow.exceptions.WrappedFailure:
            # If a task fails while TaskFlow reverts the flow, it counts as a failure to revert.
            storage = engine.storage
            failures = storage.get_revert_failures() | storage.get_execute_failures()
            names = engine.options["executor"].parallel
            failure = next(failures[name] for name in names if name in failures)
        else:
            engine.storage.inject(dict.fromkeys(inputs), transient=True)
            kept[shape] = engine
            if len(kept) > KEPT:
                del kept[next(iter(kept))]
            return
        failure.reraise()

    def _run(self, engine: Any) -> None:
        if not LOG.isEnabledFor(log.DEBUG):
            engine.run()
            return
        with taskflow.listeners.logging.LoggingListener(engine, log=LOG):
            engine.run()

    def _make(self, flow: linear_flow.Flow) -> Any:
        stages = (part for part in flow if isinstance(part, unordered_flow.Flow))
        parallel = [task.name for stage in stages for task in stage]
        return taskflow.engines.load(
            flow,
            flow_detail=models.FlowDetail(flow.name, uuidutils.generate_uuid()),
            backend=_Memory(),
            engine="parallel",
            executor=_Executor(self._pool, parallel),
            gather_statistics=False,
        )


class _Executor(concurrent.futures.Executor):
    """Runs parallel tasks in a pool, and the others at once in the engine's thread.

    So a task without parallel tasks does not wait for a free thread.

    Args:
        parallel: the names of the tasks to run in the pool, in the flow's order.
    """

    def __init__(self, pool: concurrent.futures.Executor, parallel: Sequence[str]) -> None:
        self._pool = pool
        self.parallel = parallel

    def submit(
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[T]:
        """Call ``fn``. TaskFlow passes the task as its first argument."""
        if args[0].name in self.parallel:
            return self._pool.submit(fn, *args, **kwargs)
        ended: concurrent.futures.Future[T] = concurrent.futures.Future()
        ended.set_result(fn(*args, **kwargs))
        return ended


class _Memory(impl_memory.MemoryBackend):  # type: ignore[misc]
    """Stores nothing: an engine's details are in its own memory already."""

    def __init__(self) -> None:
        super().__init__()
        self._connection = _Connection(self)

    def get_connection(self) -> "_Connection":
        return self._connection


class _Connection(impl_memory.Connection):  # type: ignore[misc]
    def update_flow_details(
        self, flow_detail: models.FlowDetail, ignore_missing: bool = False
    ) -> models.FlowDetail:
        return flow_detail

    def update_atom_details(
        self, atom_detail: models.AtomDetail, ignore_missing: bool = False
    ) -> models.AtomDetail:
        return atom_detail
