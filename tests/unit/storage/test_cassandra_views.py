# SPDX-License-Identifier: Apache-2.0
"""Views of the Cassandra driver: statements, writes and checks that derive from a declaration."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cassandra")

from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.storage.cassandra import lookups, opened
from poppy.storage.cassandra.partition import ServicePartition
from poppy.storage.cassandra.views import View
from poppy.testing.builders import make_service

VIEW = View("table_a", ("a",), ("b", "c"), ("d", "written_at"), expires=True)
SERVICE = make_service()

services = st.builds(
    lambda status, urls: SERVICE.with_details(
        {"mock": ProviderDetail(status, access_urls=tuple(map(url, urls)))}
    ),
    st.sampled_from(list(ProviderStatus)),
    st.sets(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))),
)


def url(pair):
    provider, domain = pair
    return AccessURL(domain=domain, provider_url=provider)


def test_statements_name_every_column():
    assert VIEW.put == (
        "INSERT INTO table_a (a, b, c, d, written_at) VALUES (:a, :b, :c, :d, :written_at) "
        "USING TIMESTAMP :clock AND TTL :ttl"
    )
    assert VIEW.delete == (
        "DELETE FROM table_a USING TIMESTAMP :clock WHERE a = :a AND b = :b AND c = :c"
    )


def test_parameters_are_those_of_the_statement():
    row = {"a": 1, "b": 2, "c": 3, "d": 4, "ttl": 5}
    assert VIEW.add({**row, "other": 6}, 7) == (VIEW.put, {**row, "written_at": 7, "clock": 7})
    assert VIEW.add({**row, "written_at": 8}, 7)[1]["written_at"] == 8
    assert VIEW.drop(row, 7) == (VIEW.delete, {"a": 1, "b": 2, "c": 3, "clock": 7})


def test_row_needs_every_column():
    with pytest.raises(KeyError):
        opened.ROWS.add({"project_id": "p"}, 1)


@given(before=services, now=services, gone=st.booleans())
def test_writes_leave_the_rows_of_the_service_alone(before, now, gone):
    old = partition_of(before, clock=1)
    new = partition_of(now, clock=2, removed_at=2 if gone else None)
    for view in lookups.VIEWS:
        table = apply(view, {}, view.writes(old, None))
        assert len(table) == len(list(view.rows(before)))
        apply(view, table, view.writes(new, old))
        wanted = [] if gone else list(view.rows(now))
        assert len(table) == len(wanted)
        assert all(view.shows(row, now) for row in table.values())


def test_row_of_an_earlier_status_is_not_shown():
    failed = SERVICE.with_details({"mock": ProviderDetail(ProviderStatus.FAILED)})
    for view in (lookups.STATUSES, lookups.PROJECT_STATUSES):
        (row,) = view.rows(failed)
        assert view.shows(row, failed)
        assert not view.shows(row, SERVICE)


def partition_of(service, **overrides):
    found = ServicePartition(service.project_id, service.service_id, service=service)
    return replace(found, **overrides)


def apply(view, table, calls):
    for statement, parameters in calls:
        key = tuple(parameters[name] for name in view.partition + view.clustering)
        if statement == view.put:
            table[key] = parameters
        else:
            assert statement == view.delete
            table.pop(key, None)
    return table
