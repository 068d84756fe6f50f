# SPDX-License-Identifier: Apache-2.0
"""A complete Poppy in one process: real manager, SQLite store, SQL job board and worker.

Providers and DNS are scripted doubles.
"""

import contextlib
import threading
import time

from oslo_config import cfg

from poppy.bootstrap import Bootstrap
from poppy.common import config, errors, inspection
from poppy.dns.base import DNSDriver, difference
from poppy.model.operations import State
from poppy.provider.base import Capability, Deployment, Issuance, Point, Provider, Sighting
from poppy.testing.builders import make_flavor
from tests import databases

PROJECT = "project-1"


class Hold:
    """A call that blocks until it is released."""

    def __init__(self):
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.go.wait(20)


class ScriptedProvider(Provider):
    """A provider in memory; each call first takes an entry of the script."""

    SUPPORTS = frozenset(Capability) - {Capability.PURGE_MANY}

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        self.script = []
        self.healthy = True
        self.objects = {}
        self.calls = []
        self.purges = []
        self.references = []
        self.certificates = {}
        self.queries = []
        self.certificate_status = "create_in_progress"
        self.suffix = "example"

    def _act(self, call):
        self.calls.append(call)
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, BaseException):
                raise step
            return step() if callable(step) else step
        return None

    @contextlib.contextmanager
    def held(self):
        """Block the next call until this context ends."""
        hold = Hold()
        self.script = [*self.script, hold]
        try:
            yield
        finally:
            hold.go.set()

    def ensure(self, service, known):
        answer = self._act("ensure")
        self.objects[service.service_id] = service.spec
        if isinstance(answer, Deployment):
            return answer
        urls = {d.domain: f"{d.domain}.{self.name}.{self.suffix}" for d in service.spec.domains}
        states = {
            entry.domain: self.certificate_status
            for entry in service.spec.domains
            if entry.certificate
        }
        return Deployment(f"{self.name}-{service.service_id}", urls, certificates=states)

    def inspect(self, service, known):
        answer = self._act("inspect")
        if answer is not None:
            return answer
        found = self.objects.get(service.service_id)
        return Sighting(() if found == service.spec else (f"{self.name} has {found}",))

    def remove(self, service, known):
        self._act("remove")
        self.objects.pop(service.service_id, None)

    def purge(self, service, known, purge):
        self.references.append(purge.reference)
        self._act("purge")
        self.purges.append(purge._replace(reference=""))

    def prewarm(self, service, known, paths, reference):
        self.references.append(reference)
        answer = self._act("prewarm")
        self.prewarmed = paths
        return answer or ""

    def ensure_certificate(self, certificate, known):
        answer = self._act("ensure_certificate")
        self.certificates[certificate] = known
        return answer or Issuance("deployed", {"serial": 7})

    def remove_certificate(self, certificate, known):
        self._act("remove_certificate")
        self.certificates.pop(certificate, None)

    def metrics(self, service, known, query):
        self.queries.append(query)
        answer = self._act("metrics")
        return answer or {"Global": [Point(query.start, 3), Point(query.end, 5)]}

    def health(self):
        return self.healthy

    def serves(self):
        return self.healthy


class ScriptedDNS(DNSDriver):
    """A DNS driver in memory; each call first takes an entry of the script."""

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        self.script = []
        self.cnames = {}
        self.removals = 0

    def _act(self):
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, BaseException):
                raise step
            step()

    def ensure(self, cnames):
        self._act()
        for name, target in cnames.items():
            if (found := self.cnames.get(name)) != target:
                # A steered name has a policy.
                inspection.differs(difference(name, str(found) if found else None, target))
        self.cnames.update(cnames)

    def steer(self, policies):
        self._act()
        self.cnames.update(policies)

    def remove(self, names):
        self._act()
        for name in names:
            self.cnames.pop(name, None)
        self.removals += 1

    def health(self):
        return True


class Harness:
    """A Poppy with the flavors ``standard`` (cdn-a) and ``both`` (cdn-a, cdn-b).

    Args:
        directory: the directory of the database.
        groups: options by group, for example for a store other than SQLite, which must have its
            schema.
        dns: the class and the name of the DNS driver.
        options: options of ``[drivers:distributed_task:taskflow]``, to change the quick defaults.
    """

    def __init__(self, directory, groups=None, dns=(ScriptedDNS, "scripted"), **options):
        quick = {
            "poll_interval": 0.02,
            "dispatch_interval": 0.05,
            "retry_base": 0.05,
            "retry_ceiling": 0.1,
            "max_failures": 4,
        }
        file = databases.create(directory / "poppy.sqlite3")
        database = {"connection": f"sqlite:///{file}"}
        sections = {
            "drivers:storage:sqlalchemy": database,
            "drivers:distributed_task:taskflow": {**quick, **options},
            "drivers:dns:scripted": {"url_404": "notfound.example.net"},
            "resolver": {"check_records": "false"},
            **(groups or {}),
        }
        # Any host is allowed, and a client without roles is an operator.
        default = {"noauth_default_roles": "admin,member,reader", "allowed_hosts": "*"}
        sections["DEFAULT"] = {**default, **sections.get("DEFAULT", {})}
        lines = []
        for section, values in sections.items():
            lines += [f"[{section}]", *(f"{name} = {value}" for name, value in values.items())]
        path = directory / "poppy.conf"
        path.write_text("\n".join(lines) + "\n")
        self.conf = config.load([], files=[str(path)])
        self.boot = Bootstrap(self.conf)
        self.cdn_a = ScriptedProvider(self.conf, "cdn-a")
        self.cdn_b = ScriptedProvider(self.conf, "cdn-b")
        driver, name = dns
        self.dns = driver(self.conf, name)
        self.boot.providers = {"cdn-a": self.cdn_a, "cdn-b": self.cdn_b}
        self.boot.dns = self.dns
        self.storage = self.boot.storage
        self.create_flavors()
        self.services = self.boot.manager.services

    def create_flavors(self):
        self.storage.flavors.create(make_flavor("standard", ["cdn-a"]))
        self.storage.flavors.create(make_flavor("both", ["cdn-a", "cdn-b"]))

    def document(self, domain="www.example.com", **changes):
        return {
            "name": "site",
            "flavor_id": "standard",
            "domains": [{"domain": domain}],
            "origins": [{"origin": "origin.example.net"}],
            **changes,
        }

    def create(self, **changes):
        return self.services.create(PROJECT, self.document(**changes), "req-1")

    def get(self, service_id, project=PROJECT):
        return self.services.get(project, service_id)

    def operations(self, service_id, project=PROJECT):
        return self.storage.operations.list(project, service_id)

    @contextlib.contextmanager
    def working(self):
        """Run a worker during this context."""
        worker = self.boot.worker()
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield worker
        finally:
            worker.stop()
            thread.join(timeout=20)
            assert not thread.is_alive()

    def settle(self, service_id, project=PROJECT):
        """Return the service once all its operations are finished, or None if it is deleted."""
        assert self.operations(service_id, project)
        self.wait(lambda: all(o.state.finished for o in self.operations(service_id, project)))
        try:
            return self.get(service_id, project)
        except errors.NotFound:
            return None

    def wait(self, condition, timeout=15):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.01)

    def states(self, service_id):
        return [(str(o.kind), str(o.state)) for o in self.operations(service_id)]

    def is_waiting(self, service_id):
        return any(o.state is State.WAITING for o in self.operations(service_id))

    def close(self):
        self.boot.close()
