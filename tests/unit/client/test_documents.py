# SPDX-License-Identifier: Apache-2.0
"""The client loads, normalizes and compares documents as the server does."""

import copy

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppy.model import validation
from tests.unit.model.documents import FULL, MINIMAL, TTL

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
exceptions = pytest.importorskip("osc_lib.exceptions")

from poppyclient import documents  # noqa: E402

ODD = {
    "name": "odd",
    "flavor_id": "cdn",
    "domains": [{"domain": "www.example.com", "certificate": "sni", "protocol": "https"}],
    "origins": [
        {"origin": "2001:DB8:0:0::1", "port": 443.0, "ssl": True},
        {"origin": "B.example.net", "ssl": True, "rules": [{"name": "b", "request_url": "b/*"}]},
        {
            "origin": "c.example.net",
            "hostheadertype": "custom",
            "hostheadervalue": "C.example.net",
            "rules": [{"name": "c", "request_url": "/c"}],
        },
    ],
    "caching": [{"ttl": 0, "name": "never", "rules": []}],
    "restrictions": [
        {
            "name": "some",
            "rules": [
                {"name": "one", "referrer": "WWW.Example.com", "request_url": "x"},
                {"name": "two", "client_ip": "192.0.2.9/24"},
                {"name": "three", "client_ip": "2001:DB8::0:1"},
            ],
        },
        {
            "name": "old",
            "type": "blacklist",
            "rules": [{"name": "four", "client_ip": "192.0.2.7", "request_url": "/y"}],
        },
    ],
    "log_delivery": {},
}


def stored(document):
    return validation.service(document, TTL, shared=()).to_dict()


def test_a_diff_hides_secrets():
    keys = [{"id": "k1", "secret": "s3cret"}]
    lines = "\n".join(documents.diff({}, {"signed_urls": {"keys": keys}}))
    assert "s3cret" not in lines
    assert "(a secret)" in lines


@pytest.mark.parametrize("document", [MINIMAL, FULL, ODD])
def test_normalization_matches_the_server(document):
    before = copy.deepcopy(document)
    ours, theirs = documents.written_out(document), stored(document)
    if "caching" not in document:
        del theirs["caching"]
    assert documents.patch(theirs, ours) == []
    assert list(ours) == list(theirs)
    assert document == before


def test_a_stored_document_is_already_normalized():
    theirs = stored(FULL)
    assert documents.dump(documents.written_out(theirs)) == documents.dump(theirs)


def test_missing_caching_keeps_the_default_and_removes_other_rules():
    current = stored(MINIMAL)
    desired = documents.written_out(MINIMAL)
    assert documents.patch(current, desired) == []
    assert documents.diff(current, desired) == []
    changed = stored({**MINIMAL, "caching": [{"name": "short", "ttl": 1}]})
    assert documents.patch(changed, desired) == [{"op": "remove", "path": "/caching"}]
    assert "+caching: (the operator's default)" in documents.diff(changed, desired)
    assert stored(jsonpatch.apply_patch(changed, documents.patch(changed, desired))) == current


def test_a_shared_domain_keeps_its_full_name():
    current = {"domains": [{"domain": "shop.s3.example.net", "certificate": "shared"}]}
    label = {"domain": "shop", "protocol": "https", "certificate": "shared"}
    (domain,) = documents.written_out({"domains": [label]}, current)["domains"]
    assert domain["domain"] == "shop.s3.example.net"
    (domain,) = documents.written_out({"domains": [{**label, "domain": "other"}]}, current)[
        "domains"
    ]
    assert domain["domain"] == "other"
    (domain,) = documents.written_out({"domains": [{"domain": "shop"}]}, current)["domains"]
    assert domain["domain"] == "shop"


def around(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["x", "y"]), inner, max_size=2
    )


LEAVES = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b/~", ""])
# Fixed depth: st.recursive does not always draw the same value from the same choices.
VALUES = LEAVES | around(LEAVES | around(LEAVES))
ANY = st.dictionaries(st.sampled_from(["name", "a/b", "m~n", "origins", "caching", ""]), VALUES)


@given(ANY, ANY)
def test_a_patch_turns_one_document_into_the_other(current, desired):
    current = {key: value for key, value in current.items() if key}
    desired = {key: value for key, value in desired.items() if key}
    made = documents.patch(current, desired)
    result = jsonpatch.apply_patch(current, made) if made else current
    assert documents.dump(dict(sorted(result.items()))) == documents.dump(
        dict(sorted(desired.items()))
    )
    assert (made == []) == (repr(sorted(current.items())) == repr(sorted(desired.items())))


@given(ANY)
def test_invalid_documents_can_be_normalized_and_compared(document):
    documents.written_out(documents.writable(document))
    documents.diff({}, documents.written_out(document))


def test_true_and_1_are_different():
    assert documents.patch({"a": [True]}, {"a": [1]}) == [
        {"op": "replace", "path": "/a", "value": [1]}
    ]


def test_fields_that_show_adds_are_removed(tmp_path):
    shown = {
        **{key: "x" for key in ("id", "project_id", "status", "errors", "links", "access_urls")},
        "name": "site",
        "domains": [{"domain": "www.example.com", "certificate_status": "deployed"}],
    }
    file = tmp_path / "shown.yaml"
    file.write_text(documents.dump(shown))
    assert documents.load(str(file)) == {
        "name": "site",
        "domains": [{"domain": "www.example.com"}],
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a: [", "is not valid YAML"),
        (b"\xff\xfe\xfa", "is not valid YAML"),
        (b"- a\n", "one document"),
        (b"", "one document"),
        (b"a: 2020-01-01\n", "JSON can't hold"),
        (b"a: .nan\n", "JSON can't hold"),
        (b"a: &a [*a]\n", "JSON can't hold"),
        (b"a: !!python/object:os.system {}\n", "is not valid YAML"),
    ],
)
def test_an_invalid_file_is_refused_and_named(tmp_path, content, says):
    file = tmp_path / "service.yaml"
    file.write_bytes(content)
    with pytest.raises(exceptions.CommandError, match=says) as caught:
        documents.load(str(file))
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(exceptions.CommandError, match=r"none\.yaml: No such file"):
        documents.load(str(tmp_path / "none.yaml"))


def test_dns_records_are_read_only():
    shown = {**MINIMAL, "id": "1", "status": "deployed", "dns_records": [{"domain": "a.b"}]}
    assert documents.writable(shown) == MINIMAL


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("origin.example.net", {"origin": "origin.example.net"}),
        ("192.0.2.1:80", {"origin": "192.0.2.1", "port": 80}),
        ("[2001:db8::1]:80", {"origin": "2001:db8::1", "port": 80}),
        ("https://o.example.net/", {"origin": "o.example.net", "ssl": True, "port": 443}),
        ("https://o.example.net:443", {"origin": "o.example.net", "ssl": True, "port": 443}),
    ],
)
def test_simple_document_is_accepted(text, origin):
    document = documents.simple(["www.example.com"], text, "standard", certificate="sni")
    assert document["origins"] == [origin]
    assert document["name"] == "www.example.com"
    assert validation.service(document, TTL, shared=())


@pytest.mark.parametrize(
    "text", ["", "ftp://o.example.net", "o.example.net:99999", "http://o.example.net/path", "a@b"]
)
def test_simple_document_refuses_an_invalid_origin(text):
    with pytest.raises(exceptions.CommandError, match="is not an origin"):
        documents.simple(["www.example.com"], text, "standard")
