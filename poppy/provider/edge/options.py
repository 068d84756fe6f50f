# SPDX-License-Identifier: Apache-2.0
"""The options of the provider ``edge``. Those of its nodes are in :mod:`poppy.edge.options`."""

from collections.abc import Sequence

from oslo_config import cfg

OPTS: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "edge_name",
        default="edge.example.net",
        help="The DNS name of the nodes, the CNAME target of domains. Make it resolve to the "
        "nodes or to a load balancer in front of them, or set edge_dns.",
    ),
    cfg.BoolOpt(
        "edge_dns",
        default=False,
        help="Keep the A and AAAA records of edge_name equal to the addresses of the healthy "
        "nodes, by the weights and locations of their pools. Needs the DNS driver powerdns or "
        "route53, with a zone above edge_name.",
    ),
    cfg.IntOpt(
        "edge_dns_ttl",
        default=30,
        min=1,
        max=300,
        help="TTL of these records in seconds. Clients may go on asking a dead node for so long.",
    ),
    cfg.FloatOpt(
        "edge_dns_interval",
        default=2.0,
        min=0.05,
        max=60.0,
        help="Seconds between comparisons of the nodes with DNS.",
    ),
    cfg.FloatOpt(
        "edge_dns_dead_after",
        default=12.0,
        min=0.5,
        max=30.0,
        help="Seconds after its last report in which a node leaves DNS. It must be more than "
        "twice the report_interval of the nodes, and more than the difference between clocks.",
    ),
    cfg.IntOpt(
        "edge_quorum",
        default=100,
        min=1,
        max=100,
        help="Percentage of the live nodes that must have a change before it counts as done. "
        "Drained nodes do not count.",
    ),
    cfg.IntOpt(
        "min_nodes",
        default=1,
        min=1,
        max=1000,
        help="The least number of nodes that must have it. With fewer live nodes, changes wait.",
    ),
    cfg.IntOpt(
        "max_behind",
        default=1000,
        min=0,
        help="A node that is this many changes behind is not healthy. With no healthy node the "
        "edge counts as down, and failover moves clients to other providers.",
    ),
    cfg.BoolOpt(
        "geography",
        default=False,
        help="Whether all nodes have a geography_database. Otherwise there are no geography "
        "restrictions, and no analytics by country.",
    ),
    cfg.ListOpt(
        "allowed_origins",
        default=[],
        help="Addresses and CIDR blocks that a service may name as origins although they are not "
        "globally reachable. The nodes check the addresses of names; give them the same networks.",
    ),
    cfg.ListOpt(
        "refused_origins",
        default=[],
        help="Addresses and CIDR blocks that no service may name as origins, besides those that "
        "are not globally reachable. It takes precedence over allowed_origins.",
    ),
)
