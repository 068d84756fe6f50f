# SPDX-License-Identifier: Apache-2.0
"""The options of the provider ``varnish``."""

from collections.abc import Sequence

from oslo_config import cfg

from poppy.provider import edges

#: Bytes. In a second of CPU time, Debian's gcc compiles about 72 KB of VCL with caching rules, or
#: 33 KB with restrictions by address and path. So a service takes about 8 s at most.
_MAX_VCL_SIZE = 256 * 1024

OPTS: Sequence[cfg.Opt] = (
    cfg.ListOpt(
        "nodes",
        default=[],
        help="The nodes' management ports (varnishd -T), as host:port. Every node gets every "
        "service.",
    ),
    cfg.StrOpt(
        "secret_file",
        help="The secret file of the nodes' management ports (varnishd -S).",
    ),
    cfg.StrOpt(
        "secret",
        secret=True,
        help="The content of that file, as an alternative to secret_file. Poppy appends a line "
        "feed unless it ends with one.",
    ),
    cfg.StrOpt(
        "edge_name",
        default="edge.example.net",
        help="The DNS name of the nodes, the CNAME target of domains. Make it resolve to the "
        "nodes or to a load balancer in front of them.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=10.0,
        min=0.1,
        help="Seconds to wait for a node's reply to one command. Compiling a VCL takes a node "
        "some tenths of a second, and it compiles one at a time.",
    ),
    cfg.IntOpt(
        "grace",
        default=300,
        min=0,
        help="Seconds after its TTL, or after a soft purge, in which an object may be served "
        "stale: while it is being refreshed, and while the origin is down.",
    ),
    *edges.ORIGIN_TIMEOUTS,
    cfg.ListOpt(
        "trusted_proxies",
        default=[],
        help="Addresses and CIDR blocks of the load balancers in front of the nodes. Only they "
        "may set client_ip_header and geography_header.",
    ),
    cfg.StrOpt(
        "client_ip_header",
        default="",
        help="Header in which a trusted proxy sends the client's address alone (X-Real-IP). "
        "Empty: the client address is that of the connection, or comes from the PROXY protocol.",
    ),
    cfg.StrOpt(
        "geography_header",
        default="",
        help="Header in which a trusted proxy sends the client's country as a two-letter "
        "ISO 3166-1 code. Empty: no geography restrictions.",
    ),
    cfg.StrOpt(
        "cookies",
        default="pass",
        choices=[
            ("pass", "requests with cookies always go to the origin, never to the cache"),
            ("strip", "on cached paths, remove the cookies of GET and HEAD requests"),
        ],
        help="How to handle requests with cookies.",
    ),
    cfg.ListOpt(
        "allowed_origins",
        default=[],
        help="Addresses and CIDR blocks that origins may have although they are not globally "
        "reachable: private and loopback addresses, say. A tenant can read everything there "
        "through the edge. Poppy refuses a service if any of an origin's addresses is another "
        "such address.",
    ),
    cfg.ListOpt(
        "refused_origins",
        help="Addresses and CIDR blocks that no origin may have, besides those that are not "
        "globally reachable: your own public ones, say. It takes precedence over "
        "allowed_origins. An empty list is deprecated; it allows every address, like "
        "allowed_origins = 0.0.0.0/0, ::/0.",
    ),
    cfg.IntOpt(
        "max_object_size",
        default=16 * 1024 * 1024,
        min=0,
        help="The largest object to cache, in bytes of Content-Length. A larger one comes from "
        "the origin at each request. Keep it well below the size of the nodes' storage (varnishd "
        "-s): if an object has no room there, the client gets only a part of it.",
    ),
    cfg.IntOpt(
        "max_vcl_size",
        default=_MAX_VCL_SIZE,
        min=16384,
        help="The largest VCL of a service, in bytes. A service with a larger one is refused "
        "when it is posted. A node compiles one VCL at a time and answers no other command "
        "until it is done, so this limits how long one service delays the others.",
    ),
    cfg.IntOpt(
        "compile_limit",
        default=60,
        min=0,
        help="Seconds of CPU time after which a node stops its compiler; the service then "
        "fails. Poppy prepends the limit to the node's parameter cc_command. 0: leave the "
        "parameter unchanged.",
    ),
)
