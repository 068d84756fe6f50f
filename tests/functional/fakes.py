# SPDX-License-Identifier: Apache-2.0
"""A manager in memory that records its calls, and a service with all fields set."""

import datetime
from typing import Any

from poppy.common import errors
from poppy.manager.listing import Query
from poppy.model.capabilities import Capability
from poppy.model.flavors import Flavor
from poppy.model.operations import Purge
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.storage import selection
from poppy.storage.selection import ServicePage

PROJECT = "1234"
SERVICE_ID = "01890000-0000-7000-8000-000000000001"

FLAVOR = {
    "id": "standard",
    "providers": [
        {
            "provider": "fastly",
            "links": [{"href": "http://www.fastly.com", "rel": "provider_url"}],
        }
    ],
}

SPEC = {
    "name": "mywebsite",
    "flavor_id": "standard",
    "domains": [{"domain": "www.mywebsite.com", "protocol": "http"}],
    "origins": [
        {
            "origin": "mywebsite.com",
            "port": 80,
            "ssl": False,
            "hostheadertype": "domain",
            "rules": [{"name": "default", "request_url": "/*"}],
        }
    ],
    "caching": [
        {
            "name": "default",
            "ttl": 86400,
            "rules": [{"name": "default", "request_url": "/*"}],
        }
    ],
    "restrictions": [],
    "log_delivery": {"enabled": False},
}


def service(service_id: str = SERVICE_ID, project_id: str = PROJECT, **fields: Any) -> Service:
    """Return a deployed service; ``spec`` may change parts of the document."""
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    deployed = ProviderDetail(
        status=ProviderStatus.DEPLOYED,
        provider_service_id="p-1",
        access_urls=(
            AccessURL(
                domain="www.mywebsite.com",
                provider_url="edge.provider.example",
                operator_url="www.mywebsite.com.cdn.example.net",
            ),
        ),
    )
    return Service(
        project_id=project_id,
        service_id=service_id,
        spec=ServiceSpec.from_dict({**SPEC, **fields.pop("spec", {})}),
        provider_details=fields.pop("provider_details", {"mock": deployed}),
        created_at=moment,
        updated_at=moment,
        **fields,
    )


class FakeServices:
    """Services by project and id; each call raises ``error`` if it is set."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], Service] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    def create(
        self,
        project_id: str,
        document: object,
        request_id: str | None,
        key: str | None = None,
        token: str | None = None,
    ) -> str:
        self._called("create", project_id, document, request_id, key)
        return SERVICE_ID

    def get(self, project_id: str, service_id: str) -> Service:
        self._called("get", project_id, service_id)
        try:
            return self.found[project_id, service_id]
        except KeyError:
            raise errors.NotFound(f"There is no service {service_id}") from None

    def list(self, project_id: str, marker: str | None, limit: int, query: Query) -> ServicePage:
        self._called("list", project_id, marker, limit, *sorted(query.pairs))
        found = [entry for (owner, _), entry in self.found.items() if owner == project_id]
        after = [entry for entry in found if marker is None or entry.service_id > marker]
        return selection.full(after[:limit], limit)

    def update(
        self,
        project_id: str,
        service_id: str,
        patch: object,
        request_id: str | None,
        check: Any = None,
        token: str | None = None,
    ) -> None:
        self._called("update", project_id, service_id, patch, request_id)

    def delete(
        self, project_id: str, service_id: str, request_id: str | None, check: Any = None
    ) -> None:
        self._called("delete", project_id, service_id, request_id)

    def purge(
        self, project_id: str, service_id: str, purge: Purge, request_id: str | None
    ) -> None:
        self._called("purge", project_id, service_id, purge, request_id)


class FakeFlavors:
    """Flavors by id."""

    def __init__(self) -> None:
        self.found: dict[str, Flavor] = {}

    def create(self, document: Any) -> Flavor:
        flavor = Flavor.from_dict(document)
        self.found[flavor.flavor_id] = flavor
        return flavor

    def get(self, flavor_id: str) -> Flavor:
        if flavor_id not in self.found:
            raise errors.NotFound(f"There is no flavor '{flavor_id}'")
        return self.found[flavor_id]

    def capabilities(self, flavor: Flavor) -> list[Capability]:
        return [Capability.HTTPS_REDIRECT, Capability.SOFT_PURGE]

    def list(self) -> list[Flavor]:
        return list(self.found.values())

    def delete(self, flavor_id: str) -> None:
        self.get(flavor_id)
        del self.found[flavor_id]


class FakeHealth:
    """Health with configurable results."""

    def __init__(self) -> None:
        self.parts = {
            "storage": {"sqlalchemy": True},
            "dns": {"mock": True},
            "distributed_task": {"taskflow": True},
            "providers": {"mock": True},
        }

    def ping(self) -> bool:
        return self.parts["storage"]["sqlalchemy"] and self.parts["distributed_task"]["taskflow"]

    def report(self) -> dict[str, dict[str, bool]]:
        return self.parts

    def check(self, kind: str, name: str) -> bool:
        parts = self.parts["providers" if kind == "provider" else kind]
        if name not in parts:
            raise errors.NotFound(f"There is no {kind} '{name}'")
        return parts[name]


class FakeManager:
    """The parts of a manager that the transport needs."""

    def __init__(self) -> None:
        self.services = FakeServices()
        self.flavors = FakeFlavors()
        self.health = FakeHealth()


def refused(response: Any, status: int) -> Any:
    """Check that a response is a standard error and return its message."""
    assert response.status_int == status, response
    assert response.content_type == "application/json"
    assert set(response.json) == {"message", "request_id"}
    assert response.json["request_id"] == response.headers["x-openstack-request-id"]
    return response.json["message"]
