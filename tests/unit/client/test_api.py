# SPDX-License-Identifier: Apache-2.0
"""The client follows the server's pages."""

from unittest import mock

import pytest

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
pytest.importorskip("osc_lib")

from poppyclient import api  # noqa: E402

NEXT = "http://cdn.example.org/v1.0/services?limit=1&marker=17%2F1"


@pytest.fixture
def client():
    """A client of a server with two pages."""
    made = api.Client(mock.Mock())
    pages = [
        {"services": [{"id": "1"}], "links": [{"rel": "next", "href": NEXT}]},
        {"services": [{"id": "2"}], "links": []},
    ]
    made._request = mock.Mock(side_effect=[mock.Mock(document=page) for page in pages])
    return made


def asked(client):
    return [call.kwargs["query"] for call in client._request.call_args_list]


def test_the_server_chooses_the_page_size(client):
    assert [it["id"] for it in client.services()] == ["1", "2"]
    assert asked(client) == [{}, {"marker": "17/1"}]


def test_a_limit_bounds_what_is_requested(client):
    assert [it["id"] for it in client.services(limit=2)] == ["1", "2"]
    assert asked(client) == [{"limit": "2"}, {"marker": "17/1", "limit": "1"}]


def test_the_next_page_has_the_same_filters(client):
    found = client.services(name=None, tag=["a", "b"], sort="name:desc")
    assert [it["id"] for it in found] == ["1", "2"]
    filters = {"tag": ["a", "b"], "sort": "name:desc"}
    assert asked(client) == [filters, {**filters, "marker": "17/1"}]


def test_an_older_server_lists_open_operations_without_links(client):
    client._request = mock.Mock(return_value=mock.Mock(document={"operations": [{"id": "1"}]}))
    assert client.open_operations(provider="cdn", state=None) == [{"id": "1"}]
    assert asked(client) == [{"provider": "cdn", "limit": "100"}]
