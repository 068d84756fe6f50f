# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage regions``: which regions keep the data, when one is lost and when one comes."""

import argparse
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import tables

_COLUMNS = ("region", "replicas")


def add(areas: Any) -> None:
    """Add the area to the parser of poppy-manage."""
    actions = areas.add_parser("regions", help="which regions keep the data").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    listed = actions.add_parser("list", help="the regions, and how many copies each keeps")
    listed.set_defaults(run=_list)
    tables.add_format(listed)
    drop = actions.add_parser(
        "drop",
        help="have the other regions go on without a lost one",
        description="Have the other regions go on without a lost one: it does not count in "
        "majorities any more. Run it in a region that is left, after its nodes have been "
        "repaired, and once it is sure that nothing of the lost one is running.",
    )
    drop.add_argument("region", metavar="NAME")
    drop.add_argument("--force", action="store_true", help="though nodes of it answer")
    drop.set_defaults(run=_drop)
    more = actions.add_parser("add", help="have one more region keep the data")
    more.add_argument("region", metavar="NAME")
    more.add_argument("replicas", metavar="REPLICAS", type=int, help="how many copies")
    more.set_defaults(run=_add)


def _list(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    found = bootstrap.storage.replicas()
    rows = [{"region": name, "replicas": number} for name, number in sorted(found.items())]
    tables.show(rows, _COLUMNS, arguments.format)


def _drop(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    bootstrap.storage.drop_region(arguments.region, force=arguments.force)
    print(f"Region {arguments.region} keeps no data any more; the others go on without it.")


def _add(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    bootstrap.storage.add_region(arguments.region, arguments.replicas)
    print(
        f"Region {arguments.region} keeps {arguments.replicas} copies of what is written from "
        "now on. Before Poppy starts there, copy the rest: 'nodetool rebuild' on each node."
    )
