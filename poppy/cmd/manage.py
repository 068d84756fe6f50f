# SPDX-License-Identifier: Apache-2.0
"""poppy-manage: the operators' command."""

import argparse
import os
import pwd
import socket
import sys
from collections.abc import Sequence

from oslo_config import cfg

from poppy.bootstrap import Bootstrap
from poppy.cmd import (
    audits,
    breakers,
    domains,
    edges,
    flavors,
    operations,
    regions,
    schema,
    services,
    tables,
)
from poppy.common import audit, config, errors, logs
from poppy.common.version import VERSION

#: Actions that change nothing and record no audit event.
_READS = frozenset({"check", "export", "list", "show", "status", "version"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        conf = config.load(files=arguments.config_file or None)
        # Without a log file, oslo.log writes to standard output, which is for results.
        conf.set_default("use_stderr", not (conf.log_file or conf.log_dir or conf.use_journal))
        logs.setup(conf)
        bootstrap = Bootstrap(conf)
        outcome = "failure"
        try:
            arguments.run(bootstrap, arguments)
            outcome = "success"
        finally:
            if conf.audit.enabled and arguments.action not in _READS:
                _record(arguments, outcome)
            bootstrap.close()
    except (errors.PoppyError, cfg.Error) as exc:
        print(f"poppy-manage: {logs.mask(str(exc))}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has closed the pipe. Redirect the flush at exit, which would fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _record(arguments: argparse.Namespace, outcome: str) -> None:
    """Write an audit event that names the operating system's user and the command."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a user without a name
        user = str(os.getuid())
    named = {
        name: str(value)
        for name, value in vars(arguments).items()
        if isinstance(value, str | int | list) and name not in ("run", "format", "config_file")
    }
    initiator = audit.Initiator(user, address=socket.gethostname(), agent="poppy-manage")
    action = f"configure/{arguments.area}-{arguments.action}"
    audit.record(action, outcome, initiator, audit.Target(arguments.area, None, named))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="poppy-manage", description="Manage a Poppy installation."
    )
    parser.add_argument(
        "--config-file", action="append", metavar="PATH", help="configuration file; repeatable"
    )
    parser.add_argument("--version", action="version", version=VERSION)
    areas = parser.add_subparsers(dest="area", required=True, metavar="AREA")
    actions = areas.add_parser("db", help="the storage schema").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    sync = actions.add_parser("sync", help="upgrade the schema to this version; safe to repeat")
    sync.set_defaults(run=_db_sync)
    check = actions.add_parser("check", help="check that this version can use the schema")
    check.set_defaults(run=_db_check)
    version = actions.add_parser("version", help="show the stored and the needed schema version")
    version.set_defaults(run=_db_version)
    tables.add_format(version)

    flavors.add(areas)
    services.add(areas)
    operations.add(areas)
    domains.add(areas)
    breakers.add(areas)
    regions.add(areas)
    edges.add(areas)
    audits.add(areas)
    return parser


def _db_sync(bootstrap: Bootstrap, _arguments: argparse.Namespace) -> None:
    schema.sync(bootstrap)
    print("The schema is up to date.")


def _db_check(bootstrap: Bootstrap, _arguments: argparse.Namespace) -> None:
    bootstrap.storage.check()
    print("This version can use the schema.")


def _db_version(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    version = bootstrap.storage.version()
    document = {"store": bootstrap.storage.name, **version._asdict()}
    tables.show_one(document, arguments.format)
