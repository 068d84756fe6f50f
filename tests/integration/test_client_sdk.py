# SPDX-License-Identifier: Apache-2.0
"""``conn.cdn`` of openstacksdk, over HTTP against a real poppy-standalone."""

import uuid

import pytest

from tests.real.poppy import PROJECT, Installation

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
pytest.importorskip("openstack", reason="not installed: pip install -e './client[sdk]'")

from openstack import exceptions  # noqa: E402
from poppyclient import connection, sdk  # noqa: E402

# openstacksdk itself does what it deprecates.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::openstack.warnings.RemovedInSDK{version}Warning")
    for version in (50, 60)
]
ORIGINS = [{"origin": "origin.example.com"}]


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    made = Installation(tmp_path_factory.mktemp("poppy"), {})
    with made.daemon("poppy-standalone"):
        made.wait_until_up()
        made.create_flavor()
        yield made
    made.session.close()


@pytest.fixture(scope="module")
def cdn(installation):
    opened = sdk.connect(installation.base, PROJECT)
    yield opened.cdn
    opened.close()


@pytest.fixture
def domain():
    return f"{uuid.uuid4().hex}.example.com"


@pytest.fixture
def service(cdn, domain):
    return cdn.create_service(
        name=domain,
        flavor_id="standard",
        domains=[{"domain": domain}],
        origins=ORIGINS,
        wait=True,
    )


def test_a_service_from_create_to_delete(cdn, domain, service):
    assert service.status == "deployed"
    assert service.access_urls == [f"{domain}.cdn.example.net"]
    assert [it.id for it in cdn.services(domain=domain)] == [service.id]
    changed = cdn.update_service(domain, tags=["shop"], wait=True)
    assert (changed.tags, changed.domains) == (["shop"], service.domains)
    assert cdn.update_service(changed, tags=None, wait=True).tags is None
    cdn.purge_service(service, urls=["/index.html"], wait=True)
    cdn.purge_service(service, tags=["product-42"], hard=False, wait=True)
    cdn.purge_service(service, wait=True)
    cdn.prewarm_service(service, ["/index.html"], wait=True)
    actions = [it.action for it in cdn.operations(service)]
    assert actions == ["prewarm", *["purge"] * 3, "update", "update", "create"]
    assert {it.state for it in cdn.operations(service)} == {"succeeded"}
    cdn.delete_service(service, wait=True)
    assert cdn.find_service(service.id) is None


def test_an_update_that_changes_nothing_makes_no_operation(cdn, service):
    cdn.update_service(service, origins=ORIGINS, name=service.name)
    assert [it.action for it in cdn.operations(service)] == ["create"]


def test_missing_services(cdn):
    assert cdn.find_service("missing") is None
    cdn.delete_service("missing")
    for service in ("missing", str(uuid.uuid4())):
        with pytest.raises(exceptions.NotFoundException):
            cdn.find_service(service, ignore_missing=False)
        with pytest.raises(exceptions.NotFoundException):
            cdn.delete_service(service, ignore_missing=False)


def test_refused_documents_raise_the_message_of_the_server(cdn, service):
    with pytest.raises(exceptions.BadRequestException, match=r"\[domains\]-needs 1 entry"):
        cdn.update_service(service, domains=[])
    with pytest.raises(exceptions.BadRequestException, match="flavor"):
        cdn.create_service(
            name="shop", flavor_id="none", domains=[{"domain": "x.example.com"}], origins=ORIGINS
        )


def test_a_concurrent_change_is_not_overwritten(cdn, service, monkeypatch):
    client = cdn._client
    read = client.service

    def read_and_change(service_id):
        found = read(service_id)
        monkeypatch.setattr(client, "service", read)
        cdn.update_service(service_id, tags=["other"], wait=True)
        return found

    monkeypatch.setattr(client, "service", read_and_change)
    with pytest.raises(exceptions.PreconditionFailedException):
        cdn.update_service(service, tags=["mine"])
    assert cdn.get_service(service).tags == ["other"]


def test_an_operation_that_takes_too_long_is_a_failure(cdn, service):
    with pytest.raises(exceptions.ResourceFailure, match="It continues as operation"):
        cdn.purge_service(service, wait=True, timeout=0.0001)


def test_flavors_and_quota(cdn, installation):
    name = f"f-{uuid.uuid4().hex[:8]}"
    links = [{"href": "http://www.example.com", "rel": "provider_url"}]
    made = cdn.create_flavor(name, [{"provider": "mock", "links": links}])
    assert made.id == name
    assert name in [it.id for it in cdn.flavors()]
    assert "brotli" in cdn.get_flavor(name).capabilities
    cdn.delete_flavor(name)
    cdn.delete_flavor(name)
    with pytest.raises(exceptions.NotFoundException):
        cdn.delete_flavor(name, ignore_missing=False)
    assert cdn.quota()["services"]["limit"] > 0


def test_an_unreachable_server_is_named_with_the_cause(monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE", 0.1)
    opened = sdk.connect("http://127.0.0.1:1", PROJECT)
    with pytest.raises(exceptions.SDKException, match=r"127.0.0.1:1/v1.0 refuses connections"):
        opened.cdn.quota()
    opened.close()
