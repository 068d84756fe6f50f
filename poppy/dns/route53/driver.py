# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``route53``: operator names in Amazon Route 53.

See ``doc/source/drivers/route53.rst``.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from oslo_config import cfg

from poppy.common.errors import PermanentError, RetryableError
from poppy.dns.base import COMMON_OPTS, DNSDriver, occupied, possible
from poppy.dns.route53 import records
from poppy.dns.route53.listing import PAGE, Listing, Page, position
from poppy.dns.route53.records import Record
from poppy.dns.steering import AddressPool, Policy, Steering
from poppy.dns.zones import Zones
from poppy.vendors import aws

#: Maximum records and value characters of a request; an UPSERT counts twice.
_MOST_RECORDS, _MOST_CHARACTERS = 1000, 32000

#: The types of records besides CNAME; see ResourceRecordSet in the API reference.
_FOREIGN = (
    *("A", "AAAA", "CAA", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR"),
    *("SOA", "SPF", "SRV", "SSHFP", "SVCB", "TLSA", "TXT"),
)

#: An action and its record.
Change = tuple[str, Record]


class Route53DNS(DNSDriver):
    """Create CNAMEs in hosted zones, with all records of a name in one transaction.

    Needs the extra ``poppy-cdn[route53]``. Route 53 accepts a change at once and propagates it to
    its name servers within about a minute. The driver does not wait for that.
    """

    STEERING: ClassVar[frozenset[Steering]] = frozenset(Steering)
    KEEPS_EDGE: ClassVar[bool] = True

    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        *COMMON_OPTS,
        *aws.OPTS,
        cfg.ListOpt(
            "hosted_zone_ids",
            default=[],
            help="Ids of the public hosted zones of the suffixes. Empty: they are found by name; "
            "the names must be unique in the account.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Read the options.

        Raises:
            ConfigError: the options contradict each other.
        """
        super().__init__(conf, name)
        self._service = aws.Service(name, "route53", self.options)
        self._zones = Zones[str]((), self.options.suffix, self._find_zone)

    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Set the CNAMEs; see :meth:`DNSDriver.ensure`."""
        wanted = {name: [self._simple(name, target)] for name, target in cnames.items()}
        for zone, names in self._zones.group(cnames).items():
            for batch in _batches({name: _upserts(wanted[name]) for name in names}):
                try:
                    self._change(zone, batch)
                except aws.Refused as exc:
                    if exc.code != "InvalidChangeBatch":
                        raise
                    # The names may be steered. An UPSERT does not replace steered records.
                    self._replace(zone, batch, wanted)

    def steer(self, policies: Mapping[str, Policy]) -> None:
        """Set weighted and geolocation records; see :meth:`DNSDriver.steer`."""
        ttl = self.options.ttl
        wanted = {name: records.steered(name, it, ttl) for name, it in policies.items()}
        for zone, names in self._zones.group(policies).items():
            self._replace(zone, names, wanted)

    def differences(self, policies: Mapping[str, Policy]) -> Sequence[str]:
        """Compare the records of the names; see :meth:`DNSDriver.differences`."""
        ttl = self.options.ttl
        wanted = {
            name: records.steered(name, it, ttl)
            if len(it) > 1
            else [self._simple(name, it[0].name)]
            for name, it in policies.items()
        }
        differing = []
        for zone, names in self._zones.group(policies).items():
            changes = self._changes(zone, names, wanted)
            differing += [name for name, it in changes.items() if it]
            self._check_free(zone, [name for name, it in changes.items() if it])
        return [f"{name} has no record, or other ones, at Route 53" for name in sorted(differing)]

    def _check_free(self, zone: str, names: Sequence[str]) -> None:
        """Raise PermanentError if a name has other records than CNAMEs."""
        listing = Listing(lambda name: self._list(zone, name, min(_FOREIGN)), _FOREIGN)
        for name in sorted(names, key=position):
            if foreign := sorted({it["Type"] for it in listing.at(name)}):
                raise occupied(name, ", ".join(foreign))

    def ensure_edge(self, name: str, pools: Sequence[AddressPool], ttl: int) -> None:
        """Set A and AAAA records in one change; see :meth:`DNSDriver.ensure_edge`."""
        zone = self._zones.of(name)
        wanted = {name: records.addresses(name, pools, ttl, zone)}
        self._replace(zone, [name], wanted, ("A", "AAAA", "CNAME"))

    def names_made(self, name: str, by_geography: bool) -> Sequence[str]:
        """Return the name and its longest helper name, used for weights within locations."""
        return (name, records.longest_helper_of(name)) if by_geography else (name,)

    def remove(self, names: Sequence[str]) -> None:
        """Remove the CNAMEs; see :meth:`DNSDriver.remove`."""
        for zone, members in self._zones.group(possible(names)).items():
            self._replace(zone, members, {})

    def health(self) -> bool:
        """Return whether Route 53 answers and accepts the credentials."""
        if self.options.hosted_zone_ids:
            return self._service.answers("get_hosted_zone", Id=self.options.hosted_zone_ids[0])
        return self._service.answers("list_hosted_zones_by_name", MaxItems="1")

    def _simple(self, name: str, target: str) -> Record:
        return records.simple(name, target, self.options.ttl)

    def _replace(
        self,
        zone: str,
        names: Iterable[str],
        wanted: Mapping[str, Sequence[Record]],
        types: Collection[str] = ("CNAME",),
    ) -> None:
        """Replace the current records of names, of some types."""
        for batch in _batches(self._changes(zone, names, wanted, types)):
            self._change(zone, batch)

    def _changes(
        self,
        zone: str,
        names: Iterable[str],
        wanted: Mapping[str, Sequence[Record]],
        types: Collection[str] = ("CNAME",),
    ) -> dict[str, Sequence[Change]]:
        """Return what to change in the current records of names, by name."""
        # Deleting a record requires its current content.
        listing = Listing(lambda name: self._list(zone, name, min(types)), types)
        with self._outdated():
            return {
                name: records.changes(_found(listing, name), wanted.get(name, ()))
                for name in sorted(names, key=position)
            }

    def _list(self, zone: str, name: str, first: str) -> Iterator[Page]:
        """Yield the pages of all records from those of a name and type on."""
        return self._service.pages(
            "list_resource_record_sets",
            HostedZoneId=zone,
            StartRecordName=name,
            StartRecordType=first,
            PaginationConfig={"PageSize": PAGE},
        )

    def _change(self, zone: str, batch: Mapping[str, Sequence[Change]]) -> None:
        """Apply a batch of changes by name, atomically."""
        changes = [change for of_a_name in batch.values() for change in of_a_name]
        with self._outdated():
            self._service.call(
                "change_resource_record_sets",
                HostedZoneId=zone,
                ChangeBatch={
                    "Changes": [
                        {"Action": action, "ResourceRecordSet": record}
                        for action, record in changes
                    ]
                },
            )

    @contextlib.contextmanager
    def _outdated(self) -> Iterator[None]:
        """Make a refusal retryable if the cached zone or a record that was read is outdated."""
        try:
            yield
        except aws.Refused as exc:
            if exc.code == "NoSuchHostedZone":
                self._zones.forget()
            elif not (exc.code == "InvalidChangeBatch" and _is_outdated(str(exc))):
                raise
            raise RetryableError(str(exc)) from exc

    def _find_zone(self, zone_name: str) -> str | None:
        """Return the id of the public hosted zone of a name; None if there is none.

        Raises:
            PermanentError: there are several.
        """
        if self.options.hosted_zone_ids:
            zones = [
                self._service.call("get_hosted_zone", Id=zone_id)["HostedZone"]
                for zone_id in self.options.hosted_zone_ids
            ]
        else:
            answer = self._service.call("list_hosted_zones_by_name", DNSName=zone_name)
            zones = answer["HostedZones"]
        found = [
            zone["Id"].rpartition("/")[2]
            for zone in zones
            if zone["Name"].rstrip(".") == zone_name and not zone["Config"].get("PrivateZone")
        ]
        if len(found) > 1:
            raise PermanentError(
                f"There are several hosted zones {zone_name}: set one in hosted_zone_ids"
            )
        return str(found[0]) if found else None


def _found(listing: Listing, name: str) -> list[Record]:
    """Return the records of a name and its helper names."""
    own = listing.at(name)
    if not records.leads_to_helpers(name, own):
        return own
    return [*own, *listing.below(records.helpers_of(name))]


def _upserts(wanted: Sequence[Record]) -> list[Change]:
    return [("UPSERT", record) for record in wanted]


def _batches(changes: Mapping[str, Sequence[Change]]) -> Iterator[dict[str, Sequence[Change]]]:
    """Yield changes by name in batches within Route 53's limits, without splitting a name.

    Raises:
        PermanentError: one name has too many changes; the message has the name.
    """
    batch: dict[str, Sequence[Change]] = {}
    count = size = 0
    for name, of_a_name in changes.items():
        if not of_a_name:
            continue
        values = [
            value
            for action, record in of_a_name
            for value in records.values(record)
            for _ in range(_times(action))
        ]
        more, longer = len(values), sum(map(len, values))
        if more > _MOST_RECORDS or longer > _MOST_CHARACTERS:
            raise PermanentError(f"{name}: too many records for one Route 53 change")
        if batch and (count + more > _MOST_RECORDS or size + longer > _MOST_CHARACTERS):
            yield batch
            batch, count, size = {}, 0, 0
        batch[name] = of_a_name
        count, size = count + more, size + longer
    if batch:
        yield batch


def _times(action: str) -> int:
    return 2 if action == "UPSERT" else 1


def _is_outdated(message: str) -> bool:
    """Return whether a delete was refused because the record has changed since it was read."""
    return "not found" in message or "do not match" in message
