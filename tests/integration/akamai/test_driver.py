# SPDX-License-Identifier: Apache-2.0
"""Options, purges, counts, and refusals before any call to Akamai."""

import datetime
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poppy.common.errors import ConfigError, PermanentError, RetryableError, Unauthorized
from poppy.model.operations import Purge
from poppy.model.specs import Domain
from poppy.provider.akamai.ccu import MOST_BYTES, batches
from poppy.provider.akamai.driver import AkamaiProvider
from poppy.provider.base import Deployment, Metric, Point, Query
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.integration.akamai.conftest import make_provider, template
from tests.integration.akamai.test_convergence import settle
from tests.real import akamai as double
from tests.real.akamai import Akamai

DOMAINS = ("www.a.example", "www.b.example")
UNSET = {"host": None, "client_token": None, "client_secret": None, "access_token": None}


@pytest.fixture
def edgerc(tmp_path: Path) -> Path:
    file = tmp_path / ".edgerc"
    file.write_text(
        f"[cdn]\nhost = h.luna.akamaiapis.net\nclient_token = {double.CLIENT_TOKEN}\n"
        f"client-secret = {double.CLIENT_SECRET}\naccess_token = {double.ACCESS_TOKEN}\n"
    )
    return file


def test_credentials_are_read_from_an_edgerc_file(akamai: Akamai, edgerc: Path) -> None:
    provider = make_provider(akamai, **UNSET, edgerc=str(edgerc), edgerc_section="cdn")
    assert provider.health()
    other = {**UNSET, "client_secret": "another"}
    assert not make_provider(akamai, **other, edgerc=str(edgerc), edgerc_section="cdn").health()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contract": None}, "contract is not set"),
        ({"notify_emails": []}, "notify_emails is not set"),
        ({"client_token": None, "host": None}, "host, client_token: not set here or"),
        ({"edgerc": "/nowhere/.edgerc"}, "/nowhere/.edgerc can't be read: FileNotFound"),
        ({"enrollment_template": "/nowhere"}, "enrollment_template can't be read"),
        ({"compliance_record": {"ticketId": "1"}}, "compliance_record: noncomplianceReason must"),
        (
            {"compliance_record": {"noncomplianceReason": "LATER"}},
            "compliance_record: noncomplianceReason must .*not 'LATER'",
        ),
        (
            {"compliance_record": {"noncomplianceReason": "OTHER"}},
            "compliance_record: OTHER needs otherNoncomplianceReason",
        ),
        (
            {"compliance_record": {"noncomplianceReason": "EMERGENCY", "colour": "red"}},
            "compliance_record: EMERGENCY has no colour",
        ),
        (
            {
                "compliance_record": {
                    "noncomplianceReason": "NONE",
                    "customerEmail": "ops@example.com",
                    "peerReviewedBy": "peer@example.com",
                    "unitTested": "false",
                }
            },
            "compliance_record: unitTested must be true",
        ),
    ],
)
def test_invalid_options(akamai: Akamai, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"\[drivers:provider:akamai\].*{message}"):
        make_provider(akamai, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [("[other]\na = b\n", "no section cdn"), ("the-secret\n", "MissingSectionHeaderError")],
)
def test_an_invalid_edgerc_file_is_not_quoted(
    akamai: Akamai, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / ".edgerc"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        make_provider(akamai, edgerc=str(file), edgerc_section="cdn")
    assert "the-secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_secrets_are_not_logged_or_shown(akamai: Akamai, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    provider = make_provider(akamai)
    provider.ensure(make_service(), None)
    akamai.restart(lambda _call: "dead")
    with pytest.raises(RetryableError) as caught:
        provider.ensure(make_service(), None)
    said = caplog.text + str(caught.value)
    assert "akamai: GET" in said
    for secret in (double.CLIENT_SECRET, double.CLIENT_TOKEN, double.ACCESS_TOKEN, "EG1-HMAC"):
        assert secret not in said


def test_a_wrong_signature_is_refused_with_akamais_message(akamai: Akamai) -> None:
    provider = make_provider(akamai, client_secret="another")
    with pytest.raises(Unauthorized, match="401: Problem 401: wrong signature"):
        provider.ensure(make_service(), None)
    assert not provider.health()


def test_another_account_is_named_in_every_call(akamai: Akamai) -> None:
    make_provider(akamai, account_switch_key="1-ABC:2-DEF").ensure(make_service(), None)
    assert all("accountSwitchKey=1-ABC%3A2-DEF" in call for call in akamai.calls)


def test_health(akamai: Akamai, provider: AkamaiProvider) -> None:
    assert provider.health()
    akamai.restart(lambda _call: 503)
    assert not provider.health()


@pytest.mark.parametrize("hard", [True, False])
def test_a_path_is_purged_of_each_domain(
    akamai: Akamai, provider: AkamaiProvider, hard: bool
) -> None:
    service = make_service(domains=DOMAINS)
    known = known_from(settle(provider, service))
    provider.purge(service, known, Purge("/a b/ü%20?q=1", hard))
    urls = [f"http://{domain}/a%20b/%C3%BC%20?q=1" for domain in DOMAINS]
    action = "delete" if hard else "invalidate"
    assert akamai.edge.purges == [(action, "url", "production", urls)]


def test_many_paths_are_purged_together(akamai: Akamai, provider: AkamaiProvider) -> None:
    service = make_service()
    known = known_from(settle(provider, service))
    provider.purge(service, known, Purge("/a", True, ("/b",)))
    provider.purge(service, known, Purge("/a", True, ("/b*",)))
    kinds = [kind for _action, kind, _network, _objects in akamai.edge.purges]
    assert kinds == ["url", "tag", "cpcode"]
    urls, tags = (objects for _action, _kind, _network, objects in akamai.edge.purges[:2])
    assert [url.rpartition("/")[2] for url in urls] == ["a", "b"]
    assert [tag.rpartition("/")[2] for tag in tags] == ["a", "b"]


@pytest.mark.parametrize("url", [None, "/images/*.png"])
def test_all_and_patterns_are_purged_by_the_services_cp_code(
    akamai: Akamai, provider: AkamaiProvider, url: str | None
) -> None:
    service, other = make_service(), make_service()
    known = known_from(settle(provider, service))
    settle(provider, other)
    provider.purge(service, known, Purge(url, True))
    ((_action, _kind, _network, objects),) = akamai.edge.purges
    names = [akamai.papi.cp_codes[number] for number in objects]
    assert names == [f"poppy-{service.service_id}"]


def test_purges_go_to_the_network_of_the_services(akamai: Akamai) -> None:
    provider, service = make_provider(akamai, network="STAGING"), make_service()
    known = known_from(settle(provider, service))
    provider.purge(service, known, Purge("/a", True))
    assert akamai.edge.purges[0][2] == "staging"


def test_urls_are_sent_in_as_few_requests_as_fit() -> None:
    urls = [f"http://www.example.com/{'ü' * 300}/{number}" for number in range(100)]
    found = list(batches(urls))
    sizes = [len(json.dumps({"objects": batch})) for batch in found]
    assert [url for batch in found for url in batch] == urls
    assert max(sizes) <= MOST_BYTES < sizes[0] + len(json.dumps(urls[0])) + 2
    assert list(batches([])) == []


def test_a_purge_before_anything_serves_fails(akamai: Akamai, provider: AkamaiProvider) -> None:
    service = make_service()
    provider._properties.make(service)
    with pytest.raises(PermanentError, match="no CP code"):
        provider.purge(service, None, Purge(None, True))


def query(metric: Metric, hours: float = 1.0) -> Query:
    start = datetime.datetime(2026, 11, 1, 10, 2, 3, tzinfo=datetime.UTC)
    return Query(DOMAINS[0], metric, start, start + datetime.timedelta(hours=hours))


@pytest.mark.parametrize(
    ("metric", "count"),
    [
        (Metric.REQUEST_COUNT, 600),
        (Metric.BANDWIDTH_OUT, 37500),
        (Metric.RESPONSES_2XX, 300),
        (Metric.RESPONSES_5XX, 300),
    ],
)
def test_counts_are_the_sums_of_each_interval(
    provider: AkamaiProvider, metric: Metric, count: int
) -> None:
    service = make_service(domains=DOMAINS)
    known = known_from(settle(provider, service))
    found = provider.metrics(service, known, query(metric))["Global"]
    first = datetime.datetime(2026, 11, 1, 10, 0, tzinfo=datetime.UTC)
    assert len(found) == 13
    assert found[0] == Point(first, count)
    assert found[-1] == Point(first + datetime.timedelta(hours=1), count)


def test_intervals_without_traffic_are_missing(provider: AkamaiProvider) -> None:
    service = make_service()
    known = known_from(settle(provider, service))
    assert provider.metrics(service, known, query(Metric.RESPONSES_3XX)) == {"Global": []}
    with pytest.raises(PermanentError, match="does not count cacheHits"):
        provider.metrics(service, known, query(Metric.CACHE_HITS))


@pytest.mark.parametrize(("hours", "step"), [(7, 1), (24 * 40, 24)])
def test_longer_periods_have_longer_intervals(
    provider: AkamaiProvider, hours: float, step: int
) -> None:
    service = make_service()
    known = known_from(settle(provider, service))
    found = provider.metrics(service, known, query(Metric.REQUEST_COUNT, hours))["Global"]
    assert found[1].timestamp - found[0].timestamp == datetime.timedelta(hours=step)
    assert found[0].value == 2 * step * 3600


@pytest.mark.parametrize("hours", [24 * 90, 24 * 366])
def test_a_period_beyond_akamais_limit_is_refused(
    akamai: Akamai, provider: AkamaiProvider, hours: float
) -> None:
    service = make_service()
    known = known_from(settle(provider, service))
    with pytest.raises(PermanentError, match="cover 90 days at most, not"):
        provider.metrics(service, known, query(Metric.REQUEST_COUNT, hours))
    assert not any("reporting-api" in call for call in akamai.calls)


@pytest.mark.parametrize(
    "rows",
    [
        None,
        ["text"],
        [{"edgeHitsSum": 1}],
        [{"time5minutes": "today", "edgeHitsSum": 1}],
        [{"time5minutes": 10**30, "edgeHitsSum": 1}],
        [{"time5minutes": 1793527200, "edgeHitsSum": "many"}],
    ],
)
def test_a_report_that_can_not_be_read_is_retryable(
    akamai: Akamai, provider: AkamaiProvider, monkeypatch: pytest.MonkeyPatch, rows: Any
) -> None:
    service = make_service()
    known = known_from(settle(provider, service))
    answer: Callable[..., Any] = akamai._do

    def broken(handler: Any, body: bytes) -> Any:
        if "reporting-api" in handler.path:
            return 200, {}, {"data": rows}
        return answer(handler, body)

    monkeypatch.setattr(akamai, "_do", broken)
    with pytest.raises(RetryableError, match="report can't be read"):
        provider.metrics(service, known, query(Metric.REQUEST_COUNT))


def test_reports_of_version_1_are_gone(akamai: Akamai, provider: AkamaiProvider) -> None:
    """Show that the double has turned off what Akamai has."""
    with pytest.raises(PermanentError, match="404"):
        provider._session.json(
            "POST", "/reporting-api/v1/reports/hits-by-time/versions/1/report-data", json={}
        )


def test_counts_of_a_missing_service_are_refused(provider: AkamaiProvider) -> None:
    with pytest.raises(PermanentError, match="no service"):
        provider.metrics(make_service(), None, query(Metric.REQUEST_COUNT))


def test_a_domain_that_is_too_long_for_akamai_is_refused(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service(domains=(f"www.{'a' * 50}.example.com",))
    with pytest.raises(PermanentError, match="too long for a name at Akamai: 60"):
        provider.check(service.spec)
    with pytest.raises(PermanentError, match="too long"):
        provider.ensure(service, None)
    assert akamai.calls == []
    shared = make_provider(akamai, http_edge_hostname="cdn.example.edgesuite.net")
    shared.check(service.spec)


def test_a_refused_document_changes_nothing(akamai: Akamai, provider: AkamaiProvider) -> None:
    service = make_service(domains=DOMAINS)
    settle(provider, service)
    akamai.restart()
    origin = replace(service.spec.origins[0], origin="2001:db8::1")
    spec = replace(service.spec, origins=(origin,))
    with pytest.raises(PermanentError, match="2001:db8::1"):
        provider.ensure(replace(service, spec=spec), None)
    assert akamai.calls == []


def test_an_http_domain_is_asked_for_by_http(akamai: Akamai, provider: AkamaiProvider) -> None:
    service = make_service(domains=DOMAINS[:1])
    assert service.spec.domains == (Domain(DOMAINS[0]),)
    found = settle(provider, service)
    assert found.access_urls == {DOMAINS[0]: f"{DOMAINS[0]}.edgesuite.net"}
    assert akamai.papi.version(found.provider_service_id)["rules"]["options"] == {
        "is_secure": False
    }


def test_protocols_are_enabled_for_secure_properties_only(akamai: Akamai, tmp_path: Path) -> None:
    options = {"http2": True, "http3": True, "enrollment_template": template(tmp_path)}
    provider = make_provider(akamai, allow_https_downgrade=True, **options)
    plain = make_service(domains=DOMAINS[:1])
    secure = make_service(domains=DOMAINS[1:])
    domains = (Domain(DOMAINS[1], "https", "sni"),)
    secure = replace(secure, spec=replace(secure.spec, domains=domains))

    found = [behaviors(akamai, settle(provider, service)) for service in (plain, secure)]

    assert not {"http2", "http3"} & set(found[0])
    assert (found[1]["http2"], found[1]["http3"]) == ({}, {"enable": True})


def test_large_files_are_optional(akamai: Akamai, provider: AkamaiProvider) -> None:
    service = make_service()
    assert "largeFileOptimization" not in behaviors(akamai, settle(provider, service))

    found = behaviors(akamai, settle(make_provider(akamai, large_files=True), service))

    options = found["largeFileOptimization"]
    assert options["enabled"]
    assert options["enablePartialObjectCaching"] == "PARTIAL_OBJECT_CACHING"


def behaviors(akamai: Akamai, found: Deployment) -> dict[str, Any]:
    """Return the options of a property's default rule by behaviour."""
    rules = akamai.papi.version(found.provider_service_id)["rules"]
    return {one["name"]: one["options"] for one in rules["behaviors"]}


def test_a_response_without_json_is_retryable(
    akamai: Akamai, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(akamai, "_do", lambda *_: (200, {}, "a text"))
    with pytest.raises(RetryableError, match="no JSON object"):
        make_provider(akamai).ensure(make_service(), None)


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """Restore the log levels of Akamai's library after a test."""
    logger = logging.getLogger("akamai.edgegrid")
    before = logger.level
    yield
    logger.setLevel(before)
