# SPDX-License-Identifier: Apache-2.0
"""How a node joins, and its file."""

import json
import stat

import pytest

from poppy.common import errors
from poppy.edge.agent import node
from poppy.edge.agent.client import Unauthorized
from poppy.edge.state import State
from tests.real.edge_api import EdgeAPI
from tests.real.pebble import write_certificate


@pytest.fixture
def api():
    with EdgeAPI() as api:
        yield api


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate of 127.0.0.1 and its key."""
    files = (tmp_path / "cert.pem", tmp_path / "key.pem")
    write_certificate(*files)
    return tuple(map(str, files))


def join(directory, api, name="n1", token=None, **options):
    return node.join(
        directory, api.url, name, token or api.store.add_node(name), insecure=True, **options
    )


def test_a_node_that_joins_has_a_file_of_its_own(api, tmp_path):
    directory = tmp_path / "edge"
    assert node.load(directory) is None
    assert join(directory, api)
    found = node.load(directory)
    assert found == node.Node("n1", api.url, next(iter(api.store.tokens)))
    assert stat.S_IMODE((directory / "node.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_joining_again_leaves_the_node_as_it_is(api, tmp_path):
    join(tmp_path, api)
    before = node.load(tmp_path)
    token = api.store.add_node("n1")
    with node.locked(tmp_path):  # The agent runs.
        assert not join(tmp_path, api, token=token)
    assert node.load(tmp_path) == before
    assert token in api.store.joins, "it can be used for another node"


def test_a_removed_node_joins_again_and_starts_from_a_snapshot(api, tmp_path):
    join(tmp_path, api)
    before = node.load(tmp_path)
    State(tmp_path / "state").revision = 7
    api.store.tokens.clear()
    assert join(tmp_path, api)
    assert node.load(tmp_path) != before
    assert State(tmp_path / "state").revision == 0


def test_a_running_agent_is_not_changed(api, tmp_path):
    token = api.store.add_node("n1")
    with node.locked(tmp_path), pytest.raises(errors.ConfigError, match="another agent"):
        join(tmp_path, api, token=token)
    assert token in api.store.joins


def test_the_api_may_move(api, tmp_path):
    join(tmp_path, api)
    before = node.load(tmp_path)
    with EdgeAPI(api.store) as moved:
        assert not join(tmp_path, moved)
        assert node.load(tmp_path) == before._replace(url=moved.url)


@pytest.mark.parametrize("token", ["unknown", None])
def test_an_unknown_token_or_name_is_refused(api, tmp_path, token):
    with pytest.raises(Unauthorized):
        join(tmp_path, api, name="n2", token=token or api.store.add_node("n1"))
    assert node.load(tmp_path) is None


def test_another_name_is_refused(api, tmp_path):
    join(tmp_path, api)
    with pytest.raises(errors.ConfigError, match="this node is n1"):
        join(tmp_path, api, name="n2")
    assert node.load(tmp_path).name == "n1"


@pytest.mark.parametrize(
    ("url", "name", "token", "message"),
    [
        ("http://127.0.0.1", "n1", "t", "use https"),
        ("https://api.example.com", "../n1", "t", "no name"),
        ("https://api.example.com", "", "t", "no name"),
        ("https://api.example.com", "n1", "", "token is empty"),
        ("https://api.example.com", "n1", "a b", "characters"),
    ],
)
def test_invalid_arguments_are_refused(tmp_path, url, name, token, message):
    with pytest.raises(errors.ConfigError, match=message):
        node.join(tmp_path, url, name, token)


def test_the_certificate_of_the_api_is_verified(tmp_path, certificate):
    with EdgeAPI(certificate=certificate) as api:
        token = api.store.add_node("n1")
        with pytest.raises(errors.Unavailable, match="certificate is not valid: self.signed"):
            join(tmp_path, api, token=token)
        assert join(tmp_path, api, token=token, ca_file=certificate[0])


def test_a_missing_file_of_ca_certificates_is_named(api, tmp_path):
    with pytest.raises(errors.PoppyError, match="nosuch.pem"):
        node.join(tmp_path, "https://127.0.0.1:1", "n1", "t", ca_file="/nosuch.pem")


@pytest.mark.parametrize(
    "change",
    [{"name": ""}, {"token": "a\n"}, {"url": "ftp://a"}, {"url": 1}, {"token": None}],
)
def test_a_damaged_file_is_named(tmp_path, change):
    document = {"name": "n1", "url": "https://a", "token": "t", **change}
    (tmp_path / "node.json").write_text(json.dumps(document))
    with pytest.raises(errors.ConfigError, match="node.json is damaged"):
        node.load(tmp_path)


def test_text_that_is_no_json_is_named(tmp_path):
    (tmp_path / "node.json").write_text("{")
    with pytest.raises(errors.ConfigError, match="node.json is damaged"):
        node.load(tmp_path)
