# SPDX-License-Identifier: Apache-2.0
"""The options of the job boards, and the boards that they ask for."""

from typing import Any, Protocol

import sqlalchemy.exc
from kazoo import hosts
from oslo_config import cfg

from poppy.common import errors, sql
from poppy.distributed_task.board.sql import SQLJobBoard
from poppy.distributed_task.job_source import Board, Posting

OPTS = (
    cfg.StrOpt(
        "jobboard_backend_type",
        default="sql",
        choices=[
            ("sql", "a table in a database: no further server needed"),
            ("zookeeper", "Apache ZooKeeper: workers in any number and place"),
        ],
        help="What the job board is made of.",
    ),
    cfg.StrOpt(
        "jobboard_backend_connection",
        secret=True,
        help="SQLAlchemy URL of the sql board. Default: that of the sqlalchemy store.",
    ),
    cfg.ListOpt(
        "jobboard_backend_host",
        default=["127.0.0.1"],
        help="Hosts of the zookeeper board: names or addresses, each with :port if it has another "
        "one. IPv6 addresses with a port are written in brackets.",
    ),
    cfg.PortOpt(
        "jobboard_backend_port", default=2181, help="Port of the zookeeper board's hosts."
    ),
    cfg.StrOpt(
        "jobboard_path",
        default="poppy",
        help="Name of the board, so that several installations can share one backend. In "
        "ZooKeeper, /taskflow/jobs/<name>, unless it begins with a slash: then it is the whole "
        "path.",
    ),
    cfg.FloatOpt(
        "jobboard_session_timeout",
        default=10.0,
        min=0.1,
        help="Seconds after which the jobs of a worker that died are free again (zookeeper "
        "board). The servers may set other bounds.",
    ),
    cfg.FloatOpt(
        "jobboard_timeout",
        default=2.0,
        min=0.1,
        help="Seconds that a call of the zookeeper board may take; about as long can a request "
        "be held up at the moment when ZooKeeper goes away.",
    ),
    cfg.StrOpt(
        "jobboard_auth",
        secret=True,
        help="user:password for ZooKeeper's digest scheme. Nobody else can then read or change "
        "the nodes that Poppy makes; those that are there already are left as they are.",
    ),
    cfg.BoolOpt("jobboard_use_ssl", default=False, help="Speak TLS with ZooKeeper."),
    cfg.StrOpt(
        "jobboard_ca_file",
        help="File with the certificates that ZooKeeper's are checked by. Default: the system's.",
    ),
    cfg.StrOpt("jobboard_cert_file", help="File with the certificate to show to ZooKeeper."),
    cfg.StrOpt("jobboard_key_file", help="File with the key of jobboard_cert_file."),
    cfg.BoolOpt(
        "jobboard_verify",
        default=True,
        help="Check ZooKeeper's certificate, and the name in it. Without, anybody in between can "
        "read and change what is on the board.",
    ),
    cfg.IntOpt(
        "board_depth",
        default=100,
        min=1,
        help="About how many jobs may wait on the board. One project may have half of it, bulk "
        "work a quarter. More operations than that wait in storage, from where the workers feed "
        "the board: boards grow slow when they are deep. Use a few times the concurrency of all "
        "workers together.",
    ),
    cfg.IntOpt(
        "claim_lease",
        default=15,
        min=1,
        help="Seconds after which the jobs of a worker that died are free again (sql board).",
    ),
)


class Poster(Posting, Protocol):
    """What posting takes of a board."""

    def connect(self) -> None:
        """Open the connection."""

    def close(self) -> None:
        """Close it."""

    @property
    def job_count(self) -> int:
        """How many jobs there are, about."""

    def waiting(self, limit: int) -> int:
        """How many jobs wait for a worker, counted up to a limit."""


def make_board(name: str, conf: cfg.ConfigOpts, options: cfg.ConfigOpts.GroupAttr) -> Board:
    """A worker's board, not connected yet.

    Raises:
        ConfigError: an option is wrong or missing.
    """
    if options.jobboard_backend_type == "zookeeper":
        # Who has the board in SQL does not need what this imports.
        from poppy.distributed_task.board.watched import ZooKeeperJobBoard

        return ZooKeeperJobBoard(name, *_zookeeper(options))
    return SQLJobBoard(name, _sql(conf, options))


def make_poster(name: str, conf: cfg.ConfigOpts, options: cfg.ConfigOpts.GroupAttr) -> Poster:
    """A server's access to the board, not connected yet; raises as :func:`make_board`."""
    if options.jobboard_backend_type == "zookeeper":
        from poppy.distributed_task.board.zookeeper import ZooKeeperPoster

        return ZooKeeperPoster(*_zookeeper(options))
    return SQLJobBoard(name, _sql(conf, options))


def check(conf: cfg.ConfigOpts, options: cfg.ConfigOpts.GroupAttr) -> None:
    """Make sure that the options can work; asks no server.

    Raises:
        ConfigError: they can't; names the option.
    """
    option = "jobboard_backend_host"
    try:
        if options.jobboard_backend_type == "zookeeper":
            hosts.collect_hosts(_zookeeper(options)[1].hosts)
        else:
            option = "jobboard_backend_connection"
            sql.make_engine(_sql(conf, options)["connection"]).dispose()
    except (ValueError, ImportError, sqlalchemy.exc.ArgumentError) as exc:
        raise errors.ConfigError(f"[drivers:distributed_task:taskflow] {option}: {exc}") from exc


def address(host: str, port: int) -> str:
    """``host:port`` for a host that may have a port of its own, or be an IPv6 address."""
    bare_ipv6 = host.count(":") > 1 and not host.startswith("[")
    if bare_ipv6:
        return f"[{host}]:{port}"
    has_port = ":" in host.rpartition("]")[2]
    return host if has_port else f"{host}:{port}"


def _zookeeper(options: cfg.ConfigOpts.GroupAttr) -> Any:
    from poppy.distributed_task.board.client import Settings

    if options.jobboard_auth and ":" not in options.jobboard_auth:
        raise errors.ConfigError(
            "[drivers:distributed_task:taskflow] jobboard_auth must be user:password"
        )
    path = options.jobboard_path
    if not path.startswith("/"):
        path = f"/taskflow/jobs/{path}"
    port = options.jobboard_backend_port
    return path, Settings(
        hosts=",".join(address(host, port) for host in options.jobboard_backend_host),
        session_timeout=options.jobboard_session_timeout,
        timeout=options.jobboard_timeout,
        auth=options.jobboard_auth,
        use_ssl=options.jobboard_use_ssl,
        ca_file=options.jobboard_ca_file,
        cert_file=options.jobboard_cert_file,
        key_file=options.jobboard_key_file,
        verify=options.jobboard_verify,
    )


def _sql(conf: cfg.ConfigOpts, options: cfg.ConfigOpts.GroupAttr) -> dict[str, Any]:
    connection = options.jobboard_backend_connection
    if not connection and conf.drivers.storage != "sqlalchemy":
        raise errors.ConfigError(
            "[drivers:distributed_task:taskflow] jobboard_backend_connection must be set: "
            "the job board is sql, the store is not"
        )
    return {
        "connection": connection or conf["drivers:storage:sqlalchemy"].connection,
        "path": options.jobboard_path,
        "lease": options.claim_lease,
    }
