# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage services``: list, show, move and redeploy services."""

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import documents, tables
from poppy.common import errors
from poppy.manager.admin_search import every_service, status_of
from poppy.manager.transfers import Outcome
from poppy.model import ids
from poppy.model.operations import Priority
from poppy.model.services import Service, Status

_COLUMNS = ("service_id", "project_id", "status", "flavor", "providers", "name", "domains")
_PAGE = 100
_OPERATIONS = 10


def add(areas: Any) -> None:
    """Add the area to the parser of poppy-manage."""
    actions = areas.add_parser("services", help="tenants' services").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    _add_list(actions)
    shown = actions.add_parser("show", help="show a service")
    shown.add_argument("service", metavar="SERVICE", help="ID or domain of the service")
    shown.add_argument("--project", help="its project; default: search all projects for the ID")
    shown.set_defaults(run=_show)
    tables.add_format(shown)
    export = actions.add_parser(
        "export",
        help="print services for 'import' into another Poppy",
        description="Print all services for 'import' into another Poppy, one document each.",
    )
    export.add_argument("--project", help="only services of this project")
    export.add_argument(
        "--with-secrets",
        action="store_true",
        help="include the secrets of documents as text, which this installation's keys decrypt; "
        "keep the output private",
    )
    export.set_defaults(run=_export)
    documents.add_format(export)
    taken = actions.add_parser(
        "import",
        help="import services that another Poppy has exported",
        description="Import services that another Poppy has exported, with their IDs, and "
        "provision them. Stop the other Poppy first and do not start it again. Existing services "
        "are not changed. Safe to repeat.",
    )
    documents.add_file(taken)
    taken.add_argument("--dry-run", action="store_true", help="only show what would be imported")
    taken.set_defaults(run=_import)
    _add_redeploy(actions)


def _add_list(actions: Any) -> None:
    found = actions.add_parser("list", help="list services of all projects")
    found.add_argument("--project", help="only services of this project")
    found.add_argument("--status", choices=list(Status), metavar="STATUS", help=", ".join(Status))
    found.add_argument("--provider", help="only services at this provider")
    found.add_argument("--limit", type=int, default=100, help="default: 100")
    found.add_argument(
        "--marker", metavar="ID", help="list services after this one; with --project or --status"
    )
    found.set_defaults(run=_list)
    tables.add_format(found)


def _add_redeploy(actions: Any) -> None:
    redeploy = actions.add_parser(
        "redeploy",
        help="deploy services again to providers and DNS",
        description="Deploy services again to providers and DNS: after an edge lost its "
        "configuration, or a new edge was added. Services that are neither deployed nor failed "
        "are skipped.",
    )
    redeploy.add_argument("--provider", help="only services at this provider")
    redeploy.add_argument("--project", help="only services of this project")
    redeploy.add_argument("--service", help="only this service: its ID or a domain")
    redeploy.set_defaults(run=_redeploy)


