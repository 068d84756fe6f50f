# SPDX-License-Identifier: Apache-2.0
"""The client of the nodes' API."""

import logging
from typing import Any

import pytest

from poppy.common import errors
from poppy.edge.agent import client as module
from poppy.edge.agent.changes import Change, Purge
from poppy.edge.agent.client import Client, Conflict, Unauthorized, check_url
from tests.real.edge_api import Answer, EdgeAPI
from tests.unit.edge.test_program import PROGRAM

REPORT = {
    "instance": "i1",
    "revision": 1,
    "ready": True,
    "version": "1.0",
    "started": {"agent": "2026-01-01T00:00:00+00:00"},
    "failures": {},
}


@pytest.fixture
def api():
    with EdgeAPI() as api:
        yield api


@pytest.fixture
def client(api):
    client = Client(api.url, api.store.node("n1"), timeout=(1.0, 1.0))
    yield client
    client.close()


def answer(api: EdgeAPI, status: int, document: Any) -> None:
    """Let the API answer any request like this."""
    api.fail = lambda _method, _target: Answer(status, document)


def test_a_token_for_one_join_becomes_a_token_of_the_node(api):
    token = api.store.add_node("n1")
    client = Client(api.url)
    own = client.join("n1", token)
    assert api.store.tokens == {own: "n1"}
    with pytest.raises(Unauthorized):
        client.join("n1", token)
    client.close()


def test_changes_come_in_pages_and_in_order(api, client, monkeypatch):
    monkeypatch.setattr(client, "_page", 2)
    monkeypatch.setattr(module, "PAGE", 2)
    api.store.publish(PROGRAM)
    api.store.purge("a1", "/x", hard=False)
    api.store.withdraw("b2")
    page = client.changes(0)
    assert (page.revision, page.head, page.etag) == (2, 3, None)
    assert [it.revision for it in page.changes] == [1, 2]
    assert [it.body() for it in page.changes] == [PROGRAM, Purge("/x", hard=False)]
    page = client.changes(2)
    assert (page.revision, page.head, page.etag) == (3, 3, '"3"')
    assert [(it.service_id, it.body()) for it in page.changes] == [("b2", None)]


def test_no_changes_cost_no_body(api, client):
    api.store.publish(PROGRAM)
    etag = client.changes(0).etag
    assert client.changes(1, etag=etag) is None
    assert api.requests[-1][2] == 304
    api.store.withdraw("a1")
    assert client.changes(1, etag=etag).revision == 2


def test_history_that_was_pruned_is_gone(api, client):
    api.store.publish(PROGRAM)
    api.store.withdraw("b2")
    api.store.prune(2)
    with pytest.raises(errors.Gone):
        client.changes(1)
    # A snapshot has rows below the floor too.
    assert client.changes(0).revision == 2
    assert client.changes(1, snapshot=2).revision == 2
    with pytest.raises(errors.Gone):
        client.changes(1, snapshot=1)


def test_a_head_before_the_node_is_gone(api, client):
    with pytest.raises(errors.Gone):
        client.changes(7)
    answer(api, 200, {"revision": 0, "head": 0, "changes": []})
    with pytest.raises(errors.Gone, match="newest revision is 0, before 7"):
        client.changes(7)


def test_the_report_tells_whether_the_node_is_drained(api, client):
    api.store.publish(PROGRAM)
    assert client.report(REPORT) is False
    api.store.drained.add("n1")
    assert client.report(REPORT) is True
    with pytest.raises(Conflict, match="the instance i1 of n1 is live"):
        client.report({**REPORT, "instance": "i2"})


@pytest.mark.parametrize("status", [202, 302, 400, 404, 429, 500, 503])
def test_another_status_is_unavailable(api, client, status):
    answer(api, status, {"message": "out\r\nof order"})
    with pytest.raises(errors.Unavailable, match=f"answered {status}.*out of order"):
        client.changes(0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"head": True}, "head"),
        ({"head": -1}, "head"),
        ({"head": 2**63}, "head"),
        ({"head": 1.0}, "head"),
        ({"revision": 3}, "revision"),
        ({"revision": 0}, "revision"),
        ({"changes": None}, "changes"),
        ({"changes": [1]}, "changes"),
        ({"changes": [{"revision": 2, "service_id": ""}]}, "service_id"),
        ({"changes": [{"revision": 2, "service_id": "a" * 65}]}, "service_id"),
        ({"changes": [{"revision": 3, "service_id": "a"}]}, "revision"),
        ({"changes": [{"revision": 1, "service_id": "a"}]}, "revision"),
        ({"changes": [{"revision": 2, "service_id": "a"}] * 2}, "revision"),
    ],
)
def test_an_invalid_page_is_unavailable(api, client, change, field):
    answer(api, 200, {"revision": 2, "head": 2, "changes": [], **change})
    with pytest.raises(errors.Unavailable, match=f"no valid {field}"):
        client.changes(1)


def test_a_page_that_leads_nowhere_is_unavailable(api, client):
    answer(api, 200, {"revision": 1, "head": 2, "changes": []})
    with pytest.raises(errors.Unavailable, match="leaves out"):
        client.changes(1)


