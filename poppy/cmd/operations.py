# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage operations`` and ``poppy-manage workers``."""

import argparse
import datetime
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import tables
from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.manager.operations import OPEN, Page
from poppy.model import ids
from poppy.model.membership import Worker
from poppy.model.operations import Operation, OperationKey, State

_STATES = {
    **{str(state): frozenset({state}) for state in sorted(OPEN)},
    "unfinished": OPEN - {State.FAILED},
}
_COLUMNS = ("operation_id", "project_id", "service_id", "kind", "state", "age", "tries", "reason")
_WORKER_COLUMNS = ("host", "pid", "datacenter", "version", "up", "seen", "slots", "busy", "hung")


def add(areas: Any) -> None:
    """Add the areas to the parser of poppy-manage."""
    actions = areas.add_parser(
        "operations", help="unfinished and failed operations"
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    found = actions.add_parser(
        "list", help="list unfinished and failed operations of all projects, oldest first"
    )
    found.add_argument("--state", choices=_STATES, help="only this state; default: all")
    found.add_argument(
        "--older-than", type=float, default=0, metavar="SECONDS", help="minimum age of the request"
    )
    found.add_argument("--provider", help="only those blocked on this provider")
    found.add_argument("--limit", type=int, default=100, help="default: 100")
    found.set_defaults(run=_list)
    tables.add_format(found)
    for name, run, text in (
        ("show", _show, "show an operation"),
        ("retry", _retry, "retry a failed operation from its first unfinished step"),
        ("cancel", _cancel, "cancel a queued or waiting operation; it fails"),
    ):
        action = actions.add_parser(name, help=text)
        for part in ("project", "service", "operation"):
            action.add_argument(part, metavar=part.upper(), help=f"ID of the {part}")
        action.set_defaults(run=run)
        if name == "show":
            tables.add_format(action)
    wake = actions.add_parser(
        "wake", help="retry waiting operations now, before their next attempt is due"
    )
    wake.add_argument("--provider", help="only those blocked on this provider")
    wake.set_defaults(run=_wake)

    actions = areas.add_parser("workers", help="worker processes").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    workers = actions.add_parser("list", help="list workers seen during the last day")
    workers.set_defaults(run=_workers)
    tables.add_format(workers)


def _list(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    states = _STATES[arguments.state] if arguments.state else OPEN
    if arguments.limit < 1 or arguments.older_than < 0:
        raise errors.InvalidRequest("--limit and --older-than must not be negative")
    operations = bootstrap.manager.operations
    found: list[Operation] = []
    page = Page((), None)
    while len(found) < arguments.limit:
        left = arguments.limit - len(found)
        where = (states, arguments.older_than, arguments.provider, left, page.following)
        page = operations.find(*where)
        found.extend(page.operations)
        if page.following is None:
            break
    tables.show([_document(it) for it in found], _COLUMNS, arguments.format)


def _show(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    found = bootstrap.manager.operations.get(_key(arguments))
    steps = [
        {"name": step.name, "state": str(step.state), "message": step.message}
        for step in found.steps
    ]
    tables.show_one({**_document(found), "steps": steps}, arguments.format)


def _retry(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    bootstrap.manager.operations.retry(_key(arguments))
    print(f"Operation {arguments.operation} will be retried.")


def _cancel(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    bootstrap.manager.operations.cancel(_key(arguments))
    print(f"Operation {arguments.operation} is cancelled.")


def _wake(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    woken = bootstrap.manager.operations.wake(arguments.provider)
    print(f"{woken} waiting operations are due now.")


def _workers(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    day_ago = now_utc() - datetime.timedelta(days=1)
    found = bootstrap.storage.membership.workers(day_ago)
    tables.show([_worker(it) for it in found], _WORKER_COLUMNS, arguments.format)


def _key(arguments: argparse.Namespace) -> OperationKey:
    for name in ("service", "operation"):
        if not ids.is_uuid(getattr(arguments, name)):
            raise errors.InvalidRequest(f"{name.upper()} must be a UUID")
    return OperationKey(arguments.project, arguments.service, arguments.operation)


def _document(operation: Operation) -> dict[str, Any]:
    return {
        "operation_id": operation.operation_id,
        "project_id": operation.project_id,
        "service_id": operation.service_id,
        "kind": str(operation.kind),
        "state": str(operation.state),
        "age": _since(operation.created_at),
        "tries": operation.attempt,
        "failures": operation.failures,
        "crashes": operation.crashes,
        "created_at": operation.created_at.isoformat(),
        "updated_at": operation.updated_at.isoformat(),
        "next_attempt_at": operation.next_attempt_at.isoformat()
        if operation.next_attempt_at
        else None,
        "request_id": operation.request_id,
        "traceparent": operation.trace,
        "purge": str(operation.purge) if operation.purge else None,
        "priority": operation.priority.name.lower(),
        "reason": operation.error,
    }


def _worker(worker: Worker) -> dict[str, Any]:
    return {
        **worker.to_dict(),
        "datacenter": worker.datacenter or None,
        "up": _since(worker.started_at),
        "seen": f"{_since(worker.seen_at)} ago",
    }


def _since(moment: datetime.datetime) -> str:
    """Return the time since a moment in its largest unit, such as ``5 min``."""
    seconds = max(0, int((now_utc() - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
