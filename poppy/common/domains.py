# SPDX-License-Identifier: Apache-2.0
"""Who may have which domain: the options, and the rules that stores keep.

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
            ("off", "the first project that asks for a domain gets it"),
            ("txt", "a domain is deployed once a TXT record proves that its owner agrees"),
        ],
        help="How a project proves that a domain is its own. With txt, each service shows the "
        "record to make in dns_records, and waits for it. Use txt where projects do not trust "
        "each other. The servers and the workers need the same value.",
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
        help="Seconds during which a domain that a service has released is kept for its former "
        "project. Many tenants leave the CNAME to the operator's name in place when they delete "
        "a service; until it is gone, whoever gets the domain next gets its visitors. The "
        "default of a day outlives the TTLs of most zones. 0 frees a domain at once.",
    ),
    cfg.ListOpt(
        "reserved_domains",
        default=[],
        help="Names that no tenant may use as a domain, besides the DNS suffixes and the edge "
        "names, which are always reserved. example.net reserves that name, .example.net also "
        "every name below it, and an asterisk stands for any characters. A single label reserves "
        "itself as the name under a shared certificate.",
    ),
)

RESOLVER_GROUP = "resolver"

RESOLVER_OPTS: Sequence[cfg.Opt] = (
    cfg.ListOpt(
        "nameservers",
        default=[],
        help="Resolvers to ask, as <address> or <address>:<port> ([<address>]:<port> with IPv6). "
        "Empty: those of the system (/etc/resolv.conf).",
    ),
    cfg.FloatOpt(
        "timeout",
        default=5.0,
        min=0.1,
        max=60.0,
        help="Seconds for all lookups that the proof of one domain takes. After that it counts "
        "as missing, and is looked up again later.",
    ),
    cfg.BoolOpt(
        "authoritative",
        default=True,
        help="Ask the name servers of the record's own zone, so that a record is seen as soon "
        "as it is made. Resolvers keep a negative answer for as long as the zone says, often an "
        "hour. Where these servers do not answer, the resolver's answer counts. Switch it off "
        "where workers may not send DNS queries (port 53) to the Internet.",
    ),
)


class Policy(NamedTuple):
    """The rules that a store keeps.

    Attributes:
        quarantine: how long a released domain is kept for its former project.
        proof: whether a domain is pending until its project has proven that it owns it.
    """

    quarantine: datetime.timedelta
    proof: bool

    @classmethod
    def of(cls, conf: cfg.ConfigOpts) -> Self:
        """As the configuration says."""
        return cls(
            datetime.timedelta(seconds=conf.domain_quarantine), conf.domain_ownership == "txt"
        )

    def free_at(self, released_at: datetime.datetime) -> datetime.datetime:
        """From when on other projects may claim a domain that was released."""
        return released_at + self.quarantine
