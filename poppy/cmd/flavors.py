# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage flavors``: load, list and export flavors."""

import argparse
from collections.abc import Iterable
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import documents, tables
from poppy.common import errors
from poppy.model.flavors import Flavor, FlavorProvider

_COLUMNS = ("id", "providers")


def add(areas: Any) -> None:
    """Add the area to the parser of poppy-manage."""
    actions = areas.add_parser("flavors", help="choices of providers for tenants").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    load = actions.add_parser(
        "load",
        help="create the flavors of a file",
        description="Create the flavors of a file that do not exist yet. If an existing flavor "
        "differs from the file, nothing is created. Safe to repeat.",
    )
    documents.add_file(load)
    load.add_argument("--dry-run", action="store_true", help="only show what would be created")
    load.set_defaults(run=_load)
    listed = actions.add_parser("list", help="list flavors and their providers")
    listed.set_defaults(run=_list)
    tables.add_format(listed)
    export = actions.add_parser("export", help="print all flavors, for 'load'")
    export.set_defaults(run=_export)
    documents.add_format(export)


def _load(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    manager = bootstrap.manager.flavors
    known = {flavor.flavor_id: flavor for flavor in manager.list()}
    wanted: dict[str, Flavor] = {}
    problems = []
    for number, document in enumerate(_flavors(documents.read(arguments.file)), start=1):
        try:
            flavor = manager.check(document)
        except errors.InvalidRequest as exc:
            problems.append(f"{_name(document, number)}: {exc}")
            continue
        if flavor != wanted.setdefault(flavor.flavor_id, flavor):
            problems.append(f"flavor '{flavor.flavor_id}' has two definitions in the file")
        elif flavor != known.get(flavor.flavor_id, flavor):
            problems.append(
                f"flavor '{flavor.flavor_id}' already exists with other providers or links; "
                "flavors can't be changed: choose another id"
            )
    if problems:
        raise errors.InvalidRequest("; ".join(problems) + ". No flavor was created.")
    new = [flavor for flavor in wanted.values() if flavor.flavor_id not in known]
    for flavor in new:
        if not arguments.dry_run:
            manager.create(flavor.to_dict())
        print(f"{'would create' if arguments.dry_run else 'created'} {flavor.flavor_id}")
    print(f"{len(new)} new, {len(wanted) - len(new)} unchanged.")


def _list(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    found = bootstrap.manager.flavors.list()
    if arguments.format == "json":
        tables.show([flavor.to_dict() for flavor in found], (), "json")
        return
    rows = [
        {"id": flavor.flavor_id, "providers": ", ".join(map(_provider, flavor.providers))}
        for flavor in found
    ]
    tables.show(rows, _COLUMNS, arguments.format)


def _export(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    found = bootstrap.manager.flavors.list()
    documents.write((flavor.to_dict() for flavor in found), arguments.format)


def _flavors(found: Iterable[Any]) -> Iterable[Any]:
    """Yield the flavors of a file; a document is one flavor or a list of flavors."""
    for document in found:
        yield from document if isinstance(document, list) else [document]


def _name(document: Any, number: int) -> str:
    given = document.get("id") if isinstance(document, dict) else None
    return f"flavor '{given}'" if isinstance(given, str) else f"flavor {number} of the file"


def _provider(entry: FlavorProvider) -> str:
    """Format as ``fastly``, ``fastly (70)`` or ``edge (100; CH, EU)``."""
    places = entry.geography
    said = [
        *([str(entry.weight)] if entry.weight is not None else []),
        *([", ".join((*places.countries, *places.continents))] if places else []),
    ]
    return f"{entry.provider} ({'; '.join(said)})" if said else entry.provider
