# SPDX-License-Identifier: Apache-2.0
"""Log delivery by Akamai's DataStream 2."""

import contextlib
import logging
from dataclasses import replace
from typing import Any

import pytest

from poppy.common.errors import ConfigError, InProgressError, PermanentError
from poppy.model.services import Service
from poppy.provider.akamai.driver import AkamaiProvider
from poppy.provider.base import Capability, Deployment
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.integration.akamai.conftest import LOGS, SECRET, logging_provider, make_provider
from tests.integration.akamai.test_convergence import settle, take_away
from tests.real.akamai import Akamai


@pytest.fixture
def provider(akamai: Akamai) -> AkamaiProvider:
    return logging_provider(akamai)


@pytest.fixture
def service() -> Service:
    made = make_service()
    return replace(made, spec=replace(made.spec, log_delivery=True))


def silent(service: Service) -> Service:
    return replace(service, spec=replace(service.spec, log_delivery=False))


def stream(akamai: Akamai) -> dict[str, Any]:
    (found,) = akamai.streams.streams.values()
    return found


def changes(akamai: Akamai) -> list[str]:
    """Return the calls that have changed a stream."""
    return [it for it in akamai.calls if "/datastream" in it and not it.startswith("GET")]


def test_a_bucket_is_needed(akamai: Akamai) -> None:
    assert Capability.LOG_DELIVERY not in make_provider(akamai).supports
    assert Capability.LOG_DELIVERY in make_provider(akamai, **LOGS).supports
    with pytest.raises(ConfigError, match="log_access_key"):
        make_provider(akamai, log_bucket="logs")
    with pytest.raises(ConfigError, match="'mine'"):
        make_provider(akamai, **LOGS, group="mine")


def test_the_property_is_active_before_its_stream(
    akamai: Akamai, provider: AkamaiProvider, service: Service
) -> None:
    deployment = settle(provider, service)
    path = f"{service.project_id}/{service.service_id}/akamai"
    assert stream(akamai)["destination"]["path"] == path
    assert deployment.log_url == f"https://swift.example.net/logs/{path}/"
    create = next(n for n, it in enumerate(akamai.calls) if "streams?activate=true" in it)
    activations = [
        number
        for number, it in enumerate(akamai.calls)
        if it.startswith("POST") and "/activations" in it
    ]
    assert activations[0] < create < activations[1]


def test_amazon_has_a_destination_of_its_own(akamai: Akamai, service: Service) -> None:
    settle(logging_provider(akamai, log_endpoint=None, log_region="eu-west-1"), service)
    destination = stream(akamai)["destination"]
    assert (destination["destinationType"], destination["region"]) == ("S3", "eu-west-1")


def test_nothing_is_written_again(
    akamai: Akamai, provider: AkamaiProvider, service: Service
) -> None:
    known = settle(provider, service)
    akamai.restart()
    assert settle(provider, service, known) == known
    assert [it for it in akamai.calls if it.startswith(("PUT", "DELETE"))] == []
    assert changes(akamai) == []


@pytest.mark.parametrize(
    "options", [{"log_bucket": "other"}, {"log_access_key": "AKIANEW", "log_secret_key": "news"}]
)
def test_a_new_bucket_or_key_reaches_akamai(
    akamai: Akamai, provider: AkamaiProvider, service: Service, options: dict[str, str]
) -> None:
    known = settle(provider, service)
    number = stream(akamai)["streamId"]
    akamai.streams.buckets.add("other")
    akamai.streams.keys["AKIANEW"] = "news"
    settle(logging_provider(akamai, **options), service, known)
    destination = stream(akamai)["destination"]
    wanted = {**LOGS, **options}
    assert destination["bucket"] == wanted["log_bucket"]
    assert destination["secretAccessKey"] == wanted["log_secret_key"]
    assert stream(akamai)["streamId"] == number


def test_a_stream_that_was_deactivated_by_hand_is_activated(
    akamai: Akamai, provider: AkamaiProvider, service: Service
) -> None:
    known = settle(provider, service)
    stream(akamai)["streamStatus"] = "DEACTIVATED"
    settle(provider, service, known)
    assert stream(akamai)["streamStatus"].startswith("ACTIVAT")


def test_turned_on_again_while_akamai_deactivates(
    akamai: Akamai, provider: AkamaiProvider, service: Service
) -> None:
    known = settle(provider, service)
    stream(akamai)["streamStatus"] = "ACTIVATED"
    without = settle(provider, silent(service), known)
    assert stream(akamai)["streamStatus"] == "DEACTIVATING"
    settle(provider, service, without)
    assert stream(akamai)["streamStatus"].startswith("ACTIVAT")
    (key,) = akamai.papi.properties
    behaviors = akamai.papi.version(key)["rules"]["behaviors"]
    assert "datastream" in {one["name"] for one in behaviors}


def test_turned_off_the_stream_is_deleted_in_the_end(
    akamai: Akamai, provider: AkamaiProvider, service: Service
) -> None:
    known = settle(provider, service)
    for _ in range(10):
        known = settle(provider, silent(service), known)
    assert akamai.streams.streams == {}


@pytest.mark.parametrize("fate", ["lost", 429])
@pytest.mark.parametrize("call", range(1, 12))
def test_a_lost_answer_of_akamai_leaves_one_stream(
    akamai: Akamai, provider: AkamaiProvider, service: Service, fate: str | int, call: int
) -> None:
    known = settle(provider, silent(service))
    akamai.restart(lambda number: fate if number == call else "ok")
    settle(provider, service, known)
    assert len(akamai.streams.streams) == 1
    akamai.restart(lambda number: fate if number == call else "ok")
    take_away(provider, service)
    assert akamai.streams.streams == {}


def test_the_secret_is_in_no_log_and_no_message(
    akamai: Akamai, provider: AkamaiProvider, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    akamai.streams.buckets.clear()
    akamai.streams.quotes = True
    known: Deployment | None = None
    with pytest.raises(PermanentError, match="write access") as refused:
        for _ in range(20):
            with contextlib.suppress(InProgressError):
                known = provider.ensure(service, known_from(known) if known else None)
    assert "AKIALOGS" in str(refused.value)
    assert SECRET not in str(refused.value)
    akamai.streams.buckets.add("logs")
    assert SECRET not in repr(settle(provider, service, known))
    assert SECRET not in caplog.text
    (key,) = akamai.papi.properties
    assert SECRET not in str(akamai.papi.version(key))
