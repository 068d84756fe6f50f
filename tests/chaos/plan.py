# SPDX-License-Identifier: Apache-2.0
"""What tenants ask for in the long run, and what breaks meanwhile: all of it by the seed."""

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
    #: Until it is deployed, or failed.
    SETTLE = "settle"
    #: Until it is gone.
    VANISH = "vanish"


_REQUESTS = frozenset({Act.CREATE, Act.UPDATE, Act.PURGE, Act.DELETE})


@dataclass(frozen=True)
class Life:
    """One service, from its create to its end, or to where it is left.

    Attributes:
        name: no other service has it.
        domains: that it has in turn: each update takes the next set.
    """

    name: str
    domains: tuple[tuple[str, ...], ...]
    acts: tuple[Act, ...]

    @property
    def requests(self) -> int:
        """How many of the acts are requests."""
        return sum(act in _REQUESTS for act in self.acts)

    def renamed(self, number: int) -> "Life":
        """The same life of another service, with other domains."""
        domains = tuple(
            tuple(f"again{number}.{domain}" for domain in names) for names in self.domains
        )
        return replace(self, name=f"{self.name}-again{number}", domains=domains)


def lives(seed: int, client: str, requests: int) -> Iterator[Life]:
    """What one client asks for, one after the other.

    Domains are used again after a delete, as soon as the service is gone.

    Args:
        client: names it, and is part of all its names.
        requests: about how many in all, and no fewer.
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
        # Free for the next one only if this one has been seen to be gone.
        free += Act.VANISH not in acts
        yield life


def _acts(chance: random.Random) -> tuple[Act, ...]:
    acts = [Act.CREATE]
    for _ in range(chance.randint(0, 3)):
        acts += [Act.SETTLE, chance.choice((Act.UPDATE, Act.UPDATE, Act.PURGE))]
    if chance.random() < 0.6:
        # Half of the deletes come while something is under way.
        if chance.random() < 0.5:
            acts.append(Act.SETTLE)
        acts.append(Act.DELETE)
        if chance.random() < 0.7:
            acts.append(Act.VANISH)
    return tuple(acts)


class Fault(enum.StrEnum):
    """Something that breaks, and is well again after a while."""

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
}


@dataclass(frozen=True)
class Blow:
    """A fault, and when.

    Attributes:
        after: seconds since the one before was over.
        lasts: seconds, where it lasts.
        which: of several, to be taken modulo their number.
    """

    fault: Fault
    after: float
    lasts: float
    which: int = field(default=0)


def blows(seed: int) -> Iterator[Blow]:
    """Faults without end; each kind comes once before the dice decide."""
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
