# SPDX-License-Identifier: Apache-2.0
"""The options of the agent: the group ``[agent]`` of ``/etc/poppy/poppy-edge.conf``."""

from oslo_config import cfg

GROUP = "agent"

OPTS = (
    cfg.StrOpt(
        "ca_file",
        help="A file of CA certificates with which the API's certificate is verified. Unset: "
        "those of the Python package requests.",
    ),
    cfg.FloatOpt(
        "poll_interval",
        default=1.0,
        min=0.05,
        max=60.0,
        mutable=True,
        help="Seconds between two requests for changes. A request without changes costs the API "
        "one cached read.",
    ),
    cfg.FloatOpt(
        "report_interval",
        default=5.0,
        min=0.05,
        max=15.0,
        mutable=True,
        help="Seconds between two reports. The API regards a node as gone 30 seconds after its "
        "last report; DNS does so earlier (edge_dns_dead_after).",
    ),
    cfg.FloatOpt(
        "traffic_interval",
        default=60.0,
        min=0.05,
        max=3600.0,
        mutable=True,
        help="Seconds between two reports of the node's traffic. It is counted on the node "
        "each ten seconds at least.",
    ),
    cfg.FloatOpt(
        "verify_interval",
        default=300.0,
        min=1.0,
        max=86400.0,
        mutable=True,
        help="Seconds between two comparisons of what HAProxy serves with what is stored.",
    ),
    cfg.FloatOpt(
        "serve_stale_after",
        default=10.0,
        min=0.0,
        max=3600.0,
        help="Seconds without an answer of the API after which a node that has just started is "
        "ready with what it has stored.",
    ),
    cfg.IntOpt(
        "log_period",
        default=3600,
        min=1,
        max=86400,
        help="Seconds of an object with access logs: each has those of one service. They are "
        "delivered once the period ends, within a twentieth of it.",
    ),
    cfg.IntOpt(
        "log_spool_size",
        default=1024,
        min=8,
        max=1024 * 1024,
        help="Megabytes of access logs that are kept until they are delivered. With more, the "
        "oldest ones are dropped.",
    ),
    cfg.StrOpt(
        "log_ca_file",
        help="A file of CA certificates with which the certificate of the object store for access "
        "logs is verified. Unset: those of the Python package requests.",
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register the options with a configuration."""
    conf.register_opts(OPTS, group=GROUP)
