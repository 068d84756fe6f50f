# SPDX-License-Identifier: Apache-2.0
"""The operator's buckets for access logs."""

from dataclasses import replace
from typing import Any

import pytest

from poppy.common import config, errors
from poppy.model.services import Service
from poppy.provider import log_store
from poppy.testing.builders import make_service

GROUP = "drivers:provider:cdn"
KEYS = {"log_access_key": "AKIALOGS", "log_secret_key": "the-secret-of-the-logs"}


def configured(**options: Any) -> log_store.LogStore | None:
    conf = config.new()
    conf([])
    conf.register_opts(log_store.OPTS, group=GROUP)
    for name, value in options.items():
        conf.set_override(name, value, group=GROUP)
    return log_store.configured(conf[GROUP], GROUP)


def delivering(project_id: str) -> Service:
    service = make_service(spec=replace(make_service().spec, log_delivery=True))
    return replace(service, project_id=project_id)


def test_without_a_bucket_there_is_no_store() -> None:
    assert configured(**KEYS) is None


def test_amazon_is_the_default_store() -> None:
    store = configured(log_bucket="logs", log_region="eu-west-1", **KEYS)
    assert store is not None
    assert (store.endpoint, store.is_amazon) == ("https://s3.eu-west-1.amazonaws.com", True)


def test_objects_are_named_after_project_service_and_provider() -> None:
    store = configured(
        log_bucket="logs-{project_id}", log_endpoint="https://swift.example.net:8080/", **KEYS
    )
    assert store is not None
    service = delivering("p1")
    found = log_store.place(store, service, "cdn")
    assert found is not None
    assert (found.bucket, found.prefix) == ("logs-p1", f"p1/{service.service_id}/cdn/")
    assert found.url == f"https://swift.example.net:8080/logs-p1/{found.prefix}"
    assert not store.is_amazon


def test_a_service_without_log_delivery_has_no_place() -> None:
    store = configured(log_bucket="logs", **KEYS)
    assert log_store.place(store, make_service(), "cdn") is None
    assert log_store.place(None, delivering("p1"), "cdn") is None


def test_a_project_without_a_valid_bucket_name_is_refused() -> None:
    store = configured(log_bucket="logs-{project_id}", **KEYS)
    assert store is not None
    with pytest.raises(errors.PermanentError, match="Project Team_1 .*'logs-Team_1'"):
        log_store.place(store, delivering("Team_1"), "cdn")


@pytest.mark.parametrize("missing", sorted(KEYS))
def test_a_missing_key_is_named(missing: str) -> None:
    keys = {name: value for name, value in KEYS.items() if name != missing}
    with pytest.raises(errors.ConfigError, match=missing) as refused:
        configured(log_bucket="logs", **keys)
    assert KEYS["log_secret_key"] not in str(refused.value)


@pytest.mark.parametrize(
    "bucket", ["ab", "a" * 64, "Logs", "-logs", "logs-", "lo..gs", "lo/gs", "{project}-logs"]
)
def test_an_invalid_bucket_is_named(bucket: str) -> None:
    with pytest.raises(errors.ConfigError, match="log_bucket"):
        configured(log_bucket=bucket, **KEYS)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.example.net/path",
        "https://user:word@s3.example.net",
        "https://s3.example.net?a",
    ],
)
def test_an_endpoint_is_a_scheme_and_a_host(endpoint: str) -> None:
    with pytest.raises(errors.ConfigError, match="log_endpoint"):
        configured(log_bucket="logs", log_endpoint=endpoint, **KEYS)


def test_an_endpoint_without_tls_is_refused() -> None:
    with pytest.raises(ValueError, match="http"):
        configured(log_bucket="logs", log_endpoint="http://s3.example.net", **KEYS)
