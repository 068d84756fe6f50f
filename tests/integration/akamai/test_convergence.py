# SPDX-License-Identifier: Apache-2.0
"""After lost replies, refusals and repeated calls, one property remains and serves."""

import concurrent.futures
import contextlib
import datetime
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from poppy.common.errors import DriverError, InProgressError, PermanentError, RetryableError
from poppy.model.services import Service
from poppy.model.specs import Caching, Rule
from poppy.provider.akamai.driver import AkamaiProvider
from poppy.provider.base import Deployment
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.integration.akamai.conftest import make_provider
from tests.real.akamai import Akamai

DOMAINS = ("www.a.example", "www.b.example")


def settle(
    provider: AkamaiProvider, service: Service, known: Deployment | None = None
) -> Deployment:
    """Act like a worker: repeat after retryable errors, with the result of the last call."""
    for _ in range(60):
        try:
            found = provider.ensure(service, known_from(known) if known else None)
        except (RetryableError, InProgressError):
            continue
        if not found.in_progress:
            return found
        known = found
    raise AssertionError("it is never done")


def take_away(provider: AkamaiProvider, service: Service) -> None:
    for _ in range(60):
        with contextlib.suppress(RetryableError, InProgressError):
            provider.remove(service, None)
            return
    raise AssertionError("it is never done")


def distinct(calls: Sequence[str]) -> Sequence[int]:
    """Return the numbers of calls, from 1, of which a failure has an effect of its own.

    These are all writes, the first read of each kind, and the first read after each write: an
    attempt that ends at another read between the same writes leaves the same state.
    """
    found, seen = [], set()
    writes = 0
    for number, call in enumerate(calls, 1):
        if call.startswith("GET ") or "/search" in call:
            marks = {re.sub(r"\d+", "N", call), writes}
            if marks <= seen:
                continue
            seen |= marks
        else:
            writes += 1
        found.append(number)
    return found


def changed(service: Service) -> Service:
    caching = (Caching("changed", 60, (Rule("changed", "/changed/*"),)),)
    return replace(service, spec=replace(service.spec, caching=caching))


def state(akamai: Akamai, service: Service) -> dict[str, Any]:
    """Return the state of a service, without details that depend on its history."""
    (key,) = akamai.papi.named(f"poppy-{service.service_id}")
    found = akamai.papi.properties[key]
    active = found["active"]["PRODUCTION"]
    names = {entry["cnameFrom"]: entry["cnameTo"] for entry in found["versions"][-1]["hostnames"]}
    codes = [name for name in akamai.papi.cp_codes.values() if service.service_id in name]
    edges = [edge["edgeHostnameDomain"] for edge in akamai.papi.edge_hostnames.values()]
    return {
        "latest is active": active == len(found["versions"]),
        "versions": len(found["versions"]),
        "caching": str(found["versions"][-1]["rules"]["children"][2]),
        "names": names,
        "CP codes": len(codes),
        "edges": sorted(edges),
        "served": {name: key for name, (key, _) in akamai.papi.serving().items()} and names,
    }


@pytest.mark.nightly
@pytest.mark.parametrize("fate", ["lost", 429])
def test_a_failure_of_any_call_is_recovered_by_later_attempts(fate: str | int) -> None:
    service = make_service(domains=DOMAINS)
    with Akamai() as akamai:
        akamai.papi.takes = 1
        provider = make_provider(akamai)
        known = settle(provider, service)
        settle(provider, changed(service), known)
        wanted = state(akamai, service)
        take_away(provider, changed(service))
        numbers = distinct(akamai.calls)
    assert len(numbers) > 30
    for turn, number in enumerate(numbers):
        with Akamai() as akamai:
            akamai.papi.takes = 1
            akamai.restart(lambda call, number=number: fate if call == number else "ok")
            provider = make_provider(akamai)
            known = settle(provider, service)
            # In each second turn, simulate the loss of the first answers.
            settle(provider, changed(service), known if turn % 2 else None)
            assert state(akamai, service) == wanted, number
            take_away(provider, changed(service))
            assert akamai.papi.properties == {}, number
            assert akamai.dom.claims == {}, number


def test_a_storm_of_429_and_lost_replies_leaves_one_property(akamai: Akamai) -> None:
    fates: list[str | int] = ["ok", "lost", 429, 429, "dead"]
    akamai.restart(lambda call: fates[call * 7 % 5])
    provider, service = make_provider(akamai), make_service(domains=DOMAINS)
    for _ in range(400):
        with contextlib.suppress(DriverError):
            if not provider.ensure(service, None).in_progress:
                break
    akamai.restart()

    settle(provider, service)

    assert len(akamai.papi.properties) == 1
    assert state(akamai, service)["latest is active"]


