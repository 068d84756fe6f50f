# SPDX-License-Identifier: Apache-2.0
"""The edge's manager: what requests of nodes cost the store."""

import datetime

import pytest

from poppy.common import errors
from poppy.manager import caching, edge
from poppy.manager.edge import EdgeManager
from tests.unit.storage.conftest import path, storage  # noqa: F401  fixtures


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(caching, "_now", made)
    return made


@pytest.fixture
def manager(storage, clock):  # noqa: F811
    return EdgeManager(storage, clock)


@pytest.fixture
def token(manager):
    return manager.join({"name": "node-1", "token": manager.add("node-1")})


@pytest.fixture
def reads(storage, monkeypatch):  # noqa: F811
    """The reads of the store, by name."""
    seen = []
    for name in ("head", "node_of", "changes"):
        method = getattr(storage.edge, name)
        monkeypatch.setattr(
            storage.edge,
            name,
            lambda *arguments, name=name, method=method: seen.append(name) or method(*arguments),
        )
    return seen


def test_many_polls_of_many_nodes_cost_one_read_of_the_head(manager, clock, token, reads):
    other = manager.join({"name": "node-2", "token": manager.add("node-2")})
    for _ in range(50):
        for each in (token, other):
            assert manager.authenticate(each)
            assert manager.head() == 0
    assert sorted(reads) == ["head", "node_of", "node_of"]


def test_head_is_at_most_half_a_second_old(manager, storage, clock, reads):  # noqa: F811
    assert manager.head() == 0
    storage.edge.publish("service-1", "{}")
    clock.seconds += 0.49
    assert manager.head() == 0
    clock.seconds += 0.02
    assert manager.head() == 1
    assert reads == ["head", "head"]


def test_removed_node_is_refused_within_seconds(manager, storage, clock, token):  # noqa: F811
    assert manager.authenticate(token).name == "node-1"
    storage.edge.remove_node("node-1")
    clock.seconds += 5.1
    assert manager.authenticate(token) is None


def test_unknown_tokens_are_not_cached(manager, reads):
    for number in range(3):
        assert manager.authenticate(f"unknown-{number}") is None
    assert reads == ["node_of"] * 3
    assert len(manager._nodes) == 0


def test_store_has_no_token(manager, storage, token):  # noqa: F811
    join_token = manager.add("node-2")
    text = repr(storage.edge.nodes())
    assert token not in text
    assert join_token not in text


def test_join_token_expires(manager, monkeypatch):
    join_token = manager.add("node-1")
    now = edge.now_utc() + edge.JOIN_WITHIN + datetime.timedelta(seconds=1)
    monkeypatch.setattr(edge, "now_utc", lambda: now)
    assert manager.join({"name": "node-1", "token": join_token}) is None


@pytest.mark.parametrize("name", ["", "Node", "-a", "a-", "a b", "a\n", "x" * 65, "a/b"])
def test_invalid_names_are_refused(manager, name):
    with pytest.raises(errors.InvalidRequest, match="name of a node"):
        manager.add(name)
    with pytest.raises(errors.InvalidRequest, match="name of a pool"):
        manager.add("node-1", name)
