# SPDX-License-Identifier: Apache-2.0
"""Services: conversion to documents and back, and their status."""

import datetime
import json

import pytest

from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.model.services import Service, Status
from poppy.model.specs import (
    Domain,
    Origin,
    Rule,
    ServiceSpec,
)
from tests.unit.model.documents import FULL, MINIMAL, accepted

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)

DETAIL = ProviderDetail(
    status=ProviderStatus.FAILED,
    provider_service_id="77",
    access_urls=(
        AccessURL("www.a.com", "a.edge.example", "www.a.com.cdn.example"),
        AccessURL("b.a.com", "b.edge.example"),
    ),
    certificates={"www.a.com": "deployed"},
    error_message="no room",
    error_info="HTTP 507",
    error_class="PermanentError",
)


@pytest.mark.parametrize("document", [MINIMAL, FULL])
def test_a_spec_round_trips(document: dict[str, object]) -> None:
    spec = accepted(document)
    assert ServiceSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    "detail",
    [
        DETAIL,
        ProviderDetail(ProviderStatus.DEPLOYED),
        ProviderDetail(ProviderStatus.DEPLOYED, log_url="https://s3.example.net/logs/1/s/cdn/"),
        ProviderDetail(ProviderStatus.DEPLOYED, certificate_messages={"a.com": "CAA"}),
    ],
)
def test_a_provider_detail_round_trips(detail: ProviderDetail) -> None:
    assert ProviderDetail.from_dict(json.loads(json.dumps(detail.to_dict()))) == detail


def test_unset_fields_are_not_in_the_document() -> None:
    assert Domain("www.a.com").to_dict() == {"domain": "www.a.com", "protocol": "http"}
    assert "hostheadervalue" not in Origin("a.com").to_dict()
    assert Rule("r", geography="BR").to_dict() == {"name": "r", "geography": "BR"}


def test_the_kind_of_a_rule() -> None:
    assert Rule("r", "/x").kind is None
    assert Rule("r", "/x", referrer="a.com").kind == "referrer"
    assert Rule("r", client_ip="192.0.2.1").kind == "client_ip"
    assert Rule("r", geography="BR").kind == "geography"


def test_the_domain_names_of_a_spec() -> None:
    assert accepted(FULL).domain_names == {
        "www.mywebsite.com",
        "secure.mywebsite.com",
        "myshop",
    }


def _service(*statuses: ProviderStatus, disabled: bool = False) -> Service:
    details = {f"p{number}": ProviderDetail(status) for number, status in enumerate(statuses)}
    return Service("1", "s", accepted(MINIMAL), details, NOW, NOW, disabled)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["deployed", "deployed"], "deployed"),
        (["deployed", "deploy_in_progress"], "create_in_progress"),
        (["deploy_in_progress", "update_in_progress"], "update_in_progress"),
        (["update_in_progress", "delete_in_progress"], "delete_in_progress"),
        (["delete_in_progress", "failed"], "failed"),
    ],
)
def test_the_status_is_the_worst_of_the_providers(statuses: list[str], expected: str) -> None:
    for order in (statuses, statuses[::-1]):
        service = _service(*(ProviderStatus(status) for status in order))
        assert service.status == Status(expected)


def test_a_disabled_service_is_disabled_for_any_provider_status() -> None:
    assert _service(ProviderStatus.FAILED, disabled=True).status is Status.DISABLED


def test_the_errors_are_the_providers_error_messages() -> None:
    service = _service(ProviderStatus.DEPLOYED).with_details(
        {"edge": DETAIL, "mock": ProviderDetail(ProviderStatus.FAILED)}
    )
    assert service.errors == ("no room",)
    assert service.status is Status.FAILED
