# SPDX-License-Identifier: Apache-2.0
"""The plan of the long run, derived from its seed: requests of tenants, and faults."""

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace


class Act(enum.StrEnum):
    """A request, or a pause until a service has settled."""

    CREATE = "create"
    UPDATE = "update"
    PURGE = "purge"
    DELETE = "delete"
    #: Wait until the service is deployed or failed.
    SETTLE = "settle"
    #: Wait until the service is gone.
    VANISH = "vanish"


_REQUESTS = frozenset({Act.CREATE, Act.UPDATE, Act.PURGE, Act.DELETE})


@dataclass(frozen=True)
class Life:
    """The planned requests for one service.

    Attributes:
        name: the unique name of the service.
        domains: the sets of domains; each act has its own set.
    """

    name: str
    domains: tuple[tuple[str, ...], ...]
    acts: tuple[Act, ...]

    @property
    def requests(self) -> int:
        """The number of acts that are requests."""
        return sum(act in _REQUESTS for act in self.acts)

    def renamed(self, number: int) -> "Life":
        """Return the same life for another service with other domains."""
        domains = tuple(
            tuple(f"again{number}.{domain}" for domain in names) for names in self.domains
        )
        return replace(self, name=f"{self.name}-again{number}", domains=domains)


def lives(seed: int, client: str, requests: int) -> Iterator[Life]:
    """Yield the lives of one client in order.

    Domains are reused after a delete, once the service is gone.

    Args:
        client: the name of the client, a prefix of its services' names.
        requests: the minimum number of requests, exceeded only by the last life.
    """
    chance = random.Random(f"{seed} {client}")
    left, number, free = requests, 0, 0
    while left > 0:
        number += 1
        acts = _acts(chance)
        domain = f"www.{client}-{free}.example.com"
        other = f"static.{client}-{free}.example.com"
        sets = tuple((domain, other) if chance.random() < 0.4 else (domain,) for act in acts)
        life = Life(f"{client}-{number}", sets, acts)
        left -= life.requests
        # The next service may use the domain only if this life waits for the end of its service.
        free += Act.VANISH not in acts
        yield life


def _acts(chance: random.Random) -> tuple[Act, ...]:
    acts = [Act.CREATE]
    for _ in range(chance.randint(0, 3)):
        acts += [Act.SETTLE, chance.choice((Act.UPDATE, Act.UPDATE, Act.PURGE))]
    if chance.random() < 0.6:
        # Half of the deletes supersede a running operation.
        if chance.random() < 0.5:
            acts.append(Act.SETTLE)
        acts.append(Act.DELETE)
        if chance.random() < 0.7:
            acts.append(Act.VANISH)
    return tuple(acts)


class Fault(enum.StrEnum):
    """A temporary fault."""

    WORKER_KILLED = "worker killed"
    WORKER_FROZEN = "worker frozen"
    WORKER_REPLACED = "worker replaced"
    SERVER_KILLED = "server killed"
    ZOOKEEPER_KILLED = "ZooKeeper killed"
    ZOOKEEPER_FROZEN = "ZooKeeper frozen"
    ZOOKEEPER_WIPED = "ZooKeeper wiped"
    CASSANDRA_FROZEN = "Cassandra frozen"
    CASSANDRA_RESTARTED = "Cassandra restarted"
    PROVIDER_OUT = "provider and DNS out"
    HANDS = "objects and names changed by hand"


_WEIGHTS = {
    Fault.WORKER_KILLED: 8,
    Fault.WORKER_FROZEN: 4,
    Fault.WORKER_REPLACED: 3,
    Fault.SERVER_KILLED: 2,
    Fault.ZOOKEEPER_KILLED: 1,
    Fault.ZOOKEEPER_FROZEN: 1,
    Fault.ZOOKEEPER_WIPED: 1,
    Fault.CASSANDRA_FROZEN: 2,
    Fault.CASSANDRA_RESTARTED: 1,
    Fault.PROVIDER_OUT: 3,
    Fault.HANDS: 5,
}


@dataclass(frozen=True)
class Blow:
    """A fault with its time.

    Attributes:
        after: seconds after the end of the previous fault.
        lasts: the duration in seconds, if the fault has one.
        which: the index of the affected process, modulo the number of processes.
    """

    fault: Fault
    after: float
    lasts: float
    which: int = field(default=0)


def blows(seed: int) -> Iterator[Blow]:
    """Yield faults without end: each kind once, then weighted random ones."""
    chance = random.Random(f"{seed} faults")
    first = list(Fault)
    chance.shuffle(first)
    while True:
        fault = (
            first.pop() if first else chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        )
        yield Blow(
            fault,
            round(chance.uniform(0.2, 2.0), 2),
            round(chance.uniform(0.5, 5.0), 2),
            chance.randrange(1000),
        )
