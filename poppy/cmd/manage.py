# SPDX-License-Identifier: Apache-2.0
"""poppy-manage: what operators do by hand."""

import argparse
import sys
from collections.abc import Sequence

from oslo_config import cfg

from poppy.bootstrap import Bootstrap
from poppy.cmd import operations, regions, schema
from poppy.common import config, errors, logs
from poppy.model import certificates


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

    actions = areas.add_parser("services", help="what tenants have").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    redeploy = actions.add_parser(
        "redeploy",
        help="make providers and DNS what the services say, once more",
        description="Make providers and DNS what the services say, once more: after an edge "
        "lost its configuration, or a new one was added. Services that are neither deployed nor "
        "failed are left alone.",
    )
    redeploy.add_argument("--provider", help="only services that are at this provider")
    redeploy.add_argument("--project", help="only services of this project")
    redeploy.add_argument("--service", help="only the service of this id")
    redeploy.set_defaults(run=_services_redeploy)
    operations.add(areas)
    regions.add(areas)
    return parser


def _db_sync(bootstrap: Bootstrap, _arguments: argparse.Namespace) -> None:
    schema.sync(bootstrap)
    print("The schema is up to date.")


def _db_check(bootstrap: Bootstrap, _arguments: argparse.Namespace) -> None:
    bootstrap.storage.check()
    print("The schema is this version's.")


def _services_redeploy(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    begun = left = 0
    for service in bootstrap.storage.services.scan():
        wanted = (
            not certificates.is_namespace(service.project_id)
            and arguments.provider in (None, *service.provider_details)
            and arguments.project in (None, service.project_id)
            and arguments.service in (None, service.service_id)
        )
        if not wanted:
            continue
        try:
            bootstrap.manager.services.redeploy(service.project_id, service.service_id, None)
        except (errors.InvalidRequest, errors.NotFound) as exc:
            left += 1
            print(f"left alone: {exc}", file=sys.stderr)
        else:
            begun += 1
    print(f"{begun} services are being deployed again, {left} were left alone.")
