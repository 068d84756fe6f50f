# SPDX-License-Identifier: Apache-2.0
"""How a node delivers access logs: the API and the object store are in memory."""

import gzip
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.adapters

from poppy.common.errors import Unavailable
from poppy.edge.logs.delivery import Delivery
from poppy.edge.logs.spool import Spool
from poppy.model.edge_logs import LogObject
from tests.unit.edge.logs.test_spool import HOUR, START, Clock

SECRET = "X-Amz-Signature=0123"


class World(requests.adapters.BaseAdapter):
    """The API and the store.

    Attributes:
        objects: lines by bucket and name.
        puts: names, in order.
        away: whether neither connects.
        refused: projects with a bucket that refuses.
        lost: whether the answer of the store gets lost.
        closed: whether the API answers 503.
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.away = self.lost = self.closed = False
        self.refused: set[str] = set()

    def log_upload(self, upload: LogObject) -> str:
        if self.closed:
            raise Unavailable("POST /edge/v1/logs answered 503")
        name = f"{upload.project_id}/{upload.service_id}/{upload.start}-{upload.id}"
        return f"https://store.example.net/{name}?size={upload.size}&{SECRET}"

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        if self.away:
            raise requests.ConnectionError(f"refused: {request.url}")
        assert request.url is not None
        assert isinstance(request.body, bytes)
        assert options["verify"] == "/ca.pem"
        assert "Authorization" not in request.headers
        found = re.fullmatch(r"https://store.example.net/(.*)[?]size=(\d+)&.*", request.url)
        assert found is not None
        assert request.headers["Content-Length"] == found[2] == str(len(request.body))
        response = requests.Response()
        response.raw = io.BytesIO()
        response.status_code = 200
        if found[1].partition("/")[0] in self.refused:
            response.status_code = 404
        else:
            self.puts.append(found[1])
            self.objects[found[1]] = gzip.decompress(request.body)
        if self.lost:
            raise requests.ReadTimeout()
        return response

    def close(self) -> None:
        """Do nothing."""


class Site:
    """A node's spool and delivery, with clocks that only tests advance."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.world = World()
        self.clock = Clock()
        self.errors: list[str] = []
        self.restart()

    def restart(self) -> None:
        self.spool = Spool(self.directory, 1024**2, HOUR, self.clock)
        self.delivery = Delivery(
            self.world,  # type: ignore[arg-type]
            self.spool,
            lambda message, exc: self.errors.append(message % exc),
            "/ca.pem",
            self.clock,
        )
        self.delivery._session.mount("https://", self.world)

    def run(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            while self.delivery.turn():
                pass
            self.clock.now += 10

    def lines(self) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for name, text in self.world.objects.items():
            key = name.partition("-")[0]
            found[key] = found.get(key, b"") + text
        return found


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    (tmp_path / "netrc").write_text("machine store.example.net login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return Site(tmp_path / "logs")


def test_each_file_is_delivered_once(site: Site) -> None:
    site.spool.add("42", "a", [b"1", b"2"])
    site.run(HOUR)
    assert site.world.puts == []
    site.spool.add("42", "a", [b"3"])
    site.run(3 * HOUR)
    assert site.lines() == {f"42/a/{START}": b"1\n2\n", f"42/a/{START + HOUR}": b"3\n"}
    assert len(site.world.puts) == site.delivery.delivered == 2
    assert site.errors == []


def test_a_store_that_was_away_for_hours_gets_everything(site: Site) -> None:
    site.world.away = True
    for number in range(5):
        site.spool.add("42", "a", [b"%d" % number])
        site.run(HOUR)
    assert 20 < len(site.errors) < 200, "attempts become rarer"
    assert site.spool.overdue > 3 * HOUR
    site.world.away = False
    site.run(2 * HOUR)
    assert site.lines() == {
        f"42/a/{START + number * HOUR}": b"%d\n" % number for number in range(5)
    }
    assert len(site.world.puts) == 5
    assert site.spool.size == 0
    assert not [it for it in site.errors if "X-Amz" in it or "https:" in it], "no signed URL"


def test_an_object_whose_answer_is_lost_is_replaced_by_itself(site: Site) -> None:
    site.spool.add("42", "a", [b"1"])
    site.world.lost = True
    site.run(1.2 * HOUR)
    assert len(site.world.puts) > 1
    site.restart()
    site.world.lost = False
    site.run(HOUR)
    assert len(set(site.world.puts)) == 1
    assert site.lines() == {f"42/a/{START}": b"1\n"}


def test_a_bucket_that_refuses_does_not_hold_up_other_projects(site: Site) -> None:
    site.world.refused = {"41"}
    site.spool.add("41", "a", [b"1"])
    site.spool.add("42", "b", [b"2"])
    site.run(2 * HOUR)
    assert site.lines() == {f"42/b/{START}": b"2\n"}
    assert set(site.errors) == {"Can't deliver access logs: the object store answers 404"}
    site.world.refused = set()
    site.run(HOUR)
    assert len(site.world.objects) == 2


def test_files_wait_for_the_api(site: Site) -> None:
    site.world.closed = True
    site.spool.add("42", "a", [b"1"])
    site.run(3 * HOUR)
    assert set(site.errors) == {
        "The API allows no delivery of access logs: POST /edge/v1/logs answered 503"
    }
    assert 10 < len(site.errors) < 100
    site.world.closed = False
    site.run(HOUR)
    assert site.lines() == {f"42/a/{START}": b"1\n"}


def test_a_file_without_lines_is_deleted(site: Site) -> None:
    site.spool.add("42", "a", [b"1"])
    (file,) = site.directory.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    site.spool.add("42", "b", [b"2"])
    for path in site.directory.iterdir():
        if path != file:
            path.unlink()
    site.run(2 * HOUR)
    assert site.world.puts == []
    assert list(site.directory.iterdir()) == []
    assert site.spool.size == 0
