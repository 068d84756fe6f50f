# SPDX-License-Identifier: Apache-2.0
"""Contract: what the nodes of the operator's own edge count."""

import datetime

from poppy.common.clock import now_utc
from poppy.model.edge_traffic import HOUR, MAX_COUNT, TOTAL, Batch, Counts, Domain
from poppy.storage.base import Storage
from poppy.testing.storage.case import Connect, StorageCase, each, race

_KEEP = datetime.timedelta(days=30)
_WWW = Domain("service-1", "www.example.com")
_DE, _FR = (_WWW._replace(country=code) for code in ("DE", "FR"))
#: The start of a day, so that hours before it are in another partition of Cassandra.
_DAY = now_utc().replace(hour=0, minute=0, second=0, microsecond=0)


def make_batch(
    source: str = "source-1", sequence: int = 1, hours: int = 0, **counts: int
) -> Batch:
    """Build the sums of one domain in an hour of a day or before it."""
    found = Counts(**counts)
    return Batch(source, _DAY + hours * HOUR, sequence, {_WWW: found, TOTAL: found})


class TrafficContract(StorageCase):
    """Sums by domain, hour and node."""

    def test_repeated_and_late_sums_do_not_count_twice(self, storage: Storage) -> None:
        first = make_batch(sequence=3, responses_2xx=5, hits=2, sent=MAX_COUNT)
        later = make_batch(sequence=7, responses_2xx=6, responses_4xx=1, hits=3, sent=MAX_COUNT)
        for batch in (first, first, later, first, later):
            storage.edge.add_traffic("node-1", batch, _KEEP)

        expected = [(_DAY, Counts(0, 6, 0, 1, 0, 3, MAX_COUNT))]
        assert storage.edge.traffic(_WWW, _DAY, _DAY + HOUR) == expected
        assert expected[0][1].requests == 7
        assert expected[0][1].misses == 4

    def test_sums_of_nodes_and_of_several_sources_add_up(self, storage: Storage) -> None:
        storage.edge.add_traffic("node-1", make_batch("a", 1, responses_2xx=1), _KEEP)
        storage.edge.add_traffic("node-1", make_batch("b", 2, responses_2xx=2), _KEEP)
        storage.edge.add_traffic("node-2", make_batch("c", 1, responses_2xx=4, sent=9), _KEEP)
        other = Domain("service-2", "www.example.com")
        storage.edge.add_traffic(
            "node-2", make_batch("c", 2)._replace(counts={other: Counts(8)}), _KEEP
        )

        (found,) = storage.edge.traffic(_WWW, _DAY, _DAY + HOUR)
        assert found == (_DAY, Counts(responses_2xx=7, sent=9))
        assert storage.edge.traffic(other, _DAY, _DAY + HOUR) == [(_DAY, Counts(8))]
        assert storage.edge.traffic_of_nodes(_DAY) == {
            "node-1": Counts(responses_2xx=3),
            "node-2": Counts(responses_2xx=4, sent=9),
        }

    def test_countries_are_parts_of_the_sums_and_the_rest_is_unknown(
        self, storage: Storage
    ) -> None:
        first = make_batch("a", 2, responses_2xx=9, hits=4, sent=90)
        parts = {_DE: Counts(responses_2xx=5, hits=4, sent=50), _FR: Counts(responses_2xx=3)}
        newer = first._replace(counts={**first.counts, **parts})
        older = first._replace(sequence=1, counts={_WWW: Counts(), _DE: Counts(), _FR: Counts()})
        for batch in (older, newer, newer, older):
            storage.edge.add_traffic("node-1", batch, _KEEP)
        # A node of the previous release has no countries.
        storage.edge.add_traffic("node-2", make_batch("b", 1, -1, responses_4xx=1), _KEEP)
        other = make_batch("c", 1, 1)._replace(counts={_WWW: Counts(7), _DE: Counts(7)})
        storage.edge.add_traffic("node-2", other, _KEEP)

        found = storage.edge.traffic_by_country(_WWW, _DAY - HOUR, _DAY + 2 * HOUR)
        assert found == {
            "DE": [(_DAY, parts[_DE]), (_DAY + HOUR, Counts(7))],
            "FR": [(_DAY, parts[_FR])],
            "ZZ": [(_DAY - HOUR, Counts(responses_4xx=1)), (_DAY, Counts(0, 1, sent=40))],
        }
        assert list(found) == sorted(found)
        totals = [(_DAY - HOUR, Counts(responses_4xx=1)), (_DAY, first.counts[_WWW])]
        assert storage.edge.traffic(_WWW, _DAY - HOUR, _DAY + HOUR) == totals
        assert storage.edge.traffic_by_country(_DE, _DAY + HOUR, _DAY + 2 * HOUR) == {
            "DE": [(_DAY + HOUR, Counts(7))]
        }
        assert storage.edge.traffic_by_country(_WWW, _DAY + 5 * HOUR, _DAY + 9 * HOUR) == {}

    def test_hours_are_in_order_and_without_the_end(self, storage: Storage) -> None:
        for hours in (1, -2, 0, -1):
            batch = make_batch(f"source-{hours}", hours=hours, hits=hours + 3)
            storage.edge.add_traffic("node-1", batch, _KEEP)

        found = storage.edge.traffic(_WWW, _DAY - HOUR, _DAY + HOUR)
        assert found == [(_DAY - HOUR, Counts(hits=2)), (_DAY, Counts(hits=3))]
        assert storage.edge.traffic_of_nodes(_DAY - HOUR) == {"node-1": Counts(hits=9)}
        assert storage.edge.traffic(_WWW, _DAY + 5 * HOUR, _DAY + 9 * HOUR) == []

    def test_concurrent_repetitions_store_the_newest(
        self, storage: Storage, connect_again: Connect
    ) -> None:
        add = each(
            lambda s, n: s.edge.add_traffic("node-1", make_batch(sequence=n, hits=n), _KEEP),
            (4, 1, 6, 6, 2),
        )
        assert race(connect_again, add) == [None] * 5
        assert storage.edge.traffic(_WWW, _DAY, _DAY + HOUR) == [(_DAY, Counts(hits=6))]
