# SPDX-License-Identifier: Apache-2.0
"""Options and rules of domain ownership.

The options belong to no driver: the API, the workers and the store read the same values.
"""

import datetime
from collections.abc import Sequence
from typing import NamedTuple, Self

from oslo_config import cfg

OPTS: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "domain_ownership",
        default="off",
        choices=[
            ("off", "the first project that requests a domain gets it"),
            ("txt", "a domain is deployed once a TXT record proves ownership"),
        ],
        help="How a project proves that it owns a domain. With txt, each service shows the "
        "required record in dns_records and waits for it. Use txt if projects do not trust each "
        "other. Servers and workers need the same value.",
    ),
    cfg.FloatOpt(
        "domain_ownership_interval",
        default=5.0,
        min=0.1,
        max=3600.0,
        mutable=True,
        help="Seconds between the first lookups of the TXT record. The interval grows with the "
        "age of the operation, up to five minutes. The operation fails at max_age.",
    ),
    cfg.IntOpt(
        "domain_quarantine",
        default=86400,
        min=0,
        max=31536000,
        help="Quarantine in seconds: how long a released domain is kept for its former project. "
        "Many tenants leave the CNAME to the operator name in place when they delete a service. "
        "While it exists, the next owner of the domain at Poppy receives its visitors. The "
        "default of a day exceeds the TTLs of most zones. 0 frees a domain at once.",
    ),
    cfg.ListOpt(
        "reserved_domains",
        default=[],
        help="Names that no tenant may use as a domain. DNS suffixes and edge names are always "
        "reserved. example.net reserves that name, .example.net also reserves every name below "
        "it, and * matches any characters. A single label reserves that label under a shared "
        "certificate.",
    ),
)

RESOLVER_GROUP = "resolver"

RESOLVER_OPTS: Sequence[cfg.Opt] = (
    cfg.ListOpt(
        "nameservers",
        default=[],
        help="Resolvers to use, as <address> or <address>:<port> ([<address>]:<port> for IPv6). "
        "Empty: the system's resolvers (/etc/resolv.conf).",
    ),
    cfg.FloatOpt(
        "timeout",
        default=5.0,
        min=0.1,
        max=60.0,
        help="Timeout in seconds for all lookups that verify one domain. After a timeout the "
        "record counts as missing and is looked up again later.",
    ),
    cfg.BoolOpt(
        "check_records",
        default=True,
        help="Look up the records that tenants must create for traffic and for their provider's "
        "certificates, to show their status in dns_records and to continue soon after a record "
        "is there. Disable this if workers can't send DNS queries. (The records of "
        "domain_ownership are always looked up.)",
    ),
    cfg.BoolOpt(
        "authoritative",
        default=True,
        help="Query the authoritative name servers of the record's zone, so that a new record is "
        "found at once. Resolvers cache a negative answer for the zone's negative TTL, often an "
        "hour. If the authoritative servers do not answer, the resolver's answer counts. Disable "
        "this if workers may not send DNS queries (port 53) to the Internet.",
    ),
)


class Policy(NamedTuple):
    """The ownership rules that a store enforces.

    Attributes:
        quarantine: how long a released domain is kept for its former project.
        proof: whether a domain is pending until its project has proven ownership.
    """

    quarantine: datetime.timedelta
    proof: bool

    @classmethod
    def of(cls, conf: cfg.ConfigOpts) -> Self:
        """Read the policy from the configuration."""
        return cls(
            datetime.timedelta(seconds=conf.domain_quarantine), conf.domain_ownership == "txt"
        )

    def free_at(self, released_at: datetime.datetime) -> datetime.datetime:
        """Return when other projects may claim a released domain."""
        return released_at + self.quarantine
