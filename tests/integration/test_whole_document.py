# SPDX-License-Identifier: Apache-2.0
"""One document with every field goes through its life at each vendor's double."""

import base64
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import webtest

from poppy.model.services import Status
from poppy.provider.base import Capability, Provider
from poppy.testing.builders import make_flavor
from tests.certificates import Signed
from tests.functional.harness import PROJECT, Harness
from tests.integration.akamai.conftest import make_provider as make_akamai
from tests.integration.akamai.conftest import template
from tests.integration.fastly.conftest import make_provider as make_fastly
from tests.real.akamai import Akamai
from tests.real.cloudfront import make_provider as make_cloudfront
from tests.real.fastly import Fastly
from tests.real.moto import Moto
from tests.whole_document import PARTS, SECRETS, TLS_PARTS, Part, kept, refused, whole

pytestmark = pytest.mark.real

DOMAIN = "www.example.org"


class Vendor(NamedTuple):
    """A provider and its double.

    Attributes:
        issue: makes the double issue certificates that were ordered.
        parts: the parts of the document that are not refused for each other.
        brought: a further domain, with a certificate that the tenant brings.
    """

    provider: Provider
    issue: Callable[[], None] = lambda: None
    parts: Collection[Part] = (*PARTS, *TLS_PARTS)
    brought: str | None = None


@pytest.fixture
def fastly(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    monkeypatch.setattr("poppy.provider.fastly.driver._POLL", 0.1)
    with Fastly() as double:
        yield Vendor(
            make_fastly(double),
            lambda: double.tls.set_state(DOMAIN, "issued"),
            brought="brought.example.org",
        )


@pytest.fixture
def cloudfront() -> Iterator[Vendor]:
    with Moto() as double:
        # It fetches error pages without the name to verify of their origin.
        yield Vendor(make_cloudfront(double, cache_tag_header="Cache-Tag"), parts=PARTS)


@pytest.fixture
def akamai(tmp_path: Path) -> Iterator[Vendor]:
    with Akamai() as double:
        yield Vendor(make_akamai(double, enrollment_template=template(tmp_path)))


def base(flavor: str, brought: str | None) -> dict[str, Any]:
    kinds = {DOMAIN: "sni"} | ({brought: "custom"} if brought else {})
    return {
        "name": "whole",
        "flavor_id": flavor,
        "domains": [
            {"domain": domain, "protocol": "https", "certificate": kind}
            for domain, kind in kinds.items()
        ],
        "origins": [{"origin": "origin.example.net", "port": 443, "ssl": True}],
        "caching": [{"name": "c", "ttl": 60}],
    }


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("fastly", ()),
        # A function of CloudFront has 10 KB, which are not enough for all fields together.
        ("cloudfront", ("restrictions", "signed_urls")),
        ("cloudfront", ("cors", "redirects", "headers")),
        ("akamai", ()),
    ],
)
def test_document_with_every_field_lives_at_a_vendor(
    name: str, without: Sequence[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    vendor: Vendor = request.getfixturevalue(name)
    provider = vendor.provider
    parts = [part for part in vendor.parts if part.fields.keys().isdisjoint(without)]
    (tmp_path / "store").mkdir()
    key = base64.b64encode(os.urandom(32)).decode()
    poppy: Any = Harness(tmp_path / "store", {"document_secrets": {"encryption_keys": key}})
    provider.conf.set_override("encryption_keys", [key], group="document_secrets")
    poppy.boot.providers[name] = provider
    poppy.storage.flavors.create(make_flavor(name, [name]))
    app = webtest.TestApp(
        poppy.boot.transport.application, extra_environ={"HTTP_X_PROJECT_ID": PROJECT}
    )
    for part in refused(provider.supports, parts):
        answer = app.post_json(
            "/v1.0/services", whole(base(name, vendor.brought), [part]), status=400
        )
        lacking = part.needs - provider.supports
        assert any(str(capability) in answer.text for capability in lacking)
        assert f"'{name}'" in answer.text

    document = whole(base(name, vendor.brought), kept(provider.supports, parts))
    answer = app.post_json("/v1.0/services", document, status=202)
    url = answer.headers["Location"].removeprefix("http://localhost")
    service_id = url.rpartition("/")[2]
    with poppy.working():

        def is_finished() -> bool:
            vendor.issue()
            return all(it.state.finished for it in poppy.operations(service_id))

        def check_deployed() -> None:
            poppy.wait(is_finished, 60)
            found = poppy.get(service_id)
            assert found.status is Status.DEPLOYED, found.errors

        check_deployed()
        shown = app.get(url)
        for field in document.keys() - {"domains", "origins", "caching"}:
            assert field in shown.json
        assert not [secret for secret in SECRETS if secret in shown.text]

        if vendor.brought is not None:
            brought = f"{url}/certificates/{vendor.brought}"
            site = Signed("site", names=[vendor.brought])
            app.put_json(brought, {"chain": site.pem, "key": site.key_pem}, status=202)
            check_deployed()
            assert poppy.get(service_id).errors == ()
            assert app.get(brought).json["fingerprint"] == site.fingerprint

        patch = [{"op": "replace", "path": "/caching/0/ttl", "value": 120}]
        app.patch_json(url, patch, status=202)
        check_deployed()
        if Capability.BROWSER_TTL in provider.supports:
            assert app.get(url).json["caching"][0]["browser_ttl"] == 5

        assert Capability.PURGE_TAG in provider.supports
        app.delete(f"{url}/assets?tag=news&hard=true", status=202)
        check_deployed()
        assert poppy.states(service_id)[-1] == ("purge", "succeeded")

        known = poppy.get(service_id).provider_details[name]
        assert provider.inspect(poppy.get(service_id), known).differences == ()

        app.delete(url, status=202)
        poppy.wait(is_finished, 60)
        app.get(url, status=404)
    poppy.close()
