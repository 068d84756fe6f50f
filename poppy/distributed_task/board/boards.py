# SPDX-License-Identifier: Apache-2.0
"""The job boards' options, and the boards they select."""

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
            ("sql", "a table in a database; needs no further server"),
            ("zookeeper", "Apache ZooKeeper; for any number of workers, in any place"),
        ],
        help="Backend of the job board.",
    ),
    cfg.StrOpt(
        "jobboard_backend_connection",
        secret=True,
        help="SQLAlchemy URL of the sql board. Default: the URL of the sqlalchemy store.",
    ),
    cfg.ListOpt(
        "jobboard_backend_host",
        default=["127.0.0.1"],
        help="Hosts of the zookeeper board: names or addresses, each with an optional :port. "
        "IPv6 addresses with a port need brackets.",
    ),
    cfg.PortOpt(
        "jobboard_backend_port", default=2181, help="Default port of the zookeeper board's hosts."
    ),
    cfg.StrOpt(
        "jobboard_path",
        default="poppy",
        help="Name of the board; installations that share a backend need different names. In "
        "ZooKeeper the path is /taskflow/jobs/<name>. A name that begins with a slash is the "
        "whole path.",
    ),
    cfg.FloatOpt(
        "jobboard_session_timeout",
        default=10.0,
        min=0.1,
        help="Seconds after which a dead worker's jobs are free again (zookeeper board). The "
        "ZooKeeper servers may enforce other bounds.",
    ),
    cfg.FloatOpt(
        "jobboard_timeout",
        default=2.0,
        min=0.1,
        help="Timeout in seconds of a call to ZooKeeper. When ZooKeeper goes away, an API request "
        "can be delayed by about this long.",
    ),
    cfg.StrOpt(
        "jobboard_auth",
        secret=True,
        help="user:password for ZooKeeper's digest scheme. Only this identity can then read and "
        "change the nodes that Poppy creates. Existing nodes keep their permissions.",
    ),
    cfg.BoolOpt("jobboard_use_ssl", default=False, help="Use TLS to connect to ZooKeeper."),
    cfg.StrOpt(
        "jobboard_ca_file",
        help="File with the CA certificates for ZooKeeper. Default: those of the system.",
    ),
    cfg.StrOpt("jobboard_cert_file", help="File with the client certificate for ZooKeeper."),
    cfg.StrOpt("jobboard_key_file", help="File with the private key of jobboard_cert_file."),
    cfg.BoolOpt(
        "jobboard_verify",
        default=True,
        help="Verify ZooKeeper's certificate and host name. Otherwise an attacker on the network "
        "path can read and change the board.",
    ),
    cfg.IntOpt(
        "board_depth",
        default=100,
        min=1,
        help="Approximate maximum of waiting jobs on the board. One project may fill half of it, "
        "and bulk work a quarter. Further operations wait in storage, and workers post them as "
        "room appears, because large boards are slow. Use a few times the total concurrency of "
        "all workers.",
    ),
    cfg.IntOpt(
        "claim_lease",
        default=15,
        min=1,
        help="Seconds after which a dead worker's jobs are free again (sql board).",
    ),
)


class Poster(Posting, Protocol):
    """The part of a board that posting needs."""

    def connect(self) -> None:
        """Connect to the board."""

    def close(self) -> None:
        """Close the connection."""

    @property
    def job_count(self) -> int:
        """The approximate number of jobs."""

    def waiting(self, limit: int) -> int:
        """Count the jobs that wait for a worker, up to a limit."""


def make_board(name: str, conf: cfg.ConfigOpts, options: cfg.ConfigOpts.GroupAttr) -> Board:
    """Create a worker's board, not yet connected.

    Raises:
        ConfigError: an option is wrong or missing.
    """
    if options.jobboard_backend_type == "zookeeper":
        # Imported here because installations with the SQL board don't need kazoo.
        from poppy.distributed_task.board.zookeeper_worker import ZooKeeperJobBoard

        return ZooKeeperJobBoard(name, *_zookeeper(options))
    return SQLJobBoard(name, _sql(conf, options))


def make_poster(name: str, conf: cfg.ConfigOpts, options: cfg.ConfigOpts.GroupAttr) -> Poster:
    """Create a server's access to the board, not yet connected; raises as :func:`make_board`."""
    if options.jobboard_backend_type == "zookeeper":
        from poppy.distributed_task.board.zookeeper import ZooKeeperPoster

        return ZooKeeperPoster(*_zookeeper(options))
    return SQLJobBoard(name, _sql(conf, options))


def check(conf: cfg.ConfigOpts, options: cfg.ConfigOpts.GroupAttr) -> None:
    """Check the options, without contacting a server.

    Raises:
        ConfigError: they can't work; the message names the option.
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
    """Return ``host:port`` for a host that may include a port or be an IPv6 address."""
    bare_ipv6 = host.count(":") > 1 and not host.startswith("[")
    if bare_ipv6:
        return f"[{host}]:{port}"
    has_port = ":" in host.rpartition("]")[2]
    return host if has_port else f"{host}:{port}"


def _zookeeper(options: cfg.ConfigOpts.GroupAttr) -> Any:
    from poppy.distributed_task.board.zookeeper_client import Settings

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