@pytest.mark.parametrize(
    "text", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[" + b"[" * 8, b"SSH-2.0-x\r\n", b""]
)
def test_another_server_is_unavailable(api, client, text):
    api.fail = lambda _method, _target: text
    with pytest.raises(errors.Unavailable, match="no JSON|no answer"):
        client.changes(0)


def test_deeply_nested_json_is_unavailable(api, client):
    body = b"[" * 200_000
    api.fail = lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with pytest.raises(errors.Unavailable, match="no JSON"):
        client.changes(0)


def test_a_large_page_is_requested_again_with_fewer_changes(api, client, monkeypatch):
    for number in range(20):
        api.store.publish_document(f"s{number}", {"filler": "x" * 10_000})
    monkeypatch.setattr(module, "MAX_SIZE", 30_000)
    monkeypatch.setattr(client, "_page", 8)
    for _ in range(2):
        with pytest.raises(errors.Unavailable, match="larger than 30000 bytes"):
            client.changes(0)
    assert client.changes(0).revision == 2


@pytest.mark.parametrize(("field", "seconds"), [("7", 7), ("x", 0), ("9" * 30, 86400)])
def test_the_api_may_ask_to_wait(api, client, field, seconds):
    text = f"HTTP/1.1 503 x\r\nRetry-After: {field}\r\nContent-Length: 0\r\n\r\n"
    api.fail = lambda _method, _target: text.encode()
    with pytest.raises(errors.Unavailable) as error:
        client.changes(0)
    assert error.value.retry_after == seconds


def test_an_endless_response_ends(api, client, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 0.0)
    with pytest.raises(errors.Unavailable, match="longer than 0 s"):
        client.changes(0)


def test_silence_is_unavailable(api, client):
    client._timeout = (0.2, 0.2)
    api.store.lock.acquire()
    try:
        with pytest.raises(errors.Unavailable, match="no answer in time"):
            client.changes(0)
    finally:
        api.store.lock.release()


def test_a_closed_port_is_unavailable():
    client = Client("http://127.0.0.1:1", "token")
    with pytest.raises(errors.Unavailable, match="Connection refused"):
        client.changes(0)
    client.close()


def test_the_token_is_in_no_log_or_error(api, client, caplog, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (token,) = api.store.tokens
    with caplog.at_level(logging.DEBUG):
        client.changes(0)
        api.store.tokens.clear()
        with pytest.raises(Unauthorized) as error:
            client.changes(0)
    assert token not in caplog.text + str(error.value)


@pytest.mark.parametrize("token", [None, "", "a\r\nb: c", "ä", "x" * 513, 7])
def test_an_invalid_token_of_the_node_is_refused(api, token):
    client = Client(api.url)
    answer(api, 201, {"token": token})
    with pytest.raises(errors.Unavailable, match="no valid token"):
        client.join("n1", "t")
    client.close()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "neither"),
        ({"program": 1}, "no JSON object"),
        ({"program": {"version": 2}}, "version 2"),
        ({"program": {**PROGRAM.to_dict(), "service_id": "b2"}}, "belongs to the service b2"),
        ({"purge": None}, "no JSON object"),
        ({"purge": {"url": "a", "hard": True}}, "url is 'a'"),
        ({"purge": {"url": "/" * 8193, "hard": True}}, "url"),
        ({"purge": {"url": None, "hard": 1}}, "hard is 1"),
        ({"purge": {"url": None, "hard": True, "later": 1}}, "unknown field 'later'"),
        ({"purge": {"url": None, "hard": True, "tags": [], "host": "a"}}, "tags is"),
        ({"purge": {"url": "/a", "hard": True, "host": "a"}}, "several scopes"),
        ({"prewarm": {"urls": ["/a"], "later": 1}}, "urls"),
        ({"prewarm": {"urls": []}}, "urls is"),
        ({"purge": {"url": None, "hard": True, "urls": ["/a"] * 101}}, "urls is"),
        ({"purge": {"url": None, "hard": True, "urls": ["a"]}}, "urls is 'a'"),
        ({"purge": {"url": None, "hard": True, "tags": ["x" * 257]}}, "tags is"),
        ({"purge": {"url": None, "hard": True, "prefix": "a/"}}, "prefix is 'a/'"),
    ],
)
def test_an_invalid_change_fails_alone(document, message):
    with pytest.raises(ValueError, match=message):
        Change(1, "a1", document).body()


@pytest.mark.parametrize(
    ("url", "insecure"),
    [
        ("https://api.example.com/", False),
        ("https://[2001:db8::1]:8443", False),
        ("https://example.com/poppy", False),
        ("http://127.0.0.1:80", True),
        ("http://[::1]", True),
        ("http://localhost", True),
    ],
)
def test_urls_of_an_api(url, insecure):
    assert check_url(url, insecure=insecure) == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "insecure", "message"),
    [
        ("api.example.com", False, "not https"),
        ("ftp://example.com", True, "not https"),
        ("https://", False, "not https"),
        ("https://a:b@example.com", False, "no user"),
        ("https://example.com/?a", False, "no user, query"),
        ("https://example.com:x", False, "[Pp]ort"),
        ("https://[::1", False, "IPv6"),
        ("http://127.0.0.1", False, "use https"),
        ("http://example.com", True, "localhost"),
        ("http://127.0.0.1.example.com", True, "localhost"),
    ],
)
def test_other_urls_are_refused(url, insecure, message):
    with pytest.raises(ValueError, match=message) as error:
        check_url(url, insecure=insecure)
    assert "a:b" not in str(error.value)
