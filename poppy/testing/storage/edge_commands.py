# SPDX-License-Identifier: Apache-2.0
"""Contract: commands in the log of the operator's own edge."""

from poppy.model.edge import Change
from poppy.model.purges import Purge
from poppy.storage.base import Storage
from poppy.testing.storage.case import StorageCase


class CommandsContract(StorageCase):
    """Purges and prewarms are read as they were written."""

    def test_purges_without_a_reference_are_different(self, storage: Storage) -> None:
        storage.edge.purge("service-1", Purge("/a", True))
        storage.edge.purge("service-1", Purge("/a", True))
        assert len(storage.edge.changes(0, 10).changes) == 2

    def test_purges_of_every_scope_are_kept(self, storage: Storage) -> None:
        lists = [Purge("/a", True, ("/b",)), Purge(None, False, tags=("a", "b"))]
        purges = [*lists, Purge(None, True, prefix="/a/"), Purge(None, True, host="a.example")]
        for purge in purges:
            storage.edge.purge("service-1", purge)
        assert [change.purge for change in storage.edge.changes(0, 10).changes] == purges

    def test_a_repeated_prewarm_is_one(self, storage: Storage) -> None:
        stamp = storage.edge.prewarm("service-1", ["/a", "/b?q"], "op-0")
        assert storage.edge.prewarm("service-1", ["/a", "/b?q"], "op-0") == stamp
        (change,) = storage.edge.changes(0, 10).changes
        assert change == Change(1, "service-1", prewarm=("/a", "/b?q"))
