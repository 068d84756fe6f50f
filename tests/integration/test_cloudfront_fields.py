# SPDX-License-Identifier: Apache-2.0
"""What browsers get of optional fields at CloudFront, beyond the edge contract."""

from collections.abc import Iterator
from typing import Any

import pytest

from poppy.model.document.caching import CacheKey, StatusTTL
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.origins import SecretHeader
from poppy.model.secrets import Secret
from poppy.model.specs import Caching, Origin, Rule
from poppy.provider.cloudfront.distribution import plan
from poppy.testing.builders import make_service, make_spec
from poppy.testing.edge import Answer, Reply, Request
from tests.real.cloudfront_events import request_event
from tests.real.cloudfront_plane import CloudFrontPlane
from tests.real.node import run_function

pytestmark = pytest.mark.real

FIRST, SECOND = "first.origin.example", "second.origin.example"
ALL = (Rule("all", "/*"),)


@pytest.fixture(scope="module")
def plane() -> Iterator[CloudFrontPlane]:
    with CloudFrontPlane() as plane:
        yield plane


class Site:
    def __init__(self, plane: CloudFrontPlane, host: str, **fields: Any) -> None:
        self.plane, self.host = plane, host
        plane.deploy(make_service(spec=make_spec([host], **fields)))

    def get(self, path: str, reply: Reply | None = None, **fields: str) -> Answer:
        if reply is not None:
            self.plane.origins.script(path.split("/")[-1], reply)
        return self.plane.send(Request(self.host, path, fields=fields))


def test_ttls_of_errors_apply(plane: CloudFrontPlane) -> None:
    statuses = (StatusTTL(500, 30), StatusTTL(404, 0))
    caching = (Caching("c", 60, ALL, status_ttl=statuses),)
    site = Site(plane, "ttl.example.com", origins=(Origin(FIRST),), caching=caching)

    first = site.get("/a/t1x", Reply(500))
    again = site.get("/a/t1x")
    assert first.status == again.status == 500
    assert first.fields["x-reply"] == again.fields["x-reply"]
    plane.advance(31)
    assert site.get("/a/t1x").fields["x-reply"] != first.fields["x-reply"]
    missing = [site.get("/a/t2x", Reply(404)).fields["x-reply"] for _ in range(2)]
    assert missing[0] != missing[1]


def test_a_page_comes_from_the_origin_of_its_path(plane: CloudFrontPlane) -> None:
    origins = (
        Origin(FIRST),
        Origin(SECOND, hostheadertype="origin", rules=(Rule("e", "/errors/*"),)),
    )
    pages = (ErrorPage("p", (404,), "/errors/t3x"),)
    site = Site(plane, "page.example.com", origins=origins, error_pages=pages)

    found = site.get("/a/t4x", Reply(404, size=500))

    assert (found.status, found.body) == (404, b"t3x 000001\n")
    (seen,) = plane.origins.seen("t3x")
    assert (seen.origin, seen.value("host")) == (SECOND, SECOND)


def test_each_caching_entry_has_its_own_key(plane: CloudFrontPlane) -> None:
    caching = (
        Caching("h", 60, (Rule("h", "/h/*"),), key=CacheKey(headers=("Accept-Language",))),
        Caching("c", 60, (Rule("c", "/c/*"),), key=CacheKey(cookies=("lang",))),
    )
    site = Site(plane, "key.example.com", origins=(Origin(FIRST),), caching=caching)

    def replies(path: str, **fields: Any) -> list[str]:
        return [
            site.get(path, **{name: value}).fields["x-reply"]
            for name, values in fields.items()
            for value in values
        ]

    assert replies("/h/t5x", **{"Accept-Language": ("de", "fr", "de")}) == ["1", "2", "1"]
    assert replies("/c/t6x", Cookie=("lang=de; a=1", "a=2; lang=de", "lang=fr")) == ["1", "1", "2"]
    assert plane.origins.seen("t5x")[0].value("Accept-Language") == "de"
    assert plane.origins.seen("t6x")[0].value("Cookie") == "lang=de"
    assert replies("/o/t7x", **{"Accept-Language": ("de", "fr")}) == ["1", "1"]


def test_origins_have_paths_secrets_and_backups(plane: CloudFrontPlane) -> None:
    secret = SecretHeader("X-Key", Secret("00000001", "s3cret"))
    origins = (
        Origin(FIRST, name="main", path="/site/", secret_header=secret),
        Origin(SECOND, backup_of="main", backup_status=(404, 503)),
    )
    site = Site(plane, "backup.example.com", origins=origins)

    def seen(token: str) -> list[tuple[str, str, str | None]]:
        return [(it.origin, it.target, it.value("X-Key")) for it in plane.origins.seen(token)]

    found = site.get("/a/t8x", **{"x_key": "forged", "X-Key": "forged"})
    assert found.status == 200
    assert seen("t8x") == [(FIRST, "/site/a/t8x", "s3cret")]
    assert plane.origins.seen("t8x")[0].value("x_key") is None
    site.get("/a/t9x", Reply(503), **{"X-Key": "forged"})
    assert seen("t9x") == [(FIRST, "/site/a/t9x", "s3cret"), (SECOND, "/a/t9x", None)]
    site.get("/a/t10x", Reply(500))
    assert [origin for origin, *_ in seen("t10x")] == [FIRST]
    site.get("/a/t11x", Reply(fault="reset"))
    assert [origin for origin, *_ in seen("t11x")] == [FIRST, SECOND]
    plane.origins.script("t12x", Reply(503))
    plane.send(Request(site.host, "/a/t12x", method="POST", body=b"x"))
    assert [origin for origin, *_ in seen("t12x")] == [FIRST]


def test_the_function_sets_the_name_to_verify() -> None:
    origins = (
        Origin(FIRST, 443, True, "origin", verify_name="tls.example.com"),
        Origin(SECOND, 443, True, rules=(Rule("b", "/b/*"),)),
    )
    compiled = plan(make_spec(origins=origins))
    ids = [it["Id"] for it in compiled.origin_config["Items"]]
    events = [request_event(Request("www.example.com", path), {}) for path in ("/a", "/b/c")]

    calls = [it["origin"] for it in run_function(compiled.codes[0], events, ids)]

    name = "tls.example.com"
    assert calls == [
        [
            {
                "id": ids[0],
                "properties": {
                    "hostHeader": FIRST,
                    "sni": name,
                    "allowedCertificateNames": [name],
                },
            }
        ],
        [{"id": ids[1], "properties": {}}],
    ]
