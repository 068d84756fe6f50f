# SPDX-License-Identifier: Apache-2.0
"""Service lifecycles at Akamai, with every request checked against the vendor's OpenAPI documents.

Prism is a proxy between the driver and the double of Akamai, so one run checks the order and form
of the calls as well as the double's responses.
"""

import contextlib
import datetime
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poppy.common.errors import InProgressError, PermanentError
from poppy.model.certificates import Certificate
from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.model.specs import (
    Caching,
    Domain,
    Origin,
    Restriction,
    Rule,
)
from poppy.provider.akamai import cps
from poppy.provider.akamai.driver import AkamaiProvider
from poppy.provider.base import Deployment, Metric, Query
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.integration.akamai.conftest import make_provider, template
from tests.real.akamai import Akamai
from tests.real.prism import Prism, specification

pytestmark = pytest.mark.real

#: By the first segment of the path: the vendor's document, and the base path of its API. There is
#: none of Reporting v2.
_APIS = {
    "papi": ("papi-v1", "/papi/v1"),
    "ccu": ("ccu-v3", "/ccu/v3"),
    "cps": ("cps-v2", "/cps/v2"),
}


def with_media_types_of_ours(document: Path, directory: Path) -> Path:
    """Return a copy in which each operation has only the media type that the driver uses.

    Prism uses the first media type in a list for every request with a vendor media type.
    """
    source = Path(cps.__file__).read_text(encoding="utf-8")
    used = set(re.findall(r"[a-z-]+[.]v[0-9]+[+]json", source))

    def narrowed(found: Any) -> Any:
        if isinstance(found, list):
            return [narrowed(entry) for entry in found]
        if not isinstance(found, dict):
            return found
        result = {key: narrowed(entry) for key, entry in found.items()}
        content = result.get("content")
        if isinstance(content, dict) and len(content) > 1:
            # Where the driver uses two media types, they belong to different operations.
            ours = [k for k in content if k.removeprefix(cps.MEDIA_TYPE) in used]
            ours.sort(key=lambda name: "challenges" not in name)
            result["content"] = {name: content[name] for name in ours[:1]} or content
        return result

    copy = directory / document.name
    copy.write_text(json.dumps(narrowed(json.loads(document.read_text(encoding="utf-8")))))
    return copy


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Akamai]:
    with contextlib.ExitStack() as stack:
        documents = {api: specification("akamai", name) for api, (name, _) in _APIS.items()}
        directory = tmp_path_factory.mktemp("documents")
        documents["cps"] = with_media_types_of_ours(documents["cps"], directory)
        akamai = stack.enter_context(Akamai())
        proxies = {
            api: stack.enter_context(Prism(documents[api], akamai.inner_url + path))
            for api, (_name, path) in _APIS.items()
        }
        for api, prism in proxies.items():
            prism.wait()
            akamai.contracts[api] = (prism.host, prism.port)
        yield akamai


@pytest.fixture
def akamai(running: Akamai) -> Iterator[Akamai]:
    running.restart()
    running.violations = []
    yield running
    assert "\n".join(running.violations) == ""
    assert running.calls


def settle(
    provider: AkamaiProvider, service: Service, known: Deployment | None = None
) -> Deployment:
    for _ in range(50):
        try:
            found = provider.ensure(service, known_from(known) if known else None)
        except InProgressError:
            continue
        if not found.in_progress:
            return found
        known = found
    raise AssertionError("it is never done")


def take_away(provider: AkamaiProvider, service: Service, known: Deployment) -> None:
    for _ in range(50):
        with contextlib.suppress(InProgressError):
            provider.remove(service, known_from(known))
            return
    raise AssertionError("it is never done")


def everything(service: Service, certificate: str | None) -> Service:
    """Return the service with two origins, three caching rules, and each kind of restriction."""
    domains = tuple(
        Domain(one.domain, "https" if certificate else "http", certificate)
        for one in service.spec.domains
    )
    origins = (
        Origin("one.origin.example", port=443, ssl=True, rules=(Rule("all", "/*"),)),
        Origin(
            "two.origin.example",
            port=443,
            ssl=True,
            hostheadertype="custom",
            hostheadervalue="www.two.example",
            rules=(Rule("images", "/images/*"), Rule("icons", "/images/icons/*")),
        ),
    )
    caching = (
        Caching("default", 3600, (Rule("default", "/*"),)),
        Caching("images", 86400, (Rule("images", "/images/*"),)),
        Caching("live", 0, (Rule("live", "/live/*"),)),
    )
    restrictions = (
        Restriction("where", "whitelist", (Rule("us", "/*", geography="United States"),)),
        Restriction("who", "blacklist", (Rule("bad", "/*", client_ip="192.0.2.0/24"),)),
        Restriction("from", "whitelist", (Rule("us", "/images/*", referrer="www.example.com"),)),
        Restriction("not", "blacklist", (Rule("spam", "/*", referrer="spam.example.com"),)),
    )
    spec = replace(
        service.spec,
        domains=domains,
        origins=origins,
        caching=caching,
        restrictions=restrictions,
    )
    return replace(service, spec=spec)


