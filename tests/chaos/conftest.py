# SPDX-License-Identifier: Apache-2.0
"""One site for all scenarios of a process; each finds it well, and without workers."""

import itertools

import pytest

from tests.chaos.tenant import document_of

#: Seconds that the drivers wait for an answer: a call that is held must not time out.
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
    # What one test has found is not the next one's business.
    shared_site.forgive()


class Client:
    """A tenant's client with names of its own, for short tests."""

    _numbers = itertools.count(1)

    def __init__(self, site):
        self._site = site
        self.tenant = site.tenant("project-1")

    def create(self):
        """Ask for a service; gives its name and id."""
        name = f"site-{next(self._numbers)}"
        request = self.tenant.create(name, [f"www.{name}.example.com"])
        assert request.service_id, request.text
        return name, request.service_id

    def deployed(self):
        """A service that is deployed."""
        service = self.create()
        self.tenant.wait(service[1], "deployed")
        return service

    def update(self, service, version):
        """Ask for another document."""
        name, service_id = service
        document = document_of(name, [f"www.{name}.example.com"], version)
        request = self.tenant.update(name, service_id, document)
        assert request.status == 202, request.text

    def purge(self, service):
        """Ask for a purge."""
        url = f"/purge-{next(self._numbers)}"
        assert self.tenant.purge(*service, url).status == 202

    def delete(self, service):
        """Ask for the end of it."""
        assert self.tenant.delete(*service).status == 202

    def operations(self, service):
        """As they are stored."""
        return self._site.operations(self.tenant.project_id, service[1])


@pytest.fixture
def client(site):
    made = Client(site)
    yield made
    made.tenant.close()
