# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage edge pools``: the pools of the operator's own edge."""

import argparse
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import tables
from poppy.common.clock import now_utc
from poppy.manager.pools import PoolsManager
from poppy.model.schema_parts import CONTINENTS
from poppy.storage.pools import PoolStore

_COLUMNS = (
    *("name", "weight", "countries", "continents", "min_nodes", "drained"),
    *("nodes", "ready", "in_dns"),
)


def add(parts: Any) -> None:
    """Add the part to the parser of ``poppy-manage edge``."""
    actions = parts.add_parser(
        "pools", help="add, list, change, drain and remove pools"
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="list pools and their nodes in DNS")
    listed.set_defaults(run=_list)
    tables.add_format(listed)
    for action, text in (
        ("add", "define a pool"),
        ("set", "change settings of a pool; the others stay"),
    ):
        changed = actions.add_parser(action, help=text)
        changed.add_argument("name", metavar="NAME")
        _add_settings(changed)
        changed.set_defaults(run=_define)
    for action, text in (
        ("drain", "take a pool out of DNS as long as another one has clients"),
        ("undrain", "put a drained pool back into DNS"),
        ("remove", "remove a pool without nodes"),
    ):
        changed = actions.add_parser(action, help=text)
        changed.add_argument("name", metavar="NAME")
        changed.set_defaults(run=_remove if action == "remove" else _drain)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weight",
        type=int,
        metavar="N",
        help="share of the clients among the pools of their location (default: 1). With 0, the "
        "pool gets clients only if there is no other",
    )
    parser.add_argument(
        "--country",
        action="append",
        dest="countries",
        metavar="CODE",
        help="clients that it serves, such as DE; may be repeated",
    )
    parser.add_argument(
        "--continent",
        action="append",
        dest="continents",
        metavar="CODE",
        help=f"likewise: {', '.join(CONTINENTS)}",
    )
    parser.add_argument(
        "--everywhere", action="store_true", help="serve clients in all other locations (default)"
    )
    parser.add_argument(
        "--min-nodes",
        type=int,
        metavar="N",
        help="with fewer healthy nodes, the pool is out of DNS (default: 1)",
    )


def _define(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    given = vars(arguments)
    names = ("weight", "countries", "continents", "min_nodes")
    settings = {name: given[name] for name in names if given[name] is not None}
    if settings.get("countries") or settings.get("continents") or arguments.everywhere:
        # One call gives all locations.
        settings = {"countries": (), "continents": (), **settings}
    manager = PoolsManager(bootstrap.storage)
    (manager.add if arguments.action == "add" else manager.change)(arguments.name, settings)
    print(f"Pool {arguments.name} is {'defined' if arguments.action == 'add' else 'changed'}.")


def _drain(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    drained = arguments.action == "drain"
    PoolsManager(bootstrap.storage).change(arguments.name, {"drained": drained})
    print(f"Pool {arguments.name} is {'drained' if drained else 'back in service'}.")


def _remove(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    PoolsManager(bootstrap.storage).remove(arguments.name)
    print(f"Pool {arguments.name} is removed.")


def _list(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    nodes, now = bootstrap.storage.edge.nodes(), now_utc()
    published = PoolStore(bootstrap.storage.documents).published()
    rows = []
    for pool in PoolsManager(bootstrap.storage).list():
        members = [node for node in nodes if node.pool == pool.name]
        document = {
            "name": pool.name,
            **pool.to_dict(),
            "nodes": len(members),
            "ready": sum(node.state(now) == "ready" for node in members),
            "in_dns": len(published.nodes.get(pool.name, ())) if published else None,
        }
        if arguments.format == "table":
            for places in ("countries", "continents"):
                document[places] = ",".join(document[places]) or None
        rows.append(document)
    tables.show(rows, _COLUMNS, arguments.format)
