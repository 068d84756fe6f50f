# SPDX-License-Identifier: Apache-2.0
"""Property tests: no input causes a 500, and refused input stores nothing."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.functional.harness import PROJECT

FULL = {
    "name": "site",
    "flavor_id": "standard",
    "domains": [{"domain": "www.example.com"}, {"domain": "img.example.com", "protocol": "http"}],
    "origins": [
        {"origin": "origin.example.net", "port": 80, "ssl": False},
        {
            "origin": "media.example.net",
            "hostheadertype": "custom",
            "hostheadervalue": "media.example.org",
            "rules": [{"name": "media", "request_url": "/media/*"}],
            "name": "media",
            "path": "/files",
            "connect_timeout": 2,
            "health_check": {"path": "/health", "interval": 10, "status": [200]},
        },
        {"origin": "spare.example.net", "backup_of": "media", "backup_status": [503]},
    ],
    "caching": [
        {"name": "default", "ttl": 3600},
        {"name": "img", "ttl": 60, "rules": [{"name": "i", "request_url": "/img/*"}]},
    ],
    "restrictions": [
        {
            "name": "here",
            "access": "whitelist",
            "rules": [{"name": "r", "referrer": "www.example.com", "request_url": "/shop/*"}],
        },
        {
            "name": "away",
            "access": "blacklist",
            "rules": [{"name": "ip", "client_ip": "192.0.2.0/24"}],
        },
    ],
    "log_delivery": {"enabled": False},
    "delivery": {"compression": "gzip", "websockets": False, "http3": True},
    "redirects": [
        {"name": "r", "request_url": "/old/*", "location": "https://a.example/$1", "status": 301}
    ],
    "headers": [
        {
            "name": "h",
            "rules": [{"name": "all", "request_url": "/*"}],
            "request": {"set": {"X-A": "1"}, "remove": ["Cookie"]},
            "response": {"set": {"X-B": "2"}, "add": {"X-C": "3"}, "remove": ["Server"]},
        }
    ],
    "cors": {"allow_origins": ["https://app.example.com"], "max_age": 60},
    "error_pages": [{"name": "e", "status": [404, 503], "path": "/e.html", "ttl": 60}],
}

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.sampled_from(["", "a" * 300, "\x00", "é.example.com", "-", "*", "/*", "0.0.0.0/0", "::"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)


def pointers(document, prefix=""):
    """Yield every JSON pointer (RFC 6901) into a document."""
    yield prefix
    if isinstance(document, dict):
        entries = document.items()
    else:
        entries = enumerate(document) if isinstance(document, list) else ()
    for key, value in entries:
        yield from pointers(value, f"{prefix}/{key}")


POINTERS = sorted(pointers(FULL))[1:]


@st.composite
def mutated(draw):
    """Draw the full document with one to three places replaced, removed or duplicated."""
    document = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        parent, key = document, None
        *path, key = draw(st.sampled_from(POINTERS)).split("/")[1:]
        try:
            for step in path:
                parent = parent[int(step)] if isinstance(parent, list) else parent[step]
            key = int(key) if isinstance(parent, list) else key
            if draw(st.booleans()):
                parent[key] = draw(values)
            elif isinstance(parent, list):
                parent.append(copy.deepcopy(parent[key]))
            else:
                del parent[key]
        except (LookupError, TypeError, ValueError):
            continue
    return document


@st.composite
def patches(draw):
    """Draw valid and invalid JSON patches (RFC 6902)."""
    paths = st.sampled_from([*POINTERS, "", "/", "/-", "/domains/-", "/caching/9", "/a~2"])
    names = st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])
    operations = []
    for _ in range(draw(st.integers(1, 3))):
        operation = {"op": draw(names | st.text(max_size=5)), "path": draw(paths)}
        if draw(st.integers(0, 3)):
            operation["value"] = draw(values)
        if draw(st.booleans()):
            operation["from"] = draw(paths)
        operations.append(operation)
    return draw(st.just(operations) | values)


relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def send(api, method, path, content):
    return api.app.request(
        path,
        method=method,
        body=content,
        headers={"X-Project-ID": PROJECT, "Content-Type": "application/json"},
        expect_errors=True,
    )


def check_post(api, content):
    before = api.rows()
    answer = send(api, "POST", "/v1.0/services", content)
    if answer.status_code == 202:
        path = answer.headers["Location"].removeprefix("http://localhost")
        api.call("DELETE", path)
        api.deploy(path)
        # Operations are kept for a time, and so are released domains, for their former project.
        kept = {"operations": 0, "domains": 0}
        assert {**api.rows(), **kept} == {**before, **kept}
        return
    assert 400 <= answer.status_code < 500, (answer.status_code, content)
    assert answer.json["message"]
    assert answer.json["request_id"]
    assert api.rows() == before


@relaxed
@given(document=mutated())
def test_mutated_document_is_accepted_or_refused_without_effect(shared_api, document):
    check_post(shared_api, json.dumps(document).encode())


@relaxed
@given(document=values)
def test_any_json_is_refused_without_effect(shared_api, document):
    check_post(shared_api, json.dumps(document).encode())


@relaxed
@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_without_effect(shared_api, content):
    check_post(shared_api, content)


@pytest.fixture(scope="module")
def deployed(shared_api):
    """A deployed service to which every patch applies."""
    answer = shared_api.post(FULL)
    assert answer.status_code == 202, answer.text
    path = answer.headers["Location"].removeprefix("http://localhost")
    shared_api.deploy(path)
    return path


@relaxed
@given(patch=patches())
def test_any_patch_is_accepted_or_refused_without_effect(shared_api, deployed, patch):
    api = shared_api
    before = api.rows(), api.call("GET", deployed).json
    answer = send(api, "PATCH", deployed, json.dumps(patch).encode())
    if answer.status_code == 202:
        assert api.deploy(deployed).status == "deployed"
        undo = [{"op": "add", "path": f"/{name}", "value": value} for name, value in FULL.items()]
        assert api.call("PATCH", deployed, undo).status_code == 202
        api.deploy(deployed)
        return
    assert 400 <= answer.status_code < 500, (answer.status_code, patch)
    assert answer.json["message"]
    assert (api.rows(), api.call("GET", deployed).json) == before
