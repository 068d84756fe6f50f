# SPDX-License-Identifier: Apache-2.0
"""Contract: lists of a project's services by name, flavor and tags, in any order."""

from dataclasses import replace
from typing import Any

import pytest

from poppy.common import errors
from poppy.model.services import Service, Status
from poppy.storage import selection
from poppy.storage.base import Storage
from poppy.storage.selection import Order, Selection
from poppy.testing.builders import PROJECT_ID, after, make_flavor, make_spec
from poppy.testing.storage.case import StorageCase, add, settle, submit


def _add(storage: Storage, name: str = "a website", *tags: str, **overrides: Any) -> Service:
    spec = make_spec(flavor_id=overrides.pop("flavor_id", "standard"), name=name, tags=tags)
    return add(storage, spec=spec, **overrides)


def _pages(storage: Storage, limit: int, **wanted: Any) -> list[list[str]]:
    """Return the names of the services on each page of a list."""
    pages: list[list[str]] = []
    marker = None
    while True:
        page = selection.page(storage.services, PROJECT_ID, marker, limit, Selection(**wanted))
        pages.append([service.spec.name for service in page.services])
        marker = page.marker
        if marker is None:
            return pages


class SelectionContract(StorageCase):
    """Tenants find their services by name, flavor and tags; no request reads all of a store."""

    def test_tags_are_kept(self, stocked: Storage) -> None:
        service = settle(stocked, _add(stocked, "one", "prod", "Île 1", "\U0001f600"))
        assert service.spec.tags == ("prod", "Île 1", "\U0001f600")
        submit(stocked, replace(service, spec=replace(service.spec, tags=None)))
        assert stocked.services.get(PROJECT_ID, service.service_id).spec.tags is None

    def test_services_are_selected_by_name_flavor_and_all_tags(self, stocked: Storage) -> None:
        stocked.flavors.create(make_flavor("other"))
        _add(stocked, "one", "a", "b")
        _add(stocked, "two", "b", flavor_id="other")
        _add(stocked, "One", "B", provider_details={})
        _add(stocked, "theirs", "b", project_id="another")
        for wanted, found in (
            ({"name": "one"}, ["one"]),
            ({"flavor_id": "other"}, ["two"]),
            ({"tags": frozenset({"b"})}, ["one", "two"]),
            ({"tags": frozenset({"a", "b"})}, ["one"]),
            ({"tags": frozenset({"b"}), "flavor_id": "other", "name": "two"}, ["two"]),
            ({"status": Status.DEPLOYED, "flavor_id": "standard"}, ["One"]),
            ({"status": Status.FAILED, "tags": frozenset({"b"})}, []),
            ({}, ["one", "two", "One"]),
        ):
            assert _pages(stocked, 10, **wanted) == [found]

    def test_a_selection_has_pages(self, stocked: Storage) -> None:
        for number in range(5):
            _add(stocked, str(number), "a" if number % 2 == 0 else "b")
        wanted = frozenset({"a"})
        assert _pages(stocked, 2, tags=wanted) == [["0", "2"], ["4"]]
        assert _pages(stocked, 1, tags=wanted) == [["0"], ["2"], ["4"]]

    def test_a_request_reads_a_bounded_number_of_services(
        self, stocked: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(selection, "MAX_READ", 4)
        monkeypatch.setattr(selection, "_BATCH", 2)
        for number in range(9):
            _add(stocked, str(number))
        assert _pages(stocked, 2, name="6") == [[], ["6"], []]
        assert _pages(stocked, 2, name="no-such") == [[], [], []]
        for wanted in ({"order": (Order("name"),)}, {"order": (Order("name"),), "name": "6"}):
            with pytest.raises(errors.InvalidRequest, match="up to 4 services"):
                _pages(stocked, 2, **wanted)

    def test_services_are_sorted(self, stocked: Storage) -> None:
        _add(stocked, "b", created_at=after(1), updated_at=after(1))
        _add(stocked, "a", created_at=after(2), updated_at=after(3), provider_details={})
        _add(stocked, "c", created_at=after(2), updated_at=after(2))
        _add(stocked, "a", created_at=after(3), updated_at=after(2))
        for order, found in (
            ((Order("name"),), ["a", "a", "b", "c"]),
            ((Order("created_at", descending=True), Order("name")), ["a", "a", "c", "b"]),
            ((Order("updated_at", descending=True), Order("name")), ["a", "a", "c", "b"]),
            ((Order("status"), Order("name", descending=True)), ["c", "b", "a", "a"]),
        ):
            assert _pages(stocked, 10, order=order) == [found]
        order = (Order("name", descending=True),)
        assert _pages(stocked, 3, order=order) == [["c", "b", "a"], ["a"]]
        assert _pages(stocked, 2, order=order, name="a") == [["a", "a"], []]

    def test_the_marker_of_a_sorted_list_must_be_in_it(self, stocked: Storage) -> None:
        marker = _add(stocked, "a").service_id
        _add(stocked, "b")
        wanted = Selection(order=(Order("name"),))
        page = selection.page(stocked.services, PROJECT_ID, marker, 5, wanted)
        assert [service.spec.name for service in page.services] == ["b"]
        with pytest.raises(errors.InvalidRequest, match=marker):
            selection.page(stocked.services, PROJECT_ID, marker, 5, wanted._replace(name="b"))