def _list(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    if arguments.limit < 1:
        raise errors.InvalidRequest("--limit must be 1 or more")
    if arguments.marker is not None:
        if not (arguments.project or arguments.status):
            raise errors.InvalidRequest("--marker needs --project or --status")
        if not ids.is_uuid(arguments.marker):
            raise errors.InvalidRequest("--marker must be a UUID")
    wanted = (
        service for service in _found(bootstrap, arguments) if _is_at(service, arguments.provider)
    )
    found = list(itertools.islice(wanted, arguments.limit + 1))
    page = found[: arguments.limit]
    tables.show([_row(service) for service in page], _COLUMNS, arguments.format)
    if len(found) > len(page):
        more = "raise --limit"
        if arguments.project or arguments.status:
            more = f"continue with --marker {page[-1].service_id}"
        print(f"There are more: {more}.", file=sys.stderr)


def _found(bootstrap: Bootstrap, arguments: argparse.Namespace) -> Iterator[Service]:
    """Yield services by project or status in pages, or all services by a scan."""
    marker = arguments.marker and arguments.marker.lower()
    status = arguments.status and status_of(arguments.status)
    services = bootstrap.storage.services
    if arguments.project:
        while page := services.list(arguments.project, marker, _PAGE, status):
            yield from page
            marker = page[-1].service_id
    elif status:
        while entries := bootstrap.manager.admin_search.by_status(status, marker, _PAGE):
            for entry in entries:
                try:
                    yield services.get(entry.project_id, entry.service_id)
                except errors.NotFound:
                    continue  # deleted since the page was read
            marker = entries[-1].service_id
    else:
        yield from every_service(bootstrap.storage)


def _show(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    service = bootstrap.manager.admin_search.one(arguments.service, arguments.project)
    latest = bootstrap.storage.operations.history(
        service.project_id, service.service_id, None, _OPERATIONS
    )
    spec = service.spec.to_dict()
    document = {
        "service_id": service.service_id,
        "project_id": service.project_id,
        "status": str(service.status),
        "created_at": service.created_at.isoformat(),
        "updated_at": service.updated_at.isoformat(),
        "revision": service.revision,
        "log_url": service.log_url,
        **spec,
        "log_delivery": spec["log_delivery"]["enabled"],
        "providers": [
            {"provider": name, **detail.to_dict()}
            for name, detail in service.provider_details.items()
        ],
        "operations": [
            {
                "operation_id": it.operation_id,
                "kind": str(it.kind),
                "state": str(it.state),
                "created_at": it.created_at.isoformat(),
                "reason": it.error,
            }
            for it in latest
        ],
    }
    tables.show_one(document, arguments.format)


def _export(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    found = bootstrap.manager.transfers.give(arguments.project, secrets=arguments.with_secrets)
    count = documents.write(found, arguments.format)
    print(f"{count} services.", file=sys.stderr)


def _import(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    counts: Counter[Outcome] = Counter()
    dry_run = bootstrap.manager.transfers.dry_run() if arguments.dry_run else None
    for number, document in enumerate(documents.read(arguments.file), start=1):
        taken = bootstrap.manager.transfers.take(document, dry_run)
        counts[taken.outcome] += 1
        said = f"{taken.outcome}  {_name(document, number)}"
        print(f"{said}: {taken.reason}" if taken.reason else said, flush=True)
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)
    print(f"{told}{' (dry run)' if arguments.dry_run else ''}")
    if counts[Outcome.FAILED]:
        raise errors.InvalidRequest(f"{counts[Outcome.FAILED]} services could not be imported")


def _redeploy(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    redeploy = bootstrap.manager.services.redeploy
    if arguments.service is not None:
        service = bootstrap.manager.admin_search.one(arguments.service, arguments.project)
        if not _is_at(service, arguments.provider):
            raise errors.InvalidRequest(
                f"Service {service.service_id} is not at provider {arguments.provider}"
            )
        redeploy(service.project_id, service.service_id, None, Priority.TENANT)
        print(f"Service {service.service_id} is being redeployed.")
        return
    begun = left = 0
    for service in every_service(bootstrap.storage):
        belongs = arguments.project in (None, service.project_id)
        if not (belongs and _is_at(service, arguments.provider)):
            continue
        try:
            redeploy(service.project_id, service.service_id, None)
        except (errors.InvalidRequest, errors.NotFound) as exc:
            left += 1
            print(f"skipped: {exc}", file=sys.stderr)
        else:
            begun += 1
    print(f"{begun} services are being redeployed, {left} were skipped.")


def _is_at(service: Service, provider: str | None) -> bool:
    """Whether the service has a detail of this provider; true if none is given."""
    return provider is None or provider in service.provider_details


def _row(service: Service) -> dict[str, Any]:
    return {
        "service_id": service.service_id,
        "project_id": service.project_id,
        "status": str(service.status),
        "flavor": service.spec.flavor_id,
        "providers": ", ".join(service.provider_details),
        "name": service.spec.name,
        "domains": ", ".join(domain.domain for domain in service.spec.domains),
        "updated_at": service.updated_at.isoformat(),
        "errors": list(service.errors),
    }


def _name(document: Any, number: int) -> str:
    """Name a document that may be invalid: by its ids, or its position."""
    if isinstance(document, dict) and "service_id" in document:
        return f"{document.get('project_id')}  {document['service_id']}"
    return f"document {number}"
