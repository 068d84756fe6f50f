# SPDX-License-Identifier: Apache-2.0
"""Contract: projects' limits, and shared documents."""

import pytest

from poppy.common import errors
from poppy.storage.base import Storage
from poppy.storage.queries import Document
from poppy.testing.storage.case import Connect, StorageCase, add, each, failures, race, remove


class LimitContract(StorageCase):
    """A project may have its own limit."""

    def test_project_has_no_limit_of_its_own_at_first(self, stocked: Storage) -> None:
        assert stocked.projects.get_limit("big") is None
        add(stocked, project_id="big")
        assert stocked.projects.get_limit("big") is None

    @pytest.mark.parametrize("first", ["limit", "service"])
    def test_own_limit_replaces_the_default(self, stocked: Storage, first: str) -> None:
        if first == "service":
            add(stocked, limit=5, project_id="big")
        stocked.projects.set_limit("big", 2)
        assert stocked.projects.get_limit("big") == 2
        for _ in range(2 if first == "limit" else 1):
            add(stocked, limit=1, project_id="big")
        with pytest.raises(errors.LimitReached) as caught:
            add(stocked, limit=5, project_id="big")
        assert caught.value.limit == 2
        assert stocked.projects.get_limit("another") is None

    def test_limit_below_the_number_of_services_removes_none(self, stocked: Storage) -> None:
        services = [add(stocked, project_id="big") for _ in range(2)]
        stocked.projects.set_limit("big", 0)
        assert list(stocked.services.list("big", None, 10)) == services
        with pytest.raises(errors.LimitReached) as caught:
            add(stocked, project_id="big")
        assert caught.value.limit == 0
        stocked.projects.set_limit("big", 3)
        add(stocked, project_id="big")

    def test_services_are_counted(self, stocked: Storage) -> None:
        assert stocked.projects.count("big") == 0
        stocked.projects.set_limit("big", 5)
        services = [add(stocked, project_id="big") for _ in range(2)]
        add(stocked, project_id="another")
        assert stocked.projects.count("big") == 2
        remove(stocked, services[0])
        assert stocked.projects.count("big") == 1

    def test_concurrent_limit_and_first_service_both_count(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        race(
            connect_again,
            [lambda s: s.projects.set_limit("new", 7), lambda s: add(s, project_id="new")],
        )
        assert stocked.projects.get_limit("new") == 7
        assert len(stocked.services.list("new", None, 10)) == 1


class DocumentContract(StorageCase):
    """A document can be replaced only by a writer that has read its latest version."""

    def test_unknown_document_is_empty(self, storage: Storage) -> None:
        assert storage.documents.get("queue") == Document(None, 0)

    def test_document_is_read_back_as_written(self, storage: Storage) -> None:
        content = [{"domain_name": "www.example.com", "n": [1, None, True, "é\ud800"]}]
        storage.documents.put("queue", content, 0)
        assert storage.documents.get("queue") == Document(content, 1)
        storage.documents.put("queue", [], 1)
        assert storage.documents.get("queue") == Document([], 2)
        assert storage.documents.get("other") == Document(None, 0)

    @pytest.mark.parametrize("version", [0, 1, 3])
    def test_document_of_another_version_is_not_replaced(
        self, storage: Storage, version: int
    ) -> None:
        storage.documents.put("queue", ["a"], 0)
        storage.documents.put("queue", ["b"], 1)
        with pytest.raises(errors.Changed):
            storage.documents.put("queue", ["c"], version)
        assert storage.documents.get("queue") == Document(["b"], 2)

    @pytest.mark.parametrize("version", [0, 1])
    def test_only_one_of_several_concurrent_writes_replaces_the_document(
        self, storage: Storage, connect_again: Connect, version: int
    ) -> None:
        if version:
            storage.documents.put("queue", "first", 0)
        outcomes = race(
            connect_again, each(lambda s, n: s.documents.put("queue", n, version), range(6))
        )
        assert [type(error) for error in failures(outcomes)] == [errors.Changed] * 5
        assert storage.documents.get("queue") == Document(outcomes.index(None), version + 1)
