# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``route53``: the operator's names in hosted zones of Amazon Route 53.

See ``doc/source/drivers/route53.rst``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

from oslo_config import cfg

from poppy.common import aws
from poppy.common.errors import PermanentError, RetryableError
from poppy.dns.base import COMMON_OPTS, DNSDriver
from poppy.dns.zones import Zones

#: Changes in a request. Amazon allows 1,000 records and 32,000 characters of values, and counts
#: an UPSERT twice; so many of the longest names stay below that.
_BATCH = 60


class Route53DNS(DNSDriver):
    """Makes CNAMEs in hosted zones, those of a zone in one transaction of at most 60.

    Needs the extra ``poppy[route53]``. A change is accepted at once and on all of Amazon's name
    servers within about a minute, which is not waited for.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        *COMMON_OPTS,
        *aws.OPTS,
        cfg.ListOpt(
            "hosted_zone_ids",
            default=[],
            help="The ids of the public hosted zones with the suffixes. Empty: they are found "
            "by their names, which must be unique in the account.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Read the options.

        Raises:
            ConfigError: they contradict each other.
        """
        super().__init__(conf, name)
        self._service = aws.Service(name, "route53", self.options)
        self._zones = Zones[str]((), self.options.suffix, self._find_zone)

    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Set the CNAMEs; see :meth:`DNSDriver.ensure`."""
        for zone, names in self._zones.group(cnames).items():
            records = (self._record(name, cnames[name]) for name in names)
            self._change(zone, (("UPSERT", record) for record in records))

    def remove(self, names: Sequence[str]) -> None:
        """Drop the CNAMEs; see :meth:`DNSDriver.remove`."""
        for zone, members in self._zones.group(names).items():
            # A record can only be deleted by saying what is in it.
            found = [record for name in members for record in self._find(zone, name)]
            self._change(zone, (("DELETE", record) for record in found))

    def health(self) -> bool:
        """Whether Amazon answers, and lets us."""
        if self.options.hosted_zone_ids:
            return self._service.answers("get_hosted_zone", Id=self.options.hosted_zone_ids[0])
        return self._service.answers("list_hosted_zones_by_name", MaxItems="1")

    def _record(self, name: str, target: str) -> dict[str, Any]:
        return {
            "Name": name,
            "Type": "CNAME",
            "TTL": self.options.ttl,
            "ResourceRecords": [{"Value": target}],
        }

    def _find(self, zone: str, name: str) -> Iterator[dict[str, Any]]:
        """The CNAME of a name; several if they are weighted, say."""
        for page in self._pages(zone, name):
            for record in page["ResourceRecordSets"]:
                if (record["Name"].rstrip("."), record["Type"]) != (name.lower(), "CNAME"):
                    return
                yield record

    def _pages(self, zone: str, name: str) -> Iterator[dict[str, Any]]:
        """The zone from a name on, in small pages, as names have few records."""
        return self._service.pages(
            "list_resource_record_sets",
            HostedZoneId=zone,
            StartRecordName=name,
            StartRecordType="CNAME",
            PaginationConfig={"PageSize": 20},
        )

    def _change(self, zone: str, changes: Iterable[tuple[str, dict[str, Any]]]) -> None:
        wanted = iter(changes)
        while batch := list(islice(wanted, _BATCH)):
            try:
                self._service.call(
                    "change_resource_record_sets",
                    HostedZoneId=zone,
                    ChangeBatch={
                        "Changes": [
                            {"Action": action, "ResourceRecordSet": record}
                            for action, record in batch
                        ]
                    },
                )
            except aws.Refused as exc:
                # Amazon's "not found" may be about the zone that we remember, or the record.
                if exc.code == "NoSuchHostedZone":
                    self._zones.forget()
                elif not (exc.code == "InvalidChangeBatch" and _is_outdated(str(exc))):
                    raise
                raise RetryableError(str(exc)) from exc

    def _find_zone(self, zone_name: str) -> str | None:
        """The id of the public hosted zone of a name; None if there is none.

        Raises:
            PermanentError: there is more than one.
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
                f"There are several hosted zones {zone_name}: name one in hosted_zone_ids"
            )
        return str(found[0]) if found else None


def _is_outdated(message: str) -> bool:
    """Whether a delete was refused because the record is not any more what was read."""
    return "not found" in message or "do not match" in message
