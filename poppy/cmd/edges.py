# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage edge``: the nodes of the operator's own edge."""

import argparse
import sys
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import pools, tables
from poppy.common.clock import now_utc
from poppy.manager.edge import EdgeManager
from poppy.manager.edge_keys import EdgeKeys
from poppy.manager.edge_programs import expiring
from poppy.manager.pools import PoolsManager
from poppy.model.edge import DEFAULT_POOL, Node
from poppy.storage.pools import PoolStore

_COLUMNS = ("name", "pool", "state", "in_dns", "behind", "seen_at", "version", "addresses")


def add(areas: Any) -> None:
    """Add the area to the parser of poppy-manage."""
    parts = areas.add_parser("edge", help="the nodes of your own edge").add_subparsers(
        dest="action", required=True, metavar="PART"
    )
    status = parts.add_parser("status", help="show how far the nodes are, and what they refuse")
    status.set_defaults(run=_status)
    tables.add_format(status)
    pools.add(parts)
    _add_keys(parts)
    actions = parts.add_parser(
        "nodes", help="add, list, place, drain and remove nodes"
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    more = actions.add_parser(
        "add",
        help="add a node and print its token for one join",
        description="Add a node and print its token for one join, which is valid for an hour. "
        "Repeat this if the node has not joined in time.",
    )
    more.add_argument("name", metavar="NAME")
    more.add_argument("--pool", default=DEFAULT_POOL, help=f"default: {DEFAULT_POOL}")
    _add_addresses(more)
    more.set_defaults(run=_add)
    placed = actions.add_parser("set", help="move a node to a pool, or replace its addresses")
    placed.add_argument("name", metavar="NAME")
    placed.add_argument("--pool", help="unset: stays")
    _add_addresses(placed)
    placed.add_argument("--no-address", action="store_true", help="remove all addresses")
    placed.set_defaults(run=_place)
    listed = actions.add_parser("list", help="list nodes")
    listed.set_defaults(run=_list)
    tables.add_format(listed)
    for action, run, text in (
        ("drain", _drain, "take a node out of service; it keeps following changes"),
        ("undrain", _undrain, "put a drained node back in service"),
        ("remove", _remove, "remove a node; it can no longer fetch changes"),
    ):
        changed = actions.add_parser(action, help=text)
        changed.add_argument("name", metavar="NAME")
        changed.set_defaults(run=run)


def _add_addresses(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address",
        action="append",
        metavar="IP",
        help="where clients reach the node, for edge_dns; may be repeated",
    )


def _add_keys(parts: Any) -> None:
    actions = parts.add_parser("keys", help="rotate the encryption_keys").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    listed = actions.add_parser("list", help="show how many secrets each key encrypts")
    listed.set_defaults(run=_list_keys)
    tables.add_format(listed)
    rotated = actions.add_parser(
        "rotate",
        help="have secrets of old keys encrypted with the first one",
        description="Have everything encrypted with the first key that an older one encrypts. "
        "Workers do this by an update of each service; keys list shows what is left.",
    )
    rotated.set_defaults(run=_rotate)


def _list_keys(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    keys = EdgeKeys(bootstrap.storage, bootstrap.providers)
    configured = keys.key_ids
    rows = [
        {
            "key_id": key_id,
            "state": ("encrypts" if key_id == configured[0] else "decrypts")
            if key_id in configured
            else "missing",
            "secrets": count,
        }
        for key_id, count in keys.usage().items()
    ]
    tables.show(rows, ("key_id", "state", "secrets"), arguments.format)


def _rotate(bootstrap: Bootstrap, _arguments: argparse.Namespace) -> None:
    rotation = EdgeKeys(bootstrap.storage, bootstrap.providers).rotate()
    print(f"{len(rotation.updated)} services are being updated.")
    for sealed in rotation.left:
        what = f"service {sealed.service_id} of project {sealed.project_id}"
        if not sealed.project_id:
            what = f"{sealed.service_id}: workers encrypt it by themselves"
        print(f"Not updated: {what}", file=sys.stderr)


def _add(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    token = EdgeManager(bootstrap.storage).add(
        arguments.name, arguments.pool, arguments.address or ()
    )
    # Standard output has the token alone, for scripts.
    print(f"Node {arguments.name} can join within an hour with this token:", file=sys.stderr)
    print(token)


def _place(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    addresses = () if arguments.no_address else arguments.address
    PoolsManager(bootstrap.storage).place(arguments.name, arguments.pool, addresses)
    print(f"Node {arguments.name} is changed.")


def _list(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    log = bootstrap.storage.edge
    head = log.head()
    published = PoolStore(bootstrap.storage.documents).published()
    in_dns = {name for names in published.nodes.values() for name in names} if published else ()
    rows = [
        {**_document(node, head), "in_dns": node.name in in_dns if published else None}
        for node in log.nodes()
    ]
    if arguments.format == "table":
        rows = [{**row, "addresses": " ".join(row["addresses"]) or None} for row in rows]
    tables.show(rows, _COLUMNS, arguments.format)


def _status(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    log = bootstrap.storage.edge
    head, nodes, now = log.head(), log.nodes(), now_utc()
    live = [node for node in nodes if node.is_live(now)]
    failures = [
        {"node": node.name, "service_id": service_id, **failure._asdict()}
        for node in live
        if node.report
        for service_id, failure in sorted(node.report.failures.items())
    ]
    document = {
        "head": head,
        "nodes": len(nodes),
        "live": len(live),
        "ready": sum(node.state(now) == "ready" for node in nodes),
        "behind": max((head - node.revision for node in live), default=None),
        "failures": failures,
        "expiring": [
            {**it._asdict(), "expires_at": it.expires_at.isoformat()} for it in expiring(log, now)
        ],
    }
    tables.show_one(document, arguments.format)


def _drain(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    bootstrap.storage.edge.set_drained(arguments.name, True)
    print(f"Node {arguments.name} is drained. This takes effect with its next report.")


def _undrain(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    bootstrap.storage.edge.set_drained(arguments.name, False)
    print(f"Node {arguments.name} is back in service. This takes effect with its next report.")


def _remove(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    bootstrap.storage.edge.remove_node(arguments.name)
    print(f"Node {arguments.name} is removed. Stop it: it serves what it has until then.")


def _document(node: Node, head: int) -> dict[str, Any]:
    report = node.report
    return {
        "name": node.name,
        "pool": node.pool,
        "state": node.state(now_utc()),
        "drained": node.drained,
        "addresses": list(node.addresses),
        "behind": head - report.revision if report else None,
        "seen_at": node.seen_at.isoformat() if node.seen_at else None,
        "version": report.version if report else None,
        "started": report.to_dict()["started"] if report else {},
    }
