# SPDX-License-Identifier: Apache-2.0
"""What the nodes of the operator's own edge count: responses, hits and bytes by domain and hour.

A node reports sums, not what was added: those of one hour so far, under an ID that it gives to
each hour's sums. So a repeated report replaces equal figures, and nothing counts twice.
"""

import abc
import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

HOUR = datetime.timedelta(hours=1)

#: Domains in a report, and its rows: each domain has one, and one for each of its countries. A
#: domain with more rows is the only one of its report.
MAX_DOMAINS = MAX_ROWS = 1000
#: The country of clients that no geography database has: a code that ISO 3166-1 leaves to users.
UNKNOWN = "ZZ"
#: The codes of two letters.
MAX_COUNTRIES = 26 * 26
#: So that the sums over all nodes fit in 64 bits.
MAX_COUNT = 2**53


def hour_of(moment: datetime.datetime) -> datetime.datetime:
    """Return the start of the hour of a moment."""
    return moment.replace(minute=0, second=0, microsecond=0)


class Counts(NamedTuple):
    """Counts of an hour, or their sums over several nodes.

    Attributes:
        responses_1xx, ..., responses_5xx: responses by class; the first one has upgrades only.
        hits: responses from the cache.
        sent: bytes that were sent to clients, without TLS. Those of header fields are estimates.
    """

    responses_1xx: int = 0
    responses_2xx: int = 0
    responses_3xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0
    hits: int = 0
    sent: int = 0

    @property
    def requests(self) -> int:
        """The requests that got a response."""
        return sum(self[:5])

    @property
    def misses(self) -> int:
        """The responses that did not come from the cache."""
        return self.requests - self.hits

    @property
    def hit_ratio(self) -> float:
        """The part of the responses that came from the cache; 0 without any response."""
        return self.hits / self.requests if self.requests else 0.0

    def plus(self, other: "Counts") -> "Counts":
        """Return the sums of two counts."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


class Domain(NamedTuple):
    """A domain while a service has it: another service that gets it has figures of its own.

    Attributes:
        country: the clients' one, as its ISO 3166-1 code of two letters; empty for all.
    """

    service_id: str
    name: str
    country: str = ""

    @property
    def everywhere(self) -> "Domain":
        """The domain with the clients of all countries."""
        return self._replace(country="")


#: Stands for all domains of a node.
TOTAL = Domain("", "")


class Batch(NamedTuple):
    """Sums of a node for an hour, of some domains or all.

    Attributes:
        source: identifies these sums among all of the node; of several with the same hour, the
            sums add up.
        hour: its start.
        sequence: sums with a higher number replace those of the same source.
        counts: by domain. Those of countries are parts of it, without :data:`UNKNOWN`.
    """

    source: str
    hour: datetime.datetime
    sequence: int
    counts: Mapping[Domain, Counts]


#: Sums by hour, in order of time.
Hours = Sequence[tuple[datetime.datetime, Counts]]


def by_country(
    totals: Iterable[tuple[datetime.datetime, Counts]],
    parts: Iterable[tuple[str, datetime.datetime, Counts]],
) -> Mapping[str, Hours]:
    """Return sums by country, in order of codes, so that they add up to the totals.

    Args:
        totals: the sums of all countries by hour.
        parts: sums by country and hour, in any order; equal ones add up.

    Returns:
        :data:`UNKNOWN` has the rest of the totals.
    """
    rest = dict(totals)
    found: dict[str, dict[datetime.datetime, Counts]] = defaultdict(dict)
    for country, hour, counts in parts:
        if country == UNKNOWN:
            continue
        found[country][hour] = found[country].get(hour, Counts()).plus(counts)
        # A store may have countries that are newer than the totals.
        left = zip(rest.get(hour, Counts()), counts, strict=True)
        rest[hour] = Counts(*(max(a - b, 0) for a, b in left))
    unknown = {hour: counts for hour, counts in rest.items() if any(counts)}
    if unknown:
        found[UNKNOWN] = unknown
    return {country: sorted(hours.items()) for country, hours in sorted(found.items())}


class Traffic(Protocol):
    """What the store keeps of the nodes' figures.

    Every method may raise :class:`poppy.common.errors.Unavailable`.
    """

    @abc.abstractmethod
    def add_traffic(self, node: str, batch: Batch, keep: datetime.timedelta) -> None:
        """Store sums in place of those of the same source, unless these are as new or newer.

        Args:
            node: its name.
            keep: how long to keep them at least, after they were stored.
        """

    @abc.abstractmethod
    def traffic(self, domain: Domain, start: datetime.datetime, end: datetime.datetime) -> Hours:
        """Return the sums over all nodes and countries by hour, in order.

        Args:
            start, end: the hours begin within these, without ``end``.
        """

    @abc.abstractmethod
    def traffic_by_country(
        self, domain: Domain, start: datetime.datetime, end: datetime.datetime
    ) -> Mapping[str, Hours]:
        """Return the sums over all nodes by country and hour; see :func:`by_country`.

        Args:
            start, end: as for :meth:`traffic`.
        """

    @abc.abstractmethod
    def traffic_of_nodes(self, start: datetime.datetime) -> Mapping[str, Counts]:
        """Return the sums by node since the start of an hour, at most a day ago."""

    @abc.abstractmethod
    def prune_traffic(self, before: datetime.datetime, limit: int) -> int:
        """Delete figures of hours before a time, up to ``limit`` rows; return how many.

        A store that deletes them by itself returns 0.
        """
