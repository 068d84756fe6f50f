# SPDX-License-Identifier: Apache-2.0
"""One site for all tests of a process; each test starts without faults and workers."""

import itertools

import pytest

from tests.chaos.tenant import document_of

#: The drivers' timeout in seconds; a held call must not time out.
PATIENCE = 60


@pytest.fixture(scope="session")
def shared_site(tmp_path_factory):
    pytest.importorskip("cassandra")
    from tests.chaos.site import Site

    patient = {"timeout": PATIENCE}
    options = {"drivers:provider:chaos": patient, "drivers:dns:chaos": patient}
    with Site(tmp_path_factory.mktemp("chaos"), options=options) as site:
        yield site


@pytest.fixture
def site(shared_site):
    yield shared_site
    shared_site.end_workers()
    shared_site.double.behave()
    shared_site.restore_server()
    # The next test must not report the violations of this one.
    shared_site.forgive()


class Client:
    """A tenant's client with generated names, for short tests."""

    _numbers = itertools.count(1)

    def __init__(self, site):
        self._site = site
        self.tenant = site.tenant("project-1")

    def create(self):
        """Create a service and return its name and id."""
        name = f"site-{next(self._numbers)}"
        request = self.tenant.create(name, [f"www.{name}.example.com"])
        assert request.service_id, request.text
        return name, request.service_id

    def deployed(self):
        """Create a service and wait until it is deployed."""
        service = self.create()
        self.tenant.wait(service[1], "deployed")
        return service

    def update(self, service, version):
        """Update the service to another version of its document."""
        name, service_id = service
        document = document_of(name, [f"www.{name}.example.com"], version)
        request = self.tenant.update(name, service_id, document)
        assert request.status == 202, request.text

    def purge(self, service):
        """Purge a new path."""
        url = f"/purge-{next(self._numbers)}"
        assert self.tenant.purge(*service, url).status == 202

    def delete(self, service):
        """Delete the service."""
        assert self.tenant.delete(*service).status == 202

    def operations(self, service):
        """Return the stored operations of the service."""
        return self._site.operations(self.tenant.project_id, service[1])


@pytest.fixture
def client(site):
    made = Client(site)
    yield made
    made.tenant.close()
