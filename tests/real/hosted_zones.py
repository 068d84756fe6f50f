# SPDX-License-Identifier: Apache-2.0
"""Hosted zones on the server of :mod:`tests.real.moto`, and drivers for them."""

from typing import Any

from poppy.common import config
from poppy.dns.route53.driver import Route53DNS
from tests.real.moto import Moto

SUFFIX = "cdn.example.net"


class Zones:
    """The hosted zones, as boto3 shows them."""

    def __init__(self, moto: Moto) -> None:
        self._client = moto.client("route53")

    def create(self, name: str, **options: Any) -> str:
        """Create a zone; return its id."""
        self._count = getattr(self, "_count", 0) + 1
        answer = self._client.create_hosted_zone(
            Name=name, CallerReference=str(self._count), **options
        )
        return str(answer["HostedZone"]["Id"]).rpartition("/")[2]

    def records(self, zone_id: str, *types: str) -> list[dict[str, Any]]:
        """Return the records of a zone of some types, by default its CNAMEs."""
        pages = self._client.get_paginator("list_resource_record_sets")
        return [
            record
            for page in pages.paginate(HostedZoneId=zone_id)
            for record in page["ResourceRecordSets"]
            if record["Type"] in (types or ("CNAME",))
        ]

    def names(self, zone_id: str) -> set[str]:
        """Return the names of a zone's CNAMEs."""
        return {record["Name"].rstrip(".") for record in self.records(zone_id)}

    def change(self, zone_id: str, action: str, *records: dict[str, Any]) -> None:
        """Change records by hand."""
        changes = [{"Action": action, "ResourceRecordSet": record} for record in records]
        self._client.change_resource_record_sets(
            HostedZoneId=zone_id, ChangeBatch={"Changes": changes}
        )


def make_driver(moto: Moto, **options: object) -> Route53DNS:
    conf = config.new()
    conf([])
    group = "drivers:dns:route53"
    conf.register_opts(Route53DNS.OPTS, group=group)
    for name, value in {**moto.options, "suffix": SUFFIX, **options}.items():
        conf.set_override(name, value, group=group)
    return Route53DNS(conf, "route53")
