# SPDX-License-Identifier: Apache-2.0
"""The options of the provider ``varnish``."""

from collections.abc import Sequence

from oslo_config import cfg

#: Bytes. Debian's gcc compiles some 72 KB of a service with caching rules, or 33 KB of one with
#: restrictions by address and path, in a second of processor time: at most some 8 s for a service.
_MAX_VCL_SIZE = 256 * 1024

OPTS: Sequence[cfg.Opt] = (
    cfg.ListOpt(
        "nodes",
        default=[],
        help="The nodes' management ports (varnishd -T), as host:port. Every service is on "
        "every node.",
    ),
    cfg.StrOpt(
        "secret_file",
        help="The file that the nodes' management ports were given with varnishd -S.",
    ),
    cfg.StrOpt(
        "secret",
        secret=True,
        help="What is in that file, instead of secret_file. A line feed is added at the end "
        "unless there is one.",
    ),
    cfg.StrOpt(
        "edge_name",
        default="edge.example.net",
        help="The DNS name of the nodes' HTTP ports: what domains are made a CNAME to. That "
        "it resolves to the nodes, or to what balances between them, is your business.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=10.0,
        min=0.1,
        help="Seconds until a node's answer to one command counts as lost. Compiling a VCL "
        "takes a node some tenths of a second, and it does one at a time.",
    ),
    cfg.IntOpt(
        "grace",
        default=300,
        min=0,
        help="Seconds past its TTL, or after a soft purge, during which an object may be "
        "served stale: while a new one is fetched, and while the origin is down.",
    ),
    cfg.FloatOpt(
        "connect_timeout",
        default=5.0,
        min=0.1,
        help="Seconds that an edge waits for a connection to an origin.",
    ),
    cfg.FloatOpt(
        "first_byte_timeout",
        default=60.0,
        min=0.1,
        help="Seconds that an edge waits for an origin to begin its answer.",
    ),
    cfg.FloatOpt(
        "between_bytes_timeout",
        default=60.0,
        min=0.1,
        help="Seconds that an edge waits for an origin to go on with its answer.",
    ),
    cfg.ListOpt(
        "trusted_proxies",
        default=[],
        help="Addresses and CIDR blocks of the balancers in front of the nodes, whose "
        "client_ip_header and geography_header are believed.",
    ),
    cfg.StrOpt(
        "client_ip_header",
        default="",
        help="Header in which a trusted proxy names the client's address, and nothing else "
        "(X-Real-IP). Empty: the client is whoever connects, or is named by the PROXY "
        "protocol.",
    ),
    cfg.StrOpt(
        "geography_header",
        default="",
        help="Header in which a trusted proxy names the client's country as an ISO 3166-1 "
        "code of two letters. Empty: no geography restrictions.",
    ),
    cfg.StrOpt(
        "cookies",
        default="pass",
        choices=[
            ("pass", "a request with cookies is answered by the origin, never from cache"),
            ("strip", "cached paths neither see nor pass on the cookies of GET and HEAD"),
        ],
        help="What to do with requests that have cookies.",
    ),
    cfg.ListOpt(
        "allowed_origins",
        default=[],
        help="Addresses and CIDR blocks that origins may have although they are not "
        "reachable from all the Internet: private and loopback addresses, say. A tenant can "
        "read through the edge whatever is there. Otherwise a service whose origin has such "
        "an address, even as one of several, is refused.",
    ),
    cfg.ListOpt(
        "refused_origins",
        help="Addresses and CIDR blocks that no origin may have, besides those that are not "
        "reachable from all the Internet: your own public ones, say. It goes before "
        "allowed_origins. An empty list is deprecated; it allows every address, as "
        "allowed_origins = 0.0.0.0/0, ::/0 does.",
    ),
    cfg.IntOpt(
        "max_vcl_size",
        default=_MAX_VCL_SIZE,
        min=16384,
        help="Bytes of VCL that a service may become; one that becomes more is refused when "
        "it is posted. A node compiles one VCL at a time and answers no other command "
        "meanwhile, so this bounds how long one service holds up the others.",
    ),
    cfg.IntOpt(
        "compile_limit",
        default=60,
        min=0,
        help="Seconds of processor time after which a node ends its compiler; the service "
        "is failed then. Poppy puts the limit in front of the node's parameter cc_command. "
        "0: the parameter stays as it is.",
    ),
)
