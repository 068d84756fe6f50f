# SPDX-License-Identifier: Apache-2.0
"""The long run: requests and faults by a plan, and then the checker."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from poppy.model.operations import Operation
from tests.chaos import checker, plan
from tests.chaos.checker import Violation, World, Wrong
from tests.chaos.faults import Breaker
from tests.chaos.plan import Act, Life
from tests.chaos.site import AUDITING, Site
from tests.chaos.tenant import Answer, Request, Tenant, document_of

#: Seconds that a client waits for a status before it goes on.
PATIENCE = 60.0
#: Seconds after which the claim of an aborted request can be taken over, with a margin.
_GRACE = 330.0
#: The maximum number of domains of a service.
_DOMAINS = 10
#: The number of attempts for a refused or unanswered request.
_TRIES = 30


@dataclass(frozen=True)
class Plan:
    """The size of a run."""

    seed: int
    requests: int = 1000
    tenants: int = 4
    clients: int = 4
    workers: int = 3

    def of_clients(self) -> Iterator[tuple[str, list[Life]]]:
        """Yield the project and the lives of each client."""
        number = self.tenants * self.clients
        for each in range(number):
            client = f"c{each}"
            share = self.requests // number + (each < self.requests % number)
            yield f"tenant-{each % self.tenants}", list(plan.lives(self.seed, client, share))


@dataclass
class Report:
    """The results of a run."""

    plan: Plan
    violations: list[Violation]
    rows: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        width = max(map(len, self.rows))
        lines = [f"{name:{width}}  {value}" for name, value in self.rows.items()]
        return "\n".join([*lines, *map(str, self.violations)])


def run(wanted: Plan, directory: Path) -> Report:
    """Start a site, run the plan, wait until operations settle, and check.

    Args:
        directory: the directory of configuration and logs.
    """
    began = time.monotonic()
    with Site(directory, wanted.seed, AUDITING) as site:
        for _ in range(wanted.workers):
            site.start_worker()
        clients = [
            threading.Thread(target=_live, args=(site, project, lives), name=lives[0].name)
            for project, lives in wanted.of_clients()
            if lives
        ]
        with Breaker(site, plan.blows(wanted.seed)) as breaker:
            asked = time.monotonic()
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            asked = time.monotonic() - asked
        if breaker.failure is not None:
            raise breaker.failure
        settling = time.monotonic()
        site.settle()
        site.audit()
        world = site.settle()
        settling = time.monotonic() - settling
        violations = checker.check(site.journal, world)
        if not violations:
            violations = _use_again(site, world)
        report = Report(wanted, violations)
        _keep(site, directory)
        report.rows = {
            "seed": str(wanted.seed),
            **_requests(site.journal.requests),
            **_operations(world),
            "faults": str(breaker.dealt.total()),
            **{f"  {fault}": str(number) for fault, number in sorted(breaker.dealt.items())},
            **_calls(site.double.journal()),
            "asking": f"{asked:.0f} s",
            "settling": f"{settling:.1f} s",
            "in all": f"{time.monotonic() - began:.0f} s",
            "violations": str(len(report.violations)),
        }
        return report


def _keep(site: Site, directory: Path) -> None:
    """Write the requests of tenants and the calls of the double to files."""
    for name, entries in (
        ("requests.log", map(asdict, site.journal.requests)),
        ("calls.log", site.double.journal()),
    ):
        (directory / name).write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))


def _use_again(site: Site, world: World) -> list[Violation]:
    """Create services with all free domains; report domains that are still taken.

    This excludes domains of recent unanswered requests, since the claim of an aborted request
    can be taken over only after a delay.
    """
    late = time.time() - _GRACE
    asked, doubtful = set(), set()
    for request in site.journal.requests:
        domains = {entry["domain"] for entry in (request.document or {}).get("domains", ())}
        asked |= domains
        if request.answer is Answer.UNKNOWN and request.at > late:
            doubtful |= domains
    owned = {name for service in world.services for name in service.spec.domain_names}
    free = sorted(asked - owned - doubtful)
    tenant = site.tenant("tenant-again")
    for first in range(0, len(free), _DOMAINS):
        tenant.create(f"again-{first}", free[first : first + _DOMAINS])
    tenant.close()
    refused = [r for r in site.journal.requests if r.project_id == tenant.project_id and r.text]
    taken = [Violation(Wrong.ORPHAN, request.name, request.text) for request in refused]
    return taken + checker.check(site.journal, site.settle())


def _live(site: Site, project: str, lives: list[Life]) -> None:
    tenant = site.tenant(project)
    for life in lives:
        _Liver(tenant, life).live()
    tenant.close()


class _Liver:
    """Carry out a life as far as possible."""

    def __init__(self, tenant: Tenant, life: Life) -> None:
        self._tenant = tenant
        self._planned = self._life = life
        self._tries = 0
        self._service_id = ""

    def live(self) -> None:
        for number, act in enumerate(self._life.acts):
            if act is Act.SETTLE:
                self._wait("deployed", "failed")
            elif act is Act.VANISH:
                self._wait("gone")
            elif not self._insist(act, number):
                return

    def _insist(self, act: Act, number: int) -> bool:
        """Repeat a request until it is accepted; return whether the life can go on."""
        for _ in range(_TRIES):
            request = self._ask(act, number)
            if request.answer is Answer.ACCEPTED:
                self._service_id = request.service_id or ""
                return True
            if act is Act.CREATE and request.answer is Answer.UNKNOWN:
                # The service may exist with an unknown id, so create another one.
                self._tries += 1
                self._life = self._planned.renamed(self._tries)
            if request.status == 404:
                # An earlier delete without an answer was accepted.
                return False
            # The service has not settled, or a request with a lost answer has taken the domain.
            if act is Act.CREATE and "taken" in request.text:
                self._tries += 1
                self._life = self._planned.renamed(self._tries)
            time.sleep(0.5)
        return False

    def _ask(self, act: Act, number: int) -> Request:
        name, domains = self._life.name, self._life.domains[number]
        if act is Act.CREATE:
            return self._tenant.create(name, domains)
        if act is Act.UPDATE:
            document = document_of(name, domains, version=number + 1)
            return self._tenant.update(name, self._service_id, document)
        if act is Act.PURGE:
            return self._tenant.purge(name, self._service_id, f"/{name}/{number}")
        return self._tenant.delete(name, self._service_id)

    def _wait(self, *wanted: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self._tenant.status(self._service_id) in wanted:
                return
            time.sleep(0.2)


def _requests(requests: list[Request]) -> dict[str, str]:
    answers = [request.answer for request in requests]
    return {
        "asked": str(len(answers)),
        **{f"  {answer}": str(answers.count(answer)) for answer in Answer},
    }


def _operations(world: World) -> dict[str, str]:
    operations = [operation for listed in world.operations.values() for operation in listed]
    finished = [operation for operation in operations if operation.state.finished]
    states = [str(operation.state) for operation in operations]
    longest = max(finished, key=_seconds)
    about = f"{longest.kind}, {longest.attempt} attempts"
    return {
        "operations": str(len(operations)),
        **{f"  {state}": str(states.count(state)) for state in sorted(set(states))},
        "further attempts": str(sum(max(0, o.attempt - 1) for o in operations)),
        "longest under way": f"{_seconds(longest):.1f} s ({about})",
    }


def _seconds(operation: Operation) -> float:
    return (operation.updated_at - operation.created_at).total_seconds()


def _calls(journal: list[dict[str, object]]) -> dict[str, str]:
    spoilt = sum(call["order"] not in (None, "slow") for call in journal)
    return {"calls of provider and DNS": f"{len(journal)}, {spoilt} of them spoilt"}
