# SPDX-License-Identifier: Apache-2.0
"""ETag and Idempotency-Key: protection from concurrent clients and lost responses."""

import threading

import pytest

NAME = [{"op": "replace", "path": "/name", "value": "another name"}]


def etag(api, path):
    return api.call("GET", path).headers["ETag"]


def test_if_none_match_returns_304_for_an_unchanged_resource(api):
    path = api.create()
    for url in (path, "/v1.0/services", "/v1.0/flavors", "/v1.0/flavors/standard"):
        tag = etag(api, url)
        assert tag.startswith('"')
        for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = api.call("GET", url, **{"If-None-Match": header})
            assert (answer.status_code, answer.body) == (304, b"")
            assert answer.headers["ETag"] == tag
            assert "Content-Type" not in answer.headers
        answer = api.call("GET", url, **{"If-None-Match": '"other"'})
        assert answer.status_code == 200
        assert answer.headers["ETag"] == tag


def test_etag_changes_with_the_representation(api):
    path = api.create()
    tags = [etag(api, path)]
    api.deploy(path)
    tags.append(etag(api, path))
    api.call("PATCH", path, NAME)
    tags.append(etag(api, path))
    assert len(set(tags)) == 3
    assert api.call("GET", path, **{"If-None-Match": tags[0]}).status_code == 200


def test_if_match_refuses_changes_of_a_changed_service(api):
    path = api.create()
    seen = etag(api, path)
    api.deploy(path)
    now = etag(api, path)
    for header in (seen, f"W/{now}", '"other"', "nonsense"):
        for method, body in (("PATCH", NAME), ("DELETE", None)):
            answer = api.call(method, path, body, **{"If-Match": header})
            assert answer.status_code == 412, header
            assert answer.json["message"]
    assert etag(api, path) == now
    assert api.call("PATCH", path, NAME, **{"If-Match": f"{seen}, {now}"}).status_code == 202
    assert api.call("PATCH", path, NAME, **{"If-Match": now}).status_code == 412
    api.deploy(path)
    assert api.call("DELETE", path, **{"If-Match": etag(api, path)}).status_code == 202
    assert api.call("DELETE", path, **{"If-Match": "*"}).status_code == 202


def test_if_match_applies_to_get(api):
    path = api.create()
    now = etag(api, path)
    for header, status in (
        (now, 200),
        (f'"other", {now}', 200),
        ("*", 200),
        ('"other"', 412),
        (f"W/{now}", 412),
        ("nonsense", 412),
    ):
        answer = api.call("GET", path, **{"If-Match": header})
        assert answer.status_code == status, header
    # If-Match comes first (RFC 9110, section 13.2.2).
    both = {"If-Match": '"other"', "If-None-Match": now}
    assert api.call("GET", path, **both).status_code == 412
    assert api.call("GET", path, **{"If-Match": now, "If-None-Match": now}).status_code == 304
    assert api.call("HEAD", path, **{"If-Match": '"other"'}).status_code == 412
    assert api.call("GET", "/v1.0/services", **{"If-Match": '"other"'}).status_code == 412


def test_if_none_match_applies_to_changes(api):
    path = api.create()
    api.deploy(path)
    now = etag(api, path)
    for header in ("*", now, f"W/{now}", f'"other", W/{now}'):
        for method, body in (("PATCH", NAME), ("DELETE", None)):
            answer = api.call(method, path, body, **{"If-None-Match": header})
            assert answer.status_code == 412, header
    both = {"If-Match": now, "If-None-Match": now}
    assert api.call("PATCH", path, NAME, **both).status_code == 412
    assert etag(api, path) == now
    other = {"If-Match": now, "If-None-Match": '"other", W/"x"'}
    assert api.call("PATCH", path, NAME, **other).status_code == 202
    assert api.call("DELETE", path, **{"If-None-Match": now}).status_code == 202


def test_precondition_on_an_unknown_service_is_not_found(api):
    path = api.create()[:-4] + "0000"
    assert api.call("PATCH", path, NAME, **{"If-Match": "*"}).status_code == 404


def test_repeated_post_with_a_key_returns_the_same_location(api):
    document = api.document()
    first = api.post(document, **{"Idempotency-Key": '"k-1"'})
    assert first.status_code == 202
    reordered = dict(reversed(document.items()))
    for header in ('"k-1"', "k-1"):
        again = api.post(reordered, **{"Idempotency-Key": header})
        assert (again.status_code, again.body) == (202, b"")
        assert again.headers["Location"] == first.headers["Location"]
    assert api.rows()["services"] == 1
    # This also holds after the service is deleted.
    path = first.headers["Location"].removeprefix("http://localhost")
    api.call("DELETE", path)
    api.deploy(path)
    again = api.post(document, **{"Idempotency-Key": "k-1"})
    assert again.headers["Location"] == first.headers["Location"]
    assert api.rows()["services"] == 0


def test_another_request_with_the_same_key_is_refused(api):
    api.post(api.document("a.example.com"), **{"Idempotency-Key": "k-1"})
    answer = api.post(api.document("b.example.com"), **{"Idempotency-Key": "k-1"})
    assert answer.status_code == 422
    assert "idempotency key" in answer.json["message"]
    assert api.rows()["services"] == 1


def test_keys_are_scoped_to_their_project(api):
    one = api.post(api.document("a.example.com"), **{"Idempotency-Key": "k-1"})
    options = {"project": "another", "Idempotency-Key": "k-1"}
    other = api.post(api.document("b.example.com"), **options)
    assert other.status_code == 202
    assert other.headers["Location"] != one.headers["Location"]


def test_refused_post_does_not_use_its_key(api):
    api.create("taken.example.com")
    for document in (api.document("taken.example.com"), {}, api.document(flavor_id="nosuch")):
        assert api.post(document, **{"Idempotency-Key": "k-1"}).status_code == 400
    answer = api.post(api.document("free.example.com"), **{"Idempotency-Key": "k-1"})
    assert answer.status_code == 202


def test_concurrent_posts_with_one_key_create_one_service(api):
    document = api.document()
    barrier = threading.Barrier(5)
    answers = []

    def post():
        barrier.wait()
        answers.append(api.post(document, **{"Idempotency-Key": "k-1"}))

    threads = [threading.Thread(target=post) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A request that lost the race may get a 503.
    assert {answer.status_code for answer in answers} <= {202, 503}
    locations = {a.headers["Location"] for a in answers if a.status_code == 202}
    assert len(locations) == 1
    assert api.rows()["services"] == 1


@pytest.mark.parametrize("key", ["", " ", '""', '"a', "a b", "k" * 256, "schl\xfcssel"])
def test_invalid_key_is_refused(shared_api, key):
    answer = shared_api.post(shared_api.document(), **{"Idempotency-Key": key})
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json["message"]
