# SPDX-License-Identifier: Apache-2.0
"""poppy-manage flavors: load, export and list."""

import json

import pytest
import yaml

from poppy.cmd import documents
from poppy.common import errors
from tests.functional.commands import listed

LINKS = [{"href": "https://www.example.com", "rel": "provider_url"}]


@pytest.fixture
def file(tmp_path):
    """Write documents to a file and return its path."""

    def write(*contents):
        path = tmp_path / "flavors.yaml"
        path.write_text(yaml.safe_dump_all(contents))
        return str(path)

    return write


def flavor(flavor_id, *providers):
    entries = [{"provider": name, "links": LINKS} for name in providers]
    return {"id": flavor_id, "providers": entries}


def stored(poppy):
    return [it.flavor_id for it in poppy.boot.manager.flavors.list()]


def test_load_creates_missing_flavors_and_is_idempotent(poppy, run, file):
    path = file(flavor("gold", "cdn-b", "cdn-a"), [flavor("silver", "cdn-a")])
    assert run("flavors", "load", path, "--dry-run").splitlines() == [
        "would create gold",
        "would create silver",
        "2 new, 0 unchanged.",
    ]
    assert stored(poppy) == ["both", "standard"]
    assert run("flavors", "load", path).splitlines()[:2] == ["created gold", "created silver"]
    assert stored(poppy) == ["both", "gold", "silver", "standard"]
    assert run("flavors", "load", path) == "0 new, 2 unchanged.\n"


def test_load_refuses_a_changed_flavor_and_creates_nothing(poppy, run, file):
    path = file(flavor("gold", "cdn-a"), flavor("both", "cdn-a"))
    with pytest.raises(errors.InvalidRequest, match="flavor 'both' already exists with other"):
        run("flavors", "load", path)
    assert stored(poppy) == ["both", "standard"]


def test_load_reports_all_errors_of_a_file(poppy, run, file):
    path = file(
        flavor("gold", "cdn-a"),
        flavor("gold", "cdn-b"),
        flavor("lead", "cdn-z"),
        {**flavor("tin", "cdn-a"), "colour": "grey"},
        "no flavor",
    )
    with pytest.raises(errors.InvalidRequest) as caught:
        run("flavors", "load", path)
    for problem in (
        "flavor 'gold' has two definitions in the file",
        "flavor 'lead': Provider 'cdn-z' is not loaded (loaded: cdn-a, cdn-b)",
        "flavor 'tin': [document]-Additional properties are not allowed ('colour' was unexpected)",
        "flavor 5 of the file: [document]-'no flavor' is not of type 'object'",
    ):
        assert problem in str(caught.value)
    assert stored(poppy) == ["both", "standard"]


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_exported_flavors_can_be_loaded(poppy, run, tmp_path, form):
    path = tmp_path / "flavors"
    path.write_text(run("flavors", "export", "-f", form))
    assert [it["id"] for it in documents.read(str(path))] == ["both", "standard"]
    for name in ("both", "standard"):
        poppy.boot.manager.flavors.delete(name)
    before = listed(run, "flavors", "list")
    assert before == []
    run("flavors", "load", str(path))
    assert run("flavors", "export", "-f", form) == path.read_text()


def test_list_shows_weights_and_geography(poppy, run, monkeypatch):
    monkeypatch.setattr(type(poppy.dns), "STEERING", frozenset(["weights", "geography"]))
    document = flavor("world", "cdn-a", "cdn-b")
    document["providers"][0] |= {"weight": 70}
    document["providers"][1] |= {"weight": 30, "geography": {"countries": ["CH"]}}
    poppy.boot.manager.flavors.create(document)
    lines = [" ".join(line.split()) for line in run("flavors", "list").splitlines()]
    assert lines[0] == "id providers"
    assert lines[2:] == [
        "both cdn-a, cdn-b",
        "standard cdn-a",
        "world cdn-a (70), cdn-b (30; CH)",
    ]
    assert listed(run, "flavors", "list")[2] == document


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not valid YAML"),
        ("id: 2026-01-01", "has a value that JSON can't hold"),
        ("weight: .nan", "has a value that JSON can't hold"),
        ('{"id": "gold"\n', "has a value that JSON can't hold"),
        ('{"weight": NaN}\n', "has a value that JSON can't hold"),
        ("a: \xff".encode("latin-1"), "is not valid YAML"),
    ],
)
def test_invalid_file_is_refused(tmp_path, text, message):
    path = tmp_path / "broken"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(errors.InvalidRequest, match=f"broken {message}"):
        list(documents.read(str(path)))


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(errors.InvalidRequest, match="missing.yaml: No such file"):
        list(documents.read(str(tmp_path / "missing.yaml")))


def test_documents_are_read_lazily(tmp_path):
    path = tmp_path / "lines"
    path.write_text(json.dumps({"a": 1}) + "\n\n" + "no JSON\n")
    found = documents.read(str(path))
    assert next(found) == {"a": 1}
    with pytest.raises(errors.InvalidRequest):
        next(found)
