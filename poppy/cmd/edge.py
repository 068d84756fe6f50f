# SPDX-License-Identifier: Apache-2.0
"""poppy-edge: the programs of a node of the operator's own edge."""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

from poppy.common import errors
from poppy.common.version import VERSION
from poppy.edge import options
from poppy.edge.agent import node, process
from poppy.edge.agent import options as agent_options
from poppy.edge.agent.client import Unauthorized
from poppy.edge.plane import processes
from poppy.edge.plane.plane import Plane

CONFIGURATION = "/etc/poppy/poppy-edge.conf"

#: More than any token has.
_MAX_TOKEN = 4096


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        arguments.run(_load(arguments.config_file), arguments)
    except (errors.PoppyError, cfg.Error, OSError, ValueError) as exc:
        print(f"poppy-edge: {exc}", file=sys.stderr)
        return 1
    return 0


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options of a node by group, for oslo.config's sample generator."""
    return [
        ("edge", list(options.OPTS)),
        (agent_options.GROUP, list(agent_options.OPTS)),
    ]


def _load(paths: Sequence[str] | None) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    options.register(conf)
    agent_options.register(conf)
    if not paths:
        paths = [CONFIGURATION] if Path(CONFIGURATION).exists() else []
    conf([], version=VERSION, default_config_files=list(paths), default_config_dirs=[])
    log.setup(conf, "poppy-edge")
    return conf


def _join(conf: cfg.ConfigOpts, arguments: argparse.Namespace) -> None:
    directory = options.read(conf).state_directory
    try:
        joined = node.join(
            directory,
            arguments.url,
            arguments.name,
            _token(arguments.token_file),
            ca_file=conf[agent_options.GROUP].ca_file,
            insecure=arguments.insecure,
        )
    except Unauthorized as exc:
        raise errors.ConfigError(
            f"{arguments.url} does not accept this token for {arguments.name}. A token is for one "
            "join of one node and expires after an hour: 'poppy-manage edge nodes add' prints one"
        ) from exc
    except errors.Unavailable as exc:
        raise errors.ConfigError(f"can't join at {arguments.url}: {exc}") from exc
    if joined:
        print(f"{arguments.name} has joined. Start poppy-edge-agent now.")
    else:
        print(f"{arguments.name} has joined before. The token was not used.")


def _token(path: str | None) -> str:
    """Read a token: from a file, from a terminal without showing it, or from standard input."""
    if path is not None:
        with open(path, encoding="ascii") as file:
            return file.read(_MAX_TOKEN).strip()
    if sys.stdin.isatty():
        return getpass.getpass("Token: ").strip()
    return sys.stdin.readline(_MAX_TOKEN).strip()


def _agent(conf: cfg.ConfigOpts, _arguments: argparse.Namespace) -> None:
    settings = options.read(conf)
    process.run(conf, settings.state_directory, settings.run_directory, Plane(settings))


def _haproxy(conf: cfg.ConfigOpts, _arguments: argparse.Namespace) -> None:
    _become(processes.haproxy_command(options.read(conf)))


def _varnish(conf: cfg.ConfigOpts, _arguments: argparse.Namespace) -> None:
    _become(processes.varnish_command(options.read(conf)))


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    os.execvp(command[0], command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="poppy-edge", description="Run a node of your own edge.")
    parser.add_argument("--version", action="version", version=VERSION)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--config-file",
        action="append",
        metavar="PATH",
        help=f"configuration file; repeatable; default: {CONFIGURATION}",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[shared])

    join = add("join", "Make this machine a node of an installation.")
    join.add_argument("url", metavar="URL", help="of the API: https://<host>[:<port>]")
    join.add_argument("name", metavar="NAME", help="as given to 'poppy-manage edge nodes add'")
    join.add_argument(
        "--token-file",
        metavar="PATH",
        help="file with the token; by default it is read from the terminal or standard input",
    )
    join.add_argument(
        "--insecure", action="store_true", help="allow http:// with an address of this machine"
    )
    join.set_defaults(run=_join)
    add("agent", "Apply published changes to this node.").set_defaults(run=_agent)
    add("haproxy", "Render HAProxy's files and become HAProxy.").set_defaults(run=_haproxy)
    add("varnish", "Render Varnish's files and become Varnish.").set_defaults(run=_varnish)
    return parser


if __name__ == "__main__":
    sys.exit(main())
