# SPDX-License-Identifier: Apache-2.0
"""The options of ``[drivers:storage:cassandra]``."""

from collections.abc import Sequence

from oslo_config import cfg

_SERIAL = [
    ("SERIAL", "decided by a majority of all replicas in all data centres"),
    ("LOCAL_SERIAL", "decided by a majority of the replicas in one data centre"),
]

OPTS: Sequence[cfg.Opt] = (
    cfg.ListOpt(
        "cluster",
        default=["127.0.0.1"],
        help="Contact points: some nodes of the nearest data centre, by name or address. The "
        "others are discovered.",
    ),
    cfg.PortOpt("port", default=9042, help="The nodes' CQL port."),
    cfg.StrOpt("keyspace", default="poppy", help="The keyspace; 'db sync' creates it."),
    cfg.StrOpt(
        "datacenter",
        default="",
        help="Cassandra's name of the local data centre. Default: [DEFAULT] datacenter, or else "
        "the data centre of the contact points.",
    ),
    cfg.StrOpt(
        "consistency_level",
        default="LOCAL_QUORUM",
        choices=["ONE", "LOCAL_ONE", "QUORUM", "LOCAL_QUORUM", "EACH_QUORUM", "ALL"],
        help="Consistency level of ordinary reads and writes. Below a quorum, reads may miss "
        "recent writes, and due operations may be overlooked.",
    ),
    cfg.StrOpt(
        "serial_consistency_level",
        default="SERIAL",
        choices=_SERIAL,
        help="Serial consistency level of domain claims, of places within a project's limit, of "
        "flavors, and of the provider 'edge'. With LOCAL_SERIAL, two data centres can give one "
        "domain to two services at the same time. With SERIAL, creating services and adding "
        "domains needs a majority of all replicas: a region that is cut off refuses them "
        "(503), and with two regions both refuse when either is lost. Changes of the provider "
        "'edge' then wait. SERIAL costs some round trips between regions.",
    ),
    cfg.StrOpt(
        "operation_serial_consistency_level",
        default="LOCAL_SERIAL",
        choices=_SERIAL,
        help="Serial consistency level of all writes to a service and its operations. With "
        "LOCAL_SERIAL, a region that is cut off can do everything except add services and "
        "domains. But if two regions write to one service within the replication delay, both "
        "writes may be accepted and the later one wins: a PATCH can be overwritten, and an "
        "operation can run in both regions (drivers ensure, so that is harmless). SERIAL prevents "
        "this, but each write costs some round trips between regions and needs a majority of all "
        "replicas. Never change it while Poppy runs: the two levels do not see each other.",
    ),
    cfg.StrOpt(
        "load_balance_strategy",
        default="token_datacenter",
        choices=[
            ("token_datacenter", "a replica of the row in this data centre"),
            ("datacenter", "any node of this data centre"),
            ("token", "a replica of the row, in any data centre"),
            ("round_robin", "any node, in any data centre"),
        ],
        help="Which node to query. The last two are only for clusters of one data centre.",
    ),
    cfg.DictOpt(
        "replication_strategy",
        default={"class": "SimpleStrategy", "replication_factor": "1"},
        help="Replication of a keyspace that 'db sync' creates; an existing one is not changed. "
        "The default keeps one copy, for trying out. In production: "
        "class:NetworkTopologyStrategy,dc1:3,dc2:3",
    ),
    cfg.StrOpt("username", default="", help="User name, if the cluster needs authentication."),
    cfg.StrOpt("password", default="", secret=True, help="Password of username."),
    cfg.BoolOpt("ssl_enabled", default=False, help="Use TLS to connect to the nodes."),
    cfg.StrOpt(
        "ssl_ca_certs",
        default="",
        help="File with the CA certificates for the nodes. Default: those of the system.",
    ),
    cfg.StrOpt("ssl_certfile", default="", help="Client certificate, if the nodes require one."),
    cfg.StrOpt("ssl_keyfile", default="", help="Key of ssl_certfile, if it is in another file."),
    cfg.BoolOpt(
        "ssl_check_hostname",
        default=True,
        help="Whether a node's certificate must contain the address used to connect to it.",
    ),
    cfg.FloatOpt("connect_timeout", default=5.0, min=0.1, help="Seconds to connect to a node."),
    cfg.FloatOpt(
        "request_timeout",
        default=10.0,
        min=0.1,
        max=25.0,
        help="Seconds to wait for a reply. Keep it above the nodes' own timeouts; otherwise the "
        "outcome of slow writes must be looked up more often than necessary.",
    ),
)
