# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage regions``: list, drop and add the regions that keep the data."""

import argparse
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import tables

_COLUMNS = ("region", "replicas")


def add(areas: Any) -> None:
    """Add the area to the parser of poppy-manage."""
    actions = areas.add_parser("regions", help="regions that keep the data").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    listed = actions.add_parser("list", help="list regions and their replicas")
    listed.set_defaults(run=_list)
    tables.add_format(listed)
    drop = actions.add_parser(
        "drop",
        help="remove a lost region",
        description="Remove a lost region, so that it no longer counts in quorums. Run this in a "
        "remaining region, after repairing its nodes and after making sure that nothing runs in "
        "the lost region.",
    )
    drop.add_argument("region", metavar="NAME")
    drop.add_argument("--force", action="store_true", help="drop it even if its nodes answer")
    drop.set_defaults(run=_drop)
    more = actions.add_parser("add", help="add a region that keeps the data")
    more.add_argument("region", metavar="NAME")
    more.add_argument("replicas", metavar="REPLICAS", type=int, help="number of replicas")
    more.set_defaults(run=_add)


def _list(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    found = bootstrap.storage.replicas()
    rows = [{"region": name, "replicas": number} for name, number in sorted(found.items())]
    tables.show(rows, _COLUMNS, arguments.format)


def _drop(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    bootstrap.storage.drop_region(arguments.region, force=arguments.force)
    print(f"Region {arguments.region} no longer keeps data; the others continue without it.")


def _add(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    bootstrap.storage.add_region(arguments.region, arguments.replicas)
    print(
        f"Region {arguments.region} keeps {arguments.replicas} replicas of new data. Before you "
        "start Poppy there, copy the existing data: run 'nodetool rebuild' on each node."
    )
