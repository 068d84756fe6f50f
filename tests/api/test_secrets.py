# SPDX-License-Identifier: Apache-2.0
"""Secrets of documents can be written, kept and replaced, but not read."""

import base64
import copy
import json
import logging
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poppy.manager.document_secrets import DocumentSecrets
from poppy.model.secrets import Secret
from tests.api.conftest import Api
from tests.api.test_properties import FULL, mutated, patches, relaxed
from tests.functional.harness import PROJECT

OLD, NEW = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
MARK = "s3cRet"
ONE, TWO = (f"{MARK}-{digit * 40}" for digit in "12")


def signed(*secrets, **changes):
    keys = [{"id": f"k{number}", "secret": it} for number, it in enumerate(secrets)]
    return {"keys": keys, "rules": [{"name": "films", "request_url": "/films/*"}], **changes}


def keyed(directory, *keys):
    directory.mkdir(exist_ok=True)
    return Api(directory, {"document_secrets": {"encryption_keys": ",".join(keys)}})


class Log(logging.Handler):
    """Everything that is logged, at any level."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(f"{record.getMessage()} {record.args} {self.format(record)}")


@pytest.fixture(scope="module")
def keyed_api(tmp_path_factory):
    api = keyed(tmp_path_factory.mktemp("secrets"), OLD)
    yield api
    api.close()


@pytest.fixture(scope="module", autouse=True)
def log():
    handler, root = Log(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def service(keyed_api):
    path = keyed_api.create(signed_urls=signed(ONE, TWO))
    keyed_api.deploy(path)
    yield path
    keyed_api.call("DELETE", path)
    keyed_api.deploy(path)


def origin(value, key):
    return {
        "origin": "films.s3.example.net",
        "secret_header": {"name": "X-Edge", "value": value},
        "auth": {
            "type": "s3",
            "region": "eu-central-1",
            "bucket": "films",
            "access_key": "AKIDEXAMPLE",
            "secret_key": key,
        },
    }


def shown(api, path):
    return [key["secret"] for key in api.call("GET", path).json["signed_urls"]["keys"]]


def patch(api, path, *operations):
    answer = api.call("PATCH", path, list(operations))
    if answer.status_code == 202:
        api.deploy(path)
    return answer


def change(where, value):
    return {"op": "replace", "path": f"/signed_urls{where}", "value": value}


def stored(api, path):
    """Return the secrets as a driver gets them."""
    service = api.harness.get(path.rpartition("/")[2])
    opened = api.harness.boot.manager.transfers._changes.secrets.opened(
        service.spec, service.service_id
    )
    return [key["secret"] for key in opened["signed_urls"]["keys"]]


def traces(api, log):
    """Return everything that the API has stored or logged so far."""
    files = [it for it in api._database.parent.iterdir() if it.is_file()]
    return [*(it.read_bytes().decode("latin-1") for it in files), *log.lines]


def test_get_shows_a_fingerprint(keyed_api, service):
    secrets = shown(keyed_api, service)
    assert [it.keys() for it in secrets] == [{"set", "fingerprint"}] * 2
    assert secrets[0]["fingerprint"] != secrets[1]["fingerprint"]
    assert stored(keyed_api, service) == [ONE, TWO]


def test_a_change_elsewhere_keeps_them(keyed_api, service):
    before = shown(keyed_api, service)
    assert patch(keyed_api, service, {"op": "replace", "path": "/name", "value": "new"})
    assert (shown(keyed_api, service), stored(keyed_api, service)) == (before, [ONE, TWO])


def test_fingerprints_keep_secrets_in_another_order(keyed_api, service):
    keys = keyed_api.call("GET", service).json["signed_urls"]["keys"]
    patch(keyed_api, service, change("/keys", keys[::-1]))
    assert stored(keyed_api, service) == [TWO, ONE]


def test_a_text_replaces_a_secret(keyed_api, service):
    before = shown(keyed_api, service)
    patch(keyed_api, service, change("/keys/0/secret", f"{MARK}-{'3' * 40}"))
    after = shown(keyed_api, service)
    assert (after[0] != before[0], after[1]) == (True, before[1])
    assert stored(keyed_api, service) == [f"{MARK}-{'3' * 40}", TWO]


def test_the_same_text_changes_nothing(keyed_api, service):
    before = keyed_api.harness.get(service.rpartition("/")[2]).spec
    patch(keyed_api, service, change("/keys/0/secret", ONE))
    assert keyed_api.harness.get(service.rpartition("/")[2]).spec == before


def test_secrets_of_origins_are_kept_and_replaced(keyed_api):
    path = keyed_api.create("films.example.com", origins=[origin(ONE, TWO)])
    keyed_api.deploy(path)
    (found,) = keyed_api.call("GET", path).json["origins"]
    before = found["secret_header"]["value"]
    assert [before.keys(), found["auth"]["secret_key"].keys()] == [{"set", "fingerprint"}] * 2
    changes = [
        {"op": "replace", "path": "/origins/0", "value": found},
        {"op": "replace", "path": "/origins/0/auth/secret_key", "value": f"{MARK}-{'3' * 40}"},
    ]
    assert patch(keyed_api, path, *changes).status_code == 202
    service = keyed_api.harness.get(path.rpartition("/")[2])
    secrets = keyed_api.harness.boot.manager.transfers._changes.secrets
    (opened,) = secrets.opened(service.spec, service.service_id)["origins"]
    assert opened["secret_header"]["value"] == ONE
    assert opened["auth"]["secret_key"] == f"{MARK}-{'3' * 40}"
    (now,) = keyed_api.call("GET", path).json["origins"]
    assert now["secret_header"]["value"] == before
    keyed_api.call("DELETE", path)
    keyed_api.deploy(path)


def test_an_unknown_fingerprint_is_refused(keyed_api, service):
    unknown = {"set": True, "fingerprint": "00000000"}
    answer = patch(keyed_api, service, change("/keys/0/secret", unknown))
    assert (answer.status_code, "fingerprint 00000000" in answer.text) == (400, True)
    other = keyed_api.document("other.example.com", signed_urls=signed(unknown))
    assert keyed_api.post(other).status_code == 400


def test_without_a_key_secrets_are_refused(api):
    answer = api.post(api.document(signed_urls=signed(ONE)))
    assert answer.status_code == 400
    assert "[document_secrets] encryption_keys" in answer.json["message"]
    assert api.rows()["services"] == 0


def test_a_redeployment_seals_with_the_first_key(keyed_api, service, monkeypatch):
    service_id = service.rpartition("/")[2]
    before = shown(keyed_api, service)
    both = DocumentSecrets([NEW, OLD])
    monkeypatch.setattr(keyed_api.harness.services._changes, "secrets", both)
    keyed_api.harness.services.redeploy(PROJECT, service_id, None)
    keyed_api.deploy(service)
    # Fingerprints depend on the key, but the same secret keeps the one it has.
    assert patch(keyed_api, service, change("/keys/0/secret", ONE)).status_code == 202

    spec = keyed_api.harness.get(service_id).spec
    opened = DocumentSecrets([NEW]).opened(spec, service_id)
    assert [key["secret"] for key in opened["signed_urls"]["keys"]] == [ONE, TWO]
    assert shown(keyed_api, service) == before


def test_an_export_has_secrets_only_on_demand(keyed_api, service, tmp_path):
    transfers = keyed_api.harness.boot.manager.transfers
    (plain,) = transfers.give(PROJECT)
    (complete,) = transfers.give(PROJECT, secrets=True)
    assert MARK not in json.dumps(plain)

    other = keyed(tmp_path, NEW)
    taker = other.harness.boot.manager.transfers
    assert "no secret with the fingerprint" in taker.take(plain).reason
    assert [str(taker.take(complete).outcome) for _ in "ab"] == ["created", "unchanged"]
    assert stored(other, service) == [ONE, TWO]
    assert str(transfers.take(plain).outcome) == "unchanged"
    other.close()


def test_a_repeated_create_compares_secrets(keyed_api):
    document = keyed_api.document("again.example.com", signed_urls=signed(ONE))
    other = {**document, "signed_urls": signed(TWO)}
    sent = [keyed_api.post(it, **{"Idempotency-Key": '"k"'}) for it in (document, document, other)]
    assert [it.status_code for it in sent] == [202, 202, 422]
    assert sent[0].headers["Location"] == sent[1].headers["Location"]
    path = sent[0].headers["Location"].removeprefix("http://localhost")
    keyed_api.call("DELETE", path)
    keyed_api.deploy(path)


def test_a_secret_that_is_not_sealed_is_not_stored():
    with pytest.raises(ValueError, match="not sealed"):
        Secret(text=ONE).stored()


leaves = st.sampled_from([ONE, f"{MARK} \u0000", MARK, f"{MARK}é" * 100, 1, None, True])
names = st.sampled_from(["keys", "rules", "query", "id", "secret", "set", "fingerprint"])
shapes = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
) | st.just(signed(ONE, TWO))


@st.composite
def documents(draw):
    """Draw a document with secrets at any place of ``signed_urls``, and other mistakes."""
    document = {**draw(mutated()), "signed_urls": draw(shapes)}
    if draw(st.booleans()):
        document["origins"] = [origin(draw(shapes | leaves), draw(shapes | leaves))]
    inside = {**copy.deepcopy(FULL), "origins": document}
    return draw(st.sampled_from([document, document, document, [document], inside]))


fewer = settings(relaxed, max_examples=60)


def check(api, log, method, path, body):
    answer = api.call(method, path, body)
    assert answer.status_code < 500
    assert MARK not in answer.text + str(answer.headers)
    if answer.status_code == 202 and method == "POST":
        path = answer.headers["Location"].removeprefix("http://localhost")
        assert MARK not in api.call("GET", path).text
    found = [text for text in traces(api, log) if MARK in text]
    assert not found
    log.lines.clear()
    return path


@fewer
@given(document=documents())
def test_a_secret_of_any_document_appears_nowhere(keyed_api, log, document):
    check(keyed_api, log, "POST", "/v1.0/services?dry_run=true", document)
    path = check(keyed_api, log, "POST", "/v1.0/services", document)
    if path != "/v1.0/services":
        keyed_api.call("DELETE", path)
        keyed_api.deploy(path)


@fewer
@given(shape=shapes, rest=patches())
def test_a_secret_of_any_patch_appears_nowhere(keyed_api, log, service_for_patches, shape, rest):
    operations = [
        {"op": "add", "path": "/signed_urls", "value": shape},
        *(rest if isinstance(rest, list) else [rest]),
    ]
    check(keyed_api, log, "PATCH", service_for_patches, operations)
    keyed_api.deploy(service_for_patches)


@pytest.fixture(scope="module")
def service_for_patches(keyed_api):
    answer = keyed_api.post(
        {**FULL, "domains": [{"domain": "patched.example.com"}], "signed_urls": signed(ONE)}
    )
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"].removeprefix("http://localhost")
