# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage audit``: compare deployed services with providers and DNS."""

import argparse
import datetime
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import tables
from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.distributed_task.audit import Auditor, is_audited
from poppy.manager.admin_search import every_service
from poppy.model.audits import AuditPass
from poppy.model.services import Service
from poppy.storage.audits import AuditStore

_COLUMNS = ("service_id", "project_id", "source", "message", "found_at")


def add(areas: Any) -> None:
    """Add the area to the parser of poppy-manage."""
    audit = areas.add_parser(
        "audit",
        help="compare deployed services with providers and DNS",
        description="Compare deployed services with what providers and DNS have. Without an "
        "option, show the last audit and the services that differ.",
    )
    what = audit.add_mutually_exclusive_group()
    what.add_argument(
        "--service", metavar="SERVICE", help="compare a service now: its ID or a domain"
    )
    what.add_argument(
        "--provider",
        action="append",
        default=[],
        help="let workers compare the services at this provider now; repeatable",
    )
    what.add_argument("--all", action="store_true", help="let workers compare all services now")
    audit.set_defaults(run=_run, action="run")
    tables.add_format(audit)


def _run(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    if arguments.service is not None:
        _compare(bootstrap, arguments)
    elif arguments.provider or arguments.all:
        unknown = set(arguments.provider) - set(bootstrap.providers)
        if unknown:
            raise errors.InvalidRequest(f"There is no provider '{min(unknown)}'")
        AuditStore(bootstrap.storage.documents).request(tuple(arguments.provider), now_utc())
        print("Workers begin within seconds; 'poppy-manage audit' shows the progress.")
    else:
        _show(bootstrap, arguments)


def _compare(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    service = bootstrap.manager.admin_search.one(arguments.service)
    if not is_audited(service):
        raise errors.InvalidRequest(
            f"Service {service.service_id} is {service.status}; only deployed and disabled "
            "services can be compared"
        )
    auditor = Auditor(bootstrap.storage, bootstrap.providers, bootstrap.dns)
    comparison = auditor.compare(service)
    is_repaired = auditor.settle(service, comparison)
    rows = [{"source": source, "message": text} for source, text in comparison.differences]
    rows += [
        {"source": source, "message": f"not compared: {reason}"}
        for source, reason in comparison.failed.items()
    ]
    tables.show(rows, ("source", "message"), arguments.format)
    if is_repaired:
        print(f"Service {service.service_id} is being deployed again.")
    if comparison.failed:
        raise errors.InvalidRequest(f"Not compared: {', '.join(sorted(comparison.failed))}")


def _show(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    state = AuditStore(bootstrap.storage.documents).get()
    rows = [row for it in every_service(bootstrap.storage) for row in _rows(it)]
    tables.show(rows, _COLUMNS, arguments.format)
    if arguments.format == "table":
        for label, found in (("all services", state.scheduled), ("latest", state.latest)):
            print(f"Last audit ({label}): {_describe(found)}")
        for name, at in sorted(state.requested.items()):
            print(f"Requested: {'all services' if name == '*' else name}, {_moment(at)}")


def _rows(service: Service) -> list[dict[str, Any]]:
    return [
        {
            "service_id": service.service_id,
            "project_id": service.project_id,
            **entry.to_dict(),
        }
        for entry in service.drift
    ]


def _describe(found: AuditPass | None) -> str:
    if found is None:
        return "none yet"
    if found.ended_at is None:
        return f"running since {_moment(found.began_at)}"
    where = f" at {', '.join(found.providers)}" if found.providers else ""
    return (
        f"{_moment(found.began_at)} to {_moment(found.ended_at)}: {found.services} services"
        f"{where}, {found.differing} differed, {found.repairing} deployed again, {found.failed} "
        "not compared"
    )


def _moment(at: datetime.datetime) -> str:
    return at.isoformat(timespec="seconds")