def test_service_lifecycle(akamai: Akamai) -> None:
    provider = make_provider(akamai)
    service = everything(make_service(domains=("www.life.example", "img.life.example")), None)

    made = settle(provider, service)
    changed = replace(
        service,
        spec=replace(
            service.spec,
            caching=service.spec.caching[:2],
            domains=(*service.spec.domains[:1], Domain("new.life.example")),
        ),
    )
    updated = settle(provider, changed, made)
    assert updated.provider_service_id == made.provider_service_id
    assert set(akamai.papi.serving()) == {"www.life.example", "new.life.example"}
    for url in ("/images/a%20b.png", "/images/*", None):
        for hard in (True, False):
            provider.purge(changed, known_from(updated), Purge(url, hard))
    for hard in (True, False):
        provider.purge(changed, known_from(updated), Purge(None, hard, tags=("blue",)))
    for metric in set(Metric) - {Metric.CACHE_HITS}:
        provider.metrics(changed, known_from(updated), query("www.life.example", metric))
    assert provider.health()
    take_away(provider, changed, updated)

    assert akamai.papi.properties == {}
    assert akamai.dom.claims == {}
    called = {call.split("?")[0].split("/")[1] for call in akamai.calls}
    assert called == {"papi", "ccu", "reporting-api", "domain-validation"}


def test_lifecycle_with_a_certificate_per_domain(akamai: Akamai, tmp_path: Path) -> None:
    provider = make_provider(akamai, enrollment_template=template(tmp_path))
    service = everything(make_service(domains=("www.sni.example",)), "sni")
    akamai.cps.automatic = False

    for _ in range(3):
        waiting = provider.ensure(service, None)
    assert "_acme-challenge.www.sni.example" in waiting.message
    akamai.cps.validate()
    made = settle(provider, service, waiting)
    assert made.certificates == {"www.sni.example": "deployed"}
    take_away(provider, service, made)

    assert akamai.papi.properties == {}
    assert akamai.cps.enrollments == {}


def test_lifecycle_with_default_certificates(akamai: Akamai) -> None:
    provider = make_provider(akamai, default_certificates=True)
    names = ("www.default.example", "img.default.example")
    service = everything(make_service(domains=names), "sni")
    akamai.papi.default.automatic = False

    waiting = provider.ensure(service, None)
    assert {str(one.type) for one in waiting.records if one.purpose == "certificate"} == {"CNAME"}
    akamai.papi.default.publish(*names)
    made = settle(provider, service, waiting)
    assert made.certificates == dict.fromkeys(names, "deployed")
    take_away(provider, service, made)

    assert akamai.papi.properties == {}


def test_lifecycle_with_a_shared_certificate(akamai: Akamai) -> None:
    akamai.cps.automatic = True
    number = akamai.cps.add("san.cdn.example")
    provider = make_provider(akamai, san_certs=[number])
    service = everything(make_service(domains=("www.san.example",)), "san")

    made = settle(provider, service)
    assert made.access_urls == {"www.san.example": "san.cdn.example.edgekey.net"}
    take_away(provider, service, made)

    assert akamai.cps.enrollments[number]["document"]["csr"]["sans"] == ["san.cdn.example"]


def test_certificate_ordered_on_its_own(akamai: Akamai, tmp_path: Path) -> None:
    akamai.cps.automatic = True
    provider = make_provider(akamai, enrollment_template=template(tmp_path))
    order = Certificate("p", "www.alone.example", "sni", "f")

    found = None
    for _ in range(10):
        found = provider.ensure_certificate(order, found)
    assert found is not None and found.status == "deployed"
    provider.remove_certificate(order, found)

    assert akamai.cps.named("www.alone.example") == []


def test_prism_reports_invalid_requests(akamai: Akamai) -> None:
    """Show that a violation would make the tests above fail."""
    with pytest.raises(PermanentError):
        make_provider(akamai)._session.json("POST", "/papi/v1/properties", json={"productId": 1})
    assert any("propertyName" in violation for violation in akamai.violations)
    akamai.violations = []


def query(domain: str, metric: Metric) -> Query:
    end = datetime.datetime(2026, 11, 1, 12, 34, 56, tzinfo=datetime.UTC)
    return Query(domain, metric, end - datetime.timedelta(hours=3), end)