def test_concurrent_workers_create_one_property(akamai: Akamai) -> None:
    service = make_service(domains=DOMAINS)
    barrier = threading.Barrier(4)
    providers = [make_provider(akamai) for _ in range(4)]

    def work(provider: AkamaiProvider) -> Deployment:
        barrier.wait(timeout=60)
        return settle(provider, service)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = list(pool.map(work, providers))

    assert len({one.provider_service_id for one in found}) == 1
    assert len(akamai.papi.properties) == 1
    settle(make_provider(akamai), service)
    assert state(akamai, service)["latest is active"]


def test_a_property_missing_in_the_search_is_found(
    akamai: Akamai, provider: AkamaiProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(domains=DOMAINS)
    first = settle(provider, service)
    monkeypatch.setattr(provider._properties._papi, "find", lambda _name: None)

    assert settle(provider, service, None) == first


def test_nothing_is_written_without_a_difference(akamai: Akamai, provider: AkamaiProvider) -> None:
    service = make_service(domains=DOMAINS)
    known = settle(provider, service)
    akamai.restart()

    provider.ensure(service, known_from(known))

    assert {call.split()[0] for call in akamai.calls} == {"GET"}
    assert len(akamai.calls) <= 5


def test_a_draft_is_reused_and_an_active_version_is_copied(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service(domains=DOMAINS)
    known = settle(provider, service)
    akamai.papi.refused = {"caching"}
    with pytest.raises(PermanentError, match=r"refuses the rules.*Invalid: caching"):
        provider.ensure(changed(service), known_from(known))
    assert state(akamai, service)["versions"] == 2
    akamai.papi.refused = set()

    settle(provider, changed(service), known)

    assert state(akamai, service)["versions"] == 2
    assert state(akamai, service)["latest is active"]


def test_manual_changes_are_reverted(akamai: Akamai, provider: AkamaiProvider) -> None:
    service = make_service(domains=DOMAINS)
    known = settle(provider, service)
    wanted = state(akamai, service)
    akamai.papi.version(known.provider_service_id)["rules"]["behaviors"].pop()

    settle(provider, service, known)

    assert state(akamai, service) == {**wanted, "versions": 2}


def test_a_concurrently_changed_draft_is_read_again(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service(domains=DOMAINS)

    def interfere(call: int) -> str:
        if akamai.calls[-1].startswith("PUT") and "/hostnames" in akamai.calls[-1]:
            for found in akamai.papi.properties.values():
                found["versions"][-1]["ruleFormat"] += "x"
                akamai.plan = lambda _call: "ok"
        return "ok"

    akamai.restart(interfere)
    with pytest.raises(RetryableError, match="changed concurrently") as caught:
        provider.ensure(service, None)
    assert caught.value.retry_after is not None
    settle(provider, service)
    assert state(akamai, service)["latest is active"]


def test_dropped_options_are_reported_and_create_no_endless_versions(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service(domains=DOMAINS)
    akamai.papi.dropped = {"originSni"}
    for _ in range(3):
        with pytest.raises(PermanentError, match=r"does not store .*originSni.*rule_format"):
            provider.ensure(service, None)
    (key,) = akamai.papi.properties
    assert len(akamai.papi.properties[key]["versions"]) == 1


def test_an_activation_is_polled_after_akamais_estimate(akamai: Akamai) -> None:
    provider, service = make_provider(akamai, poll_after=99), make_service()
    akamai.dom.own("example.com")
    akamai.papi.takes = None
    first = provider.ensure(service, None)
    assert (first.in_progress, first.poll_after) == (True, 99)

    again = provider.ensure(service, known_from(first))

    assert (again.in_progress, again.poll_after) == (True, 7)
    assert sum("POST" in call and "/activations" in call for call in akamai.calls) == 1


def test_a_failed_activation_is_retried_a_few_times(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service()
    akamai.papi.outcomes = ["FAILED", "ABORTED"]
    settle(provider, service)
    assert state(akamai, service)["versions"] == 1

    akamai.papi.outcomes = ["FAILED"] * 3
    with pytest.raises(PermanentError, match="Activation failed: the reason"):
        settle(provider, changed(service))
    assert akamai.papi.serving()  # The previous version still serves.

    # An hour later, the next call gets another attempt.
    (found,) = akamai.papi.properties.values()
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)
    for activation in found["activations"]:
        activation["updateDate"] = long_ago.isoformat()
    settle(provider, changed(service))
    assert state(akamai, service)["latest is active"]


def test_a_refused_activation_fails_with_akamais_message(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    other, service = make_service(domains=("www.x.example",)), make_service()
    settle(provider, other)
    taken = replace(service, spec=other.spec)
    with pytest.raises(PermanentError, match="can't be activated.*www.x.example"):
        provider.ensure(taken, None)


def test_warnings_are_logged_and_acknowledged(
    akamai: Akamai, provider: AkamaiProvider, caplog: pytest.LogCaptureFixture
) -> None:
    service = make_service()
    akamai.dom.own("example.com")
    akamai.papi.warnings = [f"the text {number}" for number in range(9)]

    settle(provider, service)

    (record,) = [one for one in caplog.records if one.levelname == "WARNING"]
    said = record.getMessage()
    (key,) = akamai.papi.properties
    assert f"rules of property {key}: " in said
    assert "Warning: the text 0; Warning: the text 1" in said
    assert "the text 8" not in said  # Their number is limited.
    assert state(akamai, service)["latest is active"]


@pytest.mark.parametrize(
    "record",
    [
        {"noncomplianceReason": "EMERGENCY"},
        {"noncomplianceReason": "NO_PRODUCTION_TRAFFIC", "ticketId": "T-1"},
        {"noncomplianceReason": "OTHER", "otherNoncomplianceReason": "automatic"},
        {
            "noncomplianceReason": "NONE",
            "customerEmail": "ops@example.com",
            "peerReviewedBy": "peer@example.com",
            "unitTested": "true",
        },
    ],
)
def test_a_compliance_record_is_sent_to_production(akamai: Akamai, record: dict[str, str]) -> None:
    akamai.papi.needs_compliance = True
    provider, service = make_provider(akamai, compliance_record=record), make_service()
    settle(provider, service)
    take_away(provider, service)
    assert akamai.papi.properties == {}


def test_a_missing_compliance_record_is_named(akamai: Akamai, provider: AkamaiProvider) -> None:
    akamai.papi.needs_compliance = True
    with pytest.raises(PermanentError, match="needs the option compliance_record"):
        settle(provider, make_service())


def test_staging_gets_no_compliance_record(akamai: Akamai) -> None:
    record = {"noncomplianceReason": "EMERGENCY"}
    provider = make_provider(akamai, network="STAGING", compliance_record=record)
    settle(provider, make_service())
    assert b"complianceRecord" not in b"".join(akamai.bodies)


def test_deactivation_comes_before_removal(akamai: Akamai, provider: AkamaiProvider) -> None:
    service = make_service(domains=DOMAINS)
    known = settle(provider, service)
    akamai.papi.takes = None
    with pytest.raises(InProgressError):
        provider.remove(service, known_from(known))
    with pytest.raises(InProgressError) as caught:
        provider.remove(service, known_from(known))
    assert caught.value.poll_after == 7
    assert len(akamai.papi.properties) == 1
    akamai.papi.takes = 0
    take_away(provider, service)
    assert akamai.papi.properties == {}


def test_a_service_is_removed_in_the_middle_of_its_activation(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service(domains=DOMAINS)
    provider.ensure(service, None)
    take_away(provider, service)
    assert akamai.papi.properties == {}


def test_staging_names_are_used_on_staging(akamai: Akamai) -> None:
    provider, service = make_provider(akamai, network="STAGING"), make_service(domains=DOMAINS)
    found = settle(provider, service)
    assert found.access_urls["www.a.example"] == "www.a.example.edgesuite-staging.net"
    assert set(akamai.papi.serving("STAGING")) == set(DOMAINS)
    assert akamai.papi.serving() == {}
    take_away(provider, service)


def test_all_domains_can_share_an_edge_hostname(akamai: Akamai) -> None:
    provider = make_provider(akamai, http_edge_hostname="cdn.example.edgesuite.net")
    service = make_service(domains=DOMAINS)
    with pytest.raises(PermanentError, match="no edge hostname cdn.example.edgesuite.net"):
        settle(provider, service)
    akamai.papi.add_edge_hostname("cdn.example.edgesuite.net")
    found = settle(provider, service)
    assert set(found.access_urls.values()) == {"cdn.example.edgesuite.net"}
    assert len(akamai.papi.edge_hostnames) == 1


def test_limits_on_calls_and_objects_are_reported(
    akamai: Akamai, provider: AkamaiProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=50)
    answer: Callable[..., Any] = akamai._do

    def limited(*arguments: Any) -> Any:
        status, headers, document = answer(*arguments)
        fields = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0"}
        fields |= {
            "X-RateLimit-Next": then.isoformat(),
            "X-Limit-Hosts-Per-Property-Remaining": "9",
        }
        return 429, {**headers, **fields}, document

    monkeypatch.setattr(akamai, "_do", limited)
    with pytest.raises(RetryableError) as caught:
        provider.ensure(make_service(), None)
    assert 40 < (caught.value.retry_after or 0) <= 50
    assert provider.quota["requests"].remaining == 0
    assert provider.quota["hosts-per-property"].remaining == 9
