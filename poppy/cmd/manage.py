# SPDX-License-Identifier: Apache-2.0
"""poppy-manage: what operators do by hand."""

import argparse
import sys
from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

from poppy.bootstrap import Bootstrap
from poppy.cmd import schema
from poppy.common import config, errors


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        conf = config.load(files=arguments.config_file or None)
        log.setup(conf, "poppy")
        bootstrap = Bootstrap(conf)
        try:
            arguments.run(bootstrap)
        finally:
            bootstrap.close()
    except (errors.PoppyError, cfg.Error) as exc:
        print(f"poppy-manage: {exc}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="poppy-manage", description="Manage a Poppy.")
    parser.add_argument(
        "--config-file", action="append", metavar="PATH", help="may be given several times"
    )
    areas = parser.add_subparsers(dest="area", required=True, metavar="AREA")
    actions = areas.add_parser("db", help="the store's schema").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    sync = actions.add_parser("sync", help="bring the schema to this version; safe to repeat")
    sync.set_defaults(run=_db_sync)
    check = actions.add_parser("check", help="tell whether the schema is this version's")
    check.set_defaults(run=_db_check)
    return parser


def _db_sync(bootstrap: Bootstrap) -> None:
    schema.sync(bootstrap)
    print("The schema is up to date.")


def _db_check(bootstrap: Bootstrap) -> None:
    bootstrap.storage.check()
    print("The schema is this version's.")
