# SPDX-License-Identifier: Apache-2.0
"""Log delivery by Fastly to the operator's bucket."""

import gzip
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from poppy.common.errors import ConfigError, PermanentError
from poppy.model.services import Service
from poppy.provider.base import Capability
from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.integration.fastly.conftest import LOGS, SECRET, make_provider
from tests.real import fastly_logging
from tests.real.fastly import Fastly
from tests.real.moto import Moto

KIND = "logging/s3"
REQUEST = {
    "client.ip": "192.0.2.7",
    "fastly_info.state": "HIT-CLUSTER",
    "req.method": "GET",
    "req.proto": "HTTP/1.1",
    "req.url": '/a"b\\c?q=ä',
    "req.http.Host": "www.example.com",
    "req.http.User-Agent": "a\ttab and a \x01",
    "resp.body_bytes_written": 12,
    "resp.bytes_written": 345,
    "resp.status": 200,
    "time.elapsed.msec": 7,
    "time.start.sec": 1800000000,
}


def delivering() -> Service:
    service = make_service()
    return replace(service, spec=replace(service.spec, log_delivery=True))


def endpoints(fastly: Fastly) -> dict[str, dict[str, str]]:
    (service,) = fastly.account.living()
    assert service.active is not None
    return service.active.objects[KIND]


def test_a_bucket_is_needed(fastly: Fastly) -> None:
    assert Capability.LOG_DELIVERY not in make_provider(fastly).supports
    assert Capability.LOG_DELIVERY in make_provider(fastly, **LOGS).supports
    with pytest.raises(ConfigError, match="log_access_key"):
        make_provider(fastly, log_bucket="logs")


def test_the_endpoint(fastly: Fastly, provider: FastlyProvider) -> None:
    service = delivering()
    deployment = provider.ensure(service, None)
    (endpoint,) = endpoints(fastly).values()
    assert {name: endpoint[name] for name in ("domain", "bucket_name", "path", "period")} == {
        "domain": "swift.example.net",
        "bucket_name": "logs",
        "path": f"{service.project_id}/{service.service_id}/fastly/",
        "period": "3600",
    }
    assert deployment.log_url == f"https://swift.example.net/logs/{endpoint['path']}"


def test_each_line_is_json(fastly: Fastly, provider: FastlyProvider) -> None:
    provider.ensure(delivering(), None)
    (endpoint,) = endpoints(fastly).values()
    line = json.loads(fastly_logging.line(endpoint["format"], REQUEST))
    assert line["url"] == REQUEST["req.url"]
    assert line["user_agent"] == REQUEST["req.http.User-Agent"]
    assert (line["status"], line["bytes"], line["time"]) == (200, 345, 1800000000)
    assert line["referer"] == ""


@pytest.mark.parametrize("field", ["bucket_name", "secret_key", "path", "format", "gzip_level"])
def test_changes_by_hand_are_reverted(
    fastly: Fastly, provider: FastlyProvider, field: str
) -> None:
    service = delivering()
    known = known_from(provider.ensure(service, None))
    before = dict(endpoints(fastly)["poppy logs"])
    endpoints(fastly)["poppy logs"][field] = "5"
    provider.ensure(service, known)
    assert endpoints(fastly)["poppy logs"] == before


def test_a_new_secret_reaches_fastly(fastly: Fastly, provider: FastlyProvider) -> None:
    service = delivering()
    known = known_from(provider.ensure(service, None))
    other = make_provider(fastly, **{**LOGS, "log_secret_key": "another-secret-key"})
    other.ensure(service, known)
    assert endpoints(fastly)["poppy logs"]["secret_key"] == "another-secret-key"


def test_the_operators_own_endpoints_stay(fastly: Fastly, provider: FastlyProvider) -> None:
    service = delivering()
    known = known_from(provider.ensure(service, None))
    own = {"name": "mine", "bucket_name": "b", "access_key": "a", "secret_key": "s"}
    endpoints(fastly)["mine"] = own
    silent = replace(service, spec=replace(service.spec, log_delivery=False))
    provider.ensure(silent, known)
    assert endpoints(fastly) == {"mine": own}


def test_the_secret_is_in_no_log_and_no_message(
    fastly: Fastly, provider: FastlyProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service = delivering()
    deployment = provider.ensure(service, None)
    assert SECRET not in repr(deployment)
    fastly.account.quotes = True
    strange = make_provider(fastly, **{**LOGS, "log_endpoint": "https://[2001:db8::1]"})
    with pytest.raises(PermanentError, match="domain") as refused:
        strange.ensure(service, known_from(deployment))
    assert "AKIALOGS" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert SECRET not in caplog.text


@pytest.fixture
def store() -> Iterator[Any]:
    """A real S3 server."""
    with Moto() as moto:
        client = moto.client("s3")
        client.create_bucket(Bucket="logs")
        yield client


@pytest.mark.real
def test_the_tenant_finds_the_files_by_the_link(
    fastly: Fastly, provider: FastlyProvider, store: Any
) -> None:
    service = delivering()
    deployment = provider.ensure(service, None)
    line = fastly_logging.line(endpoints(fastly)["poppy logs"]["format"], REQUEST)
    name = fastly_logging.upload(endpoints(fastly)["poppy logs"], store, [line])

    bucket, _, prefix = urlsplit(deployment.log_url).path.removeprefix("/").partition("/")
    (found,) = store.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert found["Key"] == name
    body = store.get_object(Bucket=bucket, Key=name)["Body"].read()
    assert json.loads(gzip.decompress(body))["client"] == "192.0.2.7"
