# SPDX-License-Identifier: Apache-2.0
"""The options of ``[drivers:storage:cassandra]``."""

from collections.abc import Sequence

from oslo_config import cfg

_SERIAL = [
    ("SERIAL", "decided by a majority of all replicas, wherever they are"),
    ("LOCAL_SERIAL", "decided by a majority of the replicas of one data centre"),
]

OPTS: Sequence[cfg.Opt] = (
    cfg.ListOpt(
        "cluster",
        default=["127.0.0.1"],
        help="Contact points: some nodes of the nearest data centre, by name or address. The "
        "others are found through them.",
    ),
    cfg.PortOpt("port", default=9042, help="The nodes' port for CQL."),
    cfg.StrOpt("keyspace", default="poppy", help="The keyspace, which 'db sync' makes."),
    cfg.StrOpt(
        "datacenter",
        default="",
        help="Cassandra's name of the data centre whose nodes are asked. By default [DEFAULT] "
        "datacenter, and if that is not set either, the contact points' own.",
    ),
    cfg.StrOpt(
        "consistency_level",
        default="LOCAL_QUORUM",
        choices=["ONE", "LOCAL_ONE", "QUORUM", "LOCAL_QUORUM", "EACH_QUORUM", "ALL"],
        help="Of ordinary reads and writes. Below a quorum, what was just written may not be "
        "read, and due operations may be overlooked.",
    ),
    cfg.StrOpt(
        "serial_consistency_level",
        default="SERIAL",
        choices=_SERIAL,
        help="Of claims to domains, of places within a project's limit, and of flavors. With "
        "LOCAL_SERIAL, two data centres can give one domain to two services at the same time. "
        "With SERIAL, services can be created, and domains added, only while a majority of all "
        "replicas can be reached: a region that is cut off refuses them (503), and of two "
        "regions neither can when the other is lost. It costs some round trips between them.",
    ),
    cfg.StrOpt(
        "operation_serial_consistency_level",
        default="LOCAL_SERIAL",
        choices=_SERIAL,
        help="Of all writes to a service and its operations. With LOCAL_SERIAL, a region that "
        "is cut off goes on with everything but new services and domains; but writes to one "
        "service from two regions within a replication delay may both be accepted, of which "
        "the later one stands: a PATCH can be overwritten, and an operation can run in both "
        "(drivers ensure, so that is harmless). With SERIAL that can't happen, each write "
        "costs some round trips between regions, and without a majority of all replicas none "
        "is possible. Never change it while Poppy runs: the two do not see each other.",
    ),
    cfg.StrOpt(
        "load_balance_strategy",
        default="token_datacenter",
        choices=[
            ("token_datacenter", "a replica of the row in this data centre"),
            ("datacenter", "any node of this data centre"),
            ("token", "a replica of the row, anywhere"),
            ("round_robin", "any node, anywhere"),
        ],
        help="Which node is asked. The last two are for a cluster of one data centre only.",
    ),
    cfg.DictOpt(
        "replication_strategy",
        default={"class": "SimpleStrategy", "replication_factor": "1"},
        help="How 'db sync' makes the keyspace; an existing one is left as it is. The default "
        "keeps one copy, for trying out. In production: "
        "class:NetworkTopologyStrategy,dc1:3,dc2:3",
    ),
    cfg.StrOpt("username", default="", help="If the cluster asks who we are."),
    cfg.StrOpt("password", default="", secret=True, help="Of the username."),
    cfg.BoolOpt("ssl_enabled", default=False, help="Speak TLS with the nodes."),
    cfg.StrOpt(
        "ssl_ca_certs",
        default="",
        help="File of the CAs that nodes' certificates are checked by; by default the system's.",
    ),
    cfg.StrOpt("ssl_certfile", default="", help="Our own certificate, if the nodes want one."),
    cfg.StrOpt("ssl_keyfile", default="", help="The key of ssl_certfile, if it is not in it."),
    cfg.BoolOpt(
        "ssl_check_hostname",
        default=True,
        help="Whether a node's certificate must name the address that it is reached by.",
    ),
    cfg.FloatOpt("connect_timeout", default=5.0, min=0.1, help="Seconds to connect to a node."),
    cfg.FloatOpt(
        "request_timeout",
        default=10.0,
        min=0.1,
        max=25.0,
        help="Seconds to wait for an answer. More than the nodes' own timeouts, or the outcome "
        "of a write that takes long has to be looked up more often than need be.",
    ),
)
