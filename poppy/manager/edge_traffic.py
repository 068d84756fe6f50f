# SPDX-License-Identifier: Apache-2.0
"""The figures that nodes of the operator's own edge report."""

import datetime
from collections.abc import Mapping
from typing import Any

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.model import edge_schemas, validation
from poppy.model.edge import Node
from poppy.model.edge_traffic import HOUR, TOTAL, Batch, Counts, Domain, hour_of
from poppy.storage.base import Storage


class EdgeTraffic:
    """Store the figures of nodes.

    Args:
        storage: the storage driver.
        keep: how long to keep them.
    """

    def __init__(self, storage: Storage, keep: datetime.timedelta) -> None:
        self._store = storage.edge
        self._keep = keep

    def report(self, node: Node, document: object) -> bool:
        """Store the sums that a node reports.

        Returns:
            Whether they are stored; otherwise their hour is too old to be kept, or has not begun,
            and the node must forget them.

        Raises:
            SchemaInvalid: the document is invalid; names the field.
        """
        body = validation.validate(edge_schemas.TRAFFIC, document)
        hour = _hour(body["hour"])
        now = now_utc()
        if not now - self._keep <= hour <= now + HOUR:
            return False
        counts: dict[Domain, Counts] = {}
        for entry in body["domains"]:
            domain = Domain(entry["service_id"], entry["domain"])
            counts[domain] = _counts(entry)
            for country, part in entry.get("countries", {}).items():
                counts[domain._replace(country=country)] = _counts(part)
        counts[TOTAL] = _counts(body["total"])
        batch = Batch(body["source"], hour, int(body["sequence"]), counts)
        self._store.add_traffic(node.name, batch, self._keep)
        return True


def _hour(text: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or datetime.datetime.fromisoformat(text).tzinfo is None:
        raise errors.SchemaInvalid([f"[hour]-{text!r} is no time in ISO 8601 with a time zone"])
    if hour_of(moment) != moment:
        raise errors.SchemaInvalid([f"[hour]-{text!r} is not the start of an hour"])
    return moment


def _counts(entry: Mapping[str, Any]) -> Counts:
    return Counts(*(int(it) for it in (*entry["responses"], entry["hits"], entry["sent"])))
