# SPDX-License-Identifier: Apache-2.0
"""poppy-manage: what operators do by hand."""

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from oslo_config import cfg

from poppy.bootstrap import Bootstrap
from poppy.cmd import breakers, flavors, operations, regions, schema, services, tables
from poppy.common import config, errors, logs


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        conf = config.load(files=arguments.config_file or None)
        logs.setup(conf)
        bootstrap = Bootstrap(conf)
        try:
            arguments.run(bootstrap, arguments)
        finally:
            bootstrap.close()
    except (errors.PoppyError, cfg.Error) as exc:
        print(f"poppy-manage: {logs.mask(str(exc))}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Who reads has seen enough. Nor is there anybody to flush the rest to at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="poppy-manage", description="Manage a Poppy.")
    parser.add_argument(
        "--config-file", action="append", metavar="PATH", help="may be given several times"
    )
    parser.add_argument("--version", action="version", version=importlib.metadata.version("poppy"))
    areas = parser.add_subparsers(dest="area", required=True, metavar="AREA")
    actions = areas.add_parser("db", help="the store's schema").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    sync = actions.add_parser("sync", help="bring the schema to this version; safe to repeat")
    sync.set_defaults(run=_db_sync)
    check = actions.add_parser("check", help="tell whether the schema is this version's")
    check.set_defaults(run=_db_check)
    version = actions.add_parser("version", help="which schema is there, and which this Poppy has")
    version.set_defaults(run=_db_version)
    tables.add_format(version)

    flavors.add(areas)
    services.add(areas)
    operations.add(areas)
    breakers.add(areas)
    regions.add(areas)
    return parser


def _db_sync(bootstrap: Bootstrap, _arguments: argparse.Namespace) -> None:
    schema.sync(bootstrap)
    print("The schema is up to date.")


def _db_check(bootstrap: Bootstrap, _arguments: argparse.Namespace) -> None:
    bootstrap.storage.check()
    print("The schema is this version's.")


def _db_version(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    version = bootstrap.storage.version()
    document = {"store": bootstrap.storage.name, **version._asdict()}
    tables.show_one(document, arguments.format)
