# SPDX-License-Identifier: Apache-2.0
"""The data plane as the agent uses it."""

import contextlib
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from poppy.common.errors import PermanentError
from poppy.edge.errors import Down, Refused
from poppy.edge.options import Settings
from poppy.edge.plane import processes, purges, traffic
from poppy.edge.plane.certificates import Served as Certificate
from poppy.edge.plane.certificates import check
from poppy.edge.plane.files import Files
from poppy.edge.plane.origins_health import Health
from poppy.edge.plane.policies import Served, served
from poppy.edge.plane.prewarming import Prewarming, Target
from poppy.edge.plane.runtime import HAProxy, Varnish
from poppy.edge.program import Program
from poppy.edge.traffic import Sample
from poppy.model.edge import Prewarmed
from poppy.model.purges import Purge

#: Keys of a command to Varnish, which reads up to 60 KiB of them.
_MAX_KEYS = 8


class Plane:
    """Changes the running HAProxy and Varnish. The cost of a change does not grow with the node.

    Call :meth:`load` first. Store a program before it is applied: a process that is restarted
    serves what the state contains. Each method raises Down if a process does not answer; the
    agent then calls :meth:`load` once it runs again.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._files = Files(settings)
        self._haproxy = HAProxy(self._files.runtime_socket)
        self._varnish = Varnish(self._files.cache_socket)
        self._prewarming = Prewarming(settings)
        self._health = Health(settings.run_directory, self._set_sick)
        self._services: dict[str, Served] = {}
        self._owners: dict[str, str] = {}
        self._replaced: dict[str, set[str]] = {}

    def load(self, programs: Iterable[Program]) -> Mapping[str, str]:
        """Make the running HAProxy equal to exactly these programs.

        Args:
            programs: in the order of their revisions: the last one with a host gets it.

        Returns:
            The reasons of refused services by ID.
        """
        services, refusals = processes.serve(programs, self._settings)
        known = self._haproxy.certificates(self._files.certificate_list)
        stale = known.difference(
            self._path(it) for service in services.values() for it in service.certificates
        )
        for service in list(services.values()):
            try:
                self._add_certificates(service, known)
            except Refused as exc:
                refusals[service.service_id] = str(exc)
                del services[service.service_id]
        owners = dict(processes.hosts(services))
        for service in services.values():
            processes.write_policy(self._files, service)
        # In this order, each host leads to a service that has an entry, or to none.
        self._haproxy.replace(
            self._files.services, [(it.service_id, it.value) for it in services.values()]
        )
        self._haproxy.replace(
            self._files.delivery,
            [(it.service_id, it.delivery) for it in services.values() if it.delivery],
        )
        self._haproxy.replace(self._files.sick, [(key, "1") for key in self._health.sick()])
        self._haproxy.replace(self._files.hosts, owners.items())
        self._haproxy.replace(self._files.challenges, processes.challenges(services))
        self._remove_certificates(stale)
        for gone in self._services.keys() - services.keys():
            self._health.put(gone, ())
        for service in services.values():
            self._health.put(service.service_id, service.checks)
        self._services, self._owners = services, owners
        return refusals

    def apply(self, program: Program) -> None:
        """Serve a program in place of the service's previous one.

        Raises:
            Refused: this node can't serve it. The previous program is still served.
        """
        service = served(program, self._settings)
        previous = self._services.get(service.service_id)
        known = {self._path(it) for it in previous.certificates} if previous else set()
        self._add_certificates(service, known)
        processes.write_policy(self._files, service)
        if previous is None or service.value != previous.value:
            self._haproxy.put(self._files.services, service.service_id, service.value)
        self._put_delivery(service, previous)
        for host in service.hosts:
            if self._owners.get(host) != service.service_id or previous is None:
                self._haproxy.put(self._files.hosts, host, service.service_id)
                self._owners[host] = service.service_id
        known_challenges = previous.challenges if previous else ()
        for key, value in set(service.challenges).difference(known_challenges):
            self._haproxy.put(self._files.challenges, key, value)
        self._services[service.service_id] = service
        if previous is not None:
            self._forget_hosts(previous, service.hosts)
            self._forget_challenges(previous, service)
            self._forget_files(previous, service.files)
        self._health.put(service.service_id, service.checks)
        self._remove_certificates(known.difference(map(self._path, service.certificates)))

    def withdraw(self, service_id: str) -> None:
        """Stop serving a service, if it is served, and evict its objects."""
        service = self._services.get(service_id)
        if service is not None:
            self._forget_hosts(service, ())
            self._forget_challenges(service, None)
            self._haproxy.delete(self._files.services, service_id)
            if service.delivery:
                self._haproxy.delete(self._files.delivery, service_id)
            self._remove_certificates(map(self._path, service.certificates))
            del self._services[service_id]
            self._forget_files(service, ())
            self._health.put(service_id, ())
        self.purge(service_id, Purge(None, True))

    def purge(self, service_id: str, purge: Purge) -> None:
        """Evict objects of a service, or mark them stale.

        A path covers all its queries, and a path with a query that alone. A soft purge by a
        pattern other than ``/directory/*`` evicts too, because Varnish can only find marked
        objects by their keys.
        """
        keys, patterns = purges.scope(service_id, purge)
        for start in range(0, len(keys), _MAX_KEYS):
            self._varnish.purge(keys[start : start + _MAX_KEYS], hard=purge.hard)
        for url in patterns:
            self._varnish.ban(purges.ban(service_id, url))

    def prewarm(self, service_id: str, revision: int, paths: Sequence[str]) -> None:
        """Fetch paths of each domain of a service in the background, if it is served."""
        service = self._services.get(service_id)
        hosts = service.hosts if service else ()
        named = {name for it in (service.certificates if service else ()) for name in it.names}
        targets = [Target(host, host in named, path) for path in paths for host in hosts]
        self._prewarming.add(service_id, revision, targets)

    def prewarmed(self) -> Mapping[str, Prewarmed]:
        """Return the state of the last prewarms by service."""
        return self._prewarming.state()

    def flush(self) -> None:
        """Empty the cache of all services."""
        self._varnish.ban("obj.status != 0")

    def started(self) -> Mapping[str, datetime]:
        """Return when each process was started; one that does not run is missing."""
        found = {}
        for name, process in (("haproxy", self._haproxy), ("varnish", self._varnish)):
            with contextlib.suppress(Down):
                found[name] = process.started()
        return found

    def traffic(self) -> Sample:
        """Return what HAProxy has counted.

        Raises:
            Down: it does not answer.
            PermanentError: it does not count, since it was started by an earlier release.
        """
        return traffic.parse(self._haproxy.table(traffic.TABLE))

    def set_ready(self, ready: bool) -> None:
        """Set the status of the node's health page, which is 503 after HAProxy's start."""
        self._haproxy.put(self._files.ready, "node", "1" if ready else "0")

    def _put_delivery(self, service: Served, previous: Served | None) -> None:
        known = previous.delivery if previous else ""
        if service.delivery and service.delivery != known:
            self._haproxy.put(self._files.delivery, service.service_id, service.delivery)
        elif known and not service.delivery:
            self._haproxy.delete(self._files.delivery, service.service_id)

    def _forget_hosts(self, service: Served, kept: Iterable[str]) -> None:
        for host in set(service.hosts).difference(kept):
            if self._owners.get(host) == service.service_id:
                self._haproxy.delete(self._files.hosts, host)
                del self._owners[host]

    def _forget_challenges(self, service: Served, successor: Served | None) -> None:
        kept = dict(successor.challenges) if successor else {}
        for key, _ in service.challenges:
            if key not in kept:
                self._haproxy.delete(self._files.challenges, key)

    def _path(self, certificate: Certificate) -> Path:
        return self._files.certificates / certificate.name

    def _add_certificates(self, service: Served, known: Container[Path]) -> None:
        """Check and add a service's certificates that HAProxy does not have, all or none.

        Raises:
            Refused: one is invalid, or HAProxy refuses it.
        """
        new = [it for it in service.certificates if self._path(it) not in known]
        for it in new:
            check(it)
        added: list[Path] = []
        for it in new:
            path = self._path(it)
            line = processes.entry(self._files, it)
            try:
                self._haproxy.add_certificate(self._files.certificate_list, path, it.pem, line)
            except PermanentError as exc:
                self._remove_certificates(added)
                raise Refused(f"The certificate of {', '.join(it.names):.100}: {exc}") from exc
            added.append(path)

    def _remove_certificates(self, paths: Iterable[Path]) -> None:
        """Remove certificates, and the files that HAProxy has read them from at its start."""
        for path in paths:
            self._haproxy.remove_certificate(self._files.certificate_list, path)
            path.unlink(missing_ok=True)

    def _forget_files(self, service: Served, kept: Container[str]) -> None:
        """Delete files of a service one change later, because a request may be about to read one.

        Args:
            service: the service as it was.
            kept: the names of its files now.
        """
        gone = {name for name in service.files if name not in kept}
        if gone:
            for name in self._replaced.pop(service.service_id, set()):
                if name not in kept:
                    (self._files.policies / name).unlink(missing_ok=True)
            self._replaced[service.service_id] = gone

    def _set_sick(self, key: str, is_sick: bool) -> None:
        """Tell HAProxy whether an origin fails its health checks.

        Raises:
            Down: HAProxy does not answer.
        """
        if is_sick:
            self._haproxy.put(self._files.sick, key, "1")
        else:
            self._haproxy.delete(self._files.sick, key)
