# SPDX-License-Identifier: Apache-2.0
"""A worker's ZooKeeper job board."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kazoo import exceptions as kazoo_exceptions
from kazoo.protocol import paths
from oslo_log import log
from oslo_serialization import jsonutils
from oslo_utils import timeutils
from taskflow import exceptions as excp
from taskflow.jobs import base
from taskflow.jobs.backends import impl_zookeeper

from poppy.distributed_task.board.job import JobIterator
from poppy.distributed_task.board.schema import PRIORITIES
from poppy.distributed_task.board.zookeeper import LOCK, failure, jobs_of, unclaimed_of
from poppy.distributed_task.board.zookeeper_client import ERRORS, Client, Settings

LOG = log.getLogger(__name__)

#: Matches any version of a node.
_ANY = -1
#: The results of operations that failed only because another one in the transaction did.
_CONSEQUENCES = (kazoo_exceptions.RolledBackError, kazoo_exceptions.RuntimeInconsistency)


class ZooKeeperJobBoard(impl_zookeeper.ZookeeperJobBoard):  # type: ignore[misc]
    """TaskFlow's ZooKeeper board for a long-lived worker.

    It keeps one watch, on the board's node. When that has fired, the next caller lists the
    children. The board recovers by itself after a pause of any length, on a server that has lost
    all data, and after the removal of its path. All methods that use ZooKeeper raise
    ``taskflow.exceptions.JobFailure`` if it does not answer within ``settings.timeout`` seconds.

    A claim is a node that lives as long as the session. If the reply to a claim, or to the end of
    one, is lost, the board does not know whether it holds the job. It then releases the possible
    claim; otherwise the job would be stuck for the lifetime of this process.
    """

    def __init__(self, name: str, path: str, settings: Settings) -> None:
        """Create a board that is not yet connected; ``path`` is the path of its node."""
        self._client: Client = Client(settings)
        super().__init__(name, {"path": path}, client=self._client, emit_notifications=False)
        # Outside the board's node, and not shared with neighbouring boards.
        self._trash_path = f"{path}.trash"
        self._changed = threading.Event()
        self._changed.set()
        self._listing = threading.Lock()
        self._wake: Callable[[], None] = self._changed.set
        self._names: frozenset[str] = frozenset()
        self._origin: tuple[int | None, int] = (None, 0)
        self._unreadable: set[str] = set()
        self._doubtful: set[str] = set()
        # By job path: the owner of the claim, and the session on which the claim depends.
        self._claims: dict[str, tuple[str, int]] = {}
        self._client.add_listener(self._on_change)

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call ``wake``, in a thread of the board, when jobs may have come or gone."""
        self._wake = wake

    def _on_change(self, _event: object) -> None:
        self._changed.set()
        self._wake()

    @property
    def connected(self) -> bool:
        """Whether ZooKeeper can be used now."""
        return self._client.ready

    def connect(self, timeout: float | None = None) -> None:
        """Connect, create the board's node if necessary, and watch it. Returns soon.

        If it fails, connecting continues in the background. The call may be repeated.

        Raises:
            JobFailure: there is no connection yet, or the node can't be read and written.
        """
        self._client.ensure_ready()
        self._refresh(force=True)

    def close(self) -> None:
        """End the session, which releases all claims."""
        self._client.shut()
        super().close()

    def register_entity(self, entity: Any) -> None:
        """Do nothing: a claim names its owner, so no list of conductors is needed."""

    @property
    def job_count(self) -> int:
        """The number of jobs, claimed or not."""
        self._refresh()
        return len(jobs_of(self._names))

    def waiting(self, limit: int) -> int:
        """Count the jobs that wait for a worker, up to ``limit``."""
        self._refresh()
        return min(limit, len(unclaimed_of(self._names)))

    def iterjobs(self, only_unclaimed: bool = False, ensure_fresh: bool = False) -> JobIterator:
        """Iterate over the current jobs; over none while ZooKeeper is away."""
        jobs: list[Any] = []
        if self.connected:
            self._release_doubtful()
            self._refresh(force=ensure_fresh)
            names = self._names
            with self._job_cond:
                jobs = sorted(self._known_jobs.values(), key=_place)
            if only_unclaimed:
                jobs = [job for job in jobs if paths.basename(job.lock_path) not in names]
        return JobIterator(self, only_unclaimed, ensure_fresh, jobs=iter(jobs))

    def wait(self, timeout: float | None = None) -> JobIterator:
        """Wait for a job, claimed or not.

        Raises:
            NotFound: no job arrived in time.
        """
        watch = timeutils.StopWatch(duration=timeout)
        watch.start()
        while True:
            jobs = list(self.iterjobs())
            if jobs:
                return JobIterator(self, jobs=iter(jobs))
            if watch.expired():
                raise excp.NotFound(f"No job has arrived in {watch.elapsed():.1f} seconds")
            self._changed.wait(watch.leftover(return_none=True))

    def post(
        self,
        name: str,
        book: Any = None,
        details: Mapping[str, Any] | None = None,
        priority: Any = base.JobPriority.NORMAL,
    ) -> Any:
        """Add a job. If the reply is lost, the job may exist all the same."""
        self._client.ensure_ready()
        try:
            job = super().post(name, book=book, details=details, priority=priority)
        except excp.NotFound:
            self._make_paths()
            job = super().post(name, book=book, details=details, priority=priority)
        self._change_names(add=(paths.basename(job.path),))
        return job

    def claim(self, job: Any, who: str) -> None:
        """Claim a job; the first lock wins.

        Raises:
            UnclaimableJob: the job is claimed already.
            NotFound: the job is not on the board.
        """
        lock = paths.basename(job.lock_path)
        session = self._client.session
        claiming = self._client.transaction()
        claiming.check(job.path, version=_ANY)
        owner = jsonutils.dump_as_bytes({"owner": who})
        claiming.create(job.lock_path, owner, ephemeral=True)
        try:
            with self._wrap(job.uuid, job.path, "Claiming failure: %s"):
                _commit(claiming)
        except excp.UnclaimableJob:
            self._change_names(add=(lock,))
            raise
        except excp.NotFound:
            self._forget(job)
            raise
        except excp.JobFailure:
            self._doubtful.add(job.path)
            raise
        self._doubtful.discard(job.path)
        if session is not None:  # otherwise the claim was made after a reconnect
            self._claims[job.path] = (who, session)
        self._change_names(add=(lock,))

    def consume(self, job: Any, who: str) -> None:
        """Remove a finished job.

        A claim lives as long as its session. So within one session there is no need to read the
        claim's owner, as TaskFlow does. (Unless an operator has removed nodes by hand: then
        another's claim may be deleted, and a dispatcher posts the operation again later.)
        """
        is_ours = self._claims.get(job.path) == (who, self._client.session)
        with self._ending(job):
            if is_ours:
                removing = self._client.transaction()
                removing.delete(job.lock_path)
                removing.delete(job.path)
                with self._wrap(job.uuid, job.path, "Consumption failure: %s"):
                    _commit(removing)
            else:
                super().consume(job, who)
        self._forget(job)

    def abandon(self, job: Any, who: str) -> None:
        """Release a claim."""
        with self._ending(job):
            super().abandon(job, who)
        self._change_names(remove=(paths.basename(job.lock_path),))
        self._wake()

    def trash(self, job: Any, who: str) -> None:
        """Move a broken job to the board's path with ``.trash`` appended."""
        with self._ending(job):
            super().trash(job, who)
        self._forget(job)

    @contextlib.contextmanager
    def _ending(self, job: Any) -> Any:
        try:
            yield
        except (excp.JobFailure, excp.NotFound):
            self._doubtful.add(job.path)
            raise
        finally:
            self._claims.pop(job.path, None)

    def _release_doubtful(self) -> None:
        """Release claims that this session may hold unknowingly."""
        for path in list(self._doubtful):
            lock = path + LOCK
            try:
                found = self._client.exists(lock)
                if found and found.ephemeralOwner == self._client.session:
                    LOG.warning("Board %s releases %s, an uncertain claim", self.name, lock)
                    self._client.delete(lock, version=found.version)
            except kazoo_exceptions.NoNodeError:
                pass
            except ERRORS as exc:
                raise failure("release a job", exc) from exc
            self._doubtful.discard(path)

    def _forget(self, job: Any) -> None:
        self._change_names(remove=map(paths.basename, (job.path, job.lock_path)))
        self._remove_job(job.path)

    def _change_names(self, add: Any = (), remove: Any = ()) -> None:
        """Apply this board's own changes to the list; the next listing will confirm them."""
        with self._job_cond:
            self._names = (self._names - frozenset(remove)) | frozenset(add)

    def _refresh(self, force: bool = False) -> None:
        """List the board if it has changed since the last listing."""
        with self._listing:
            if not (force or self._changed.is_set()):
                return
            self._changed.clear()
            try:
                self._list(force)
            except ERRORS as exc:
                self._changed.set()
                raise failure("list the jobs", exc) from exc

    def _list(self, thorough: bool) -> None:
        origin = self._client.session
        try:
            names, stat = self._children()
        except kazoo_exceptions.NoNodeError:
            self._make_paths()
            names, stat = self._children()
        current = {paths.join(self.path, name) for name in jobs_of(names)}
        with self._job_cond:
            # A recreated board numbers its jobs from the start, so paths may be reused.
            renewed = self._origin != (origin, stat.czxid)
            for path in list(self._known_jobs):
                if renewed or path not in current:
                    del self._known_jobs[path]
            self._names = frozenset(names)
            unknown = sorted(current - self._known_jobs.keys())
        self._origin = (origin, stat.czxid)
        if renewed:
            self._claims.clear()
        self._unreadable = set() if renewed or thorough else self._unreadable & current
        self._read([path for path in unknown if path not in self._unreadable])

    def _children(self) -> Any:
        return self._client.get_children(self.path, watch=self._on_change, include_data=True)

    def _read(self, unknown: list[str]) -> None:
        requests = [(path, self._client.get_async(path)) for path in unknown]
        for path, request in requests:
            self._process_child(path, request)
            if path in self._known_jobs:
                continue
            if request.successful():
                self._unreadable.add(path)
            elif not isinstance(request.exception, kazoo_exceptions.NoNodeError):
                self._changed.set()

    def _make_paths(self) -> None:
        try:
            self._client.ensure_path(self.path)
            self._client.ensure_path(self.trash_path)
        except ERRORS as exc:
            raise failure(f"make {self.path}", exc) from exc


def _place(job: Any) -> tuple[int, int]:
    return PRIORITIES.index(job.priority), job.sequence


def _commit(transaction: Any) -> None:
    """Commit a transaction as a whole.

    Raises:
        UnclaimableJob: a node to create exists already.
        KazooException: another reason for the failure.
    """
    failed = [result for result in transaction.commit() if isinstance(result, Exception)]
    if failed:
        cause = min(failed, key=lambda it: isinstance(it, _CONSEQUENCES))
        if isinstance(cause, kazoo_exceptions.NodeExistsError):
            raise excp.UnclaimableJob("The job is already claimed") from cause
        raise cause
