# SPDX-License-Identifier: Apache-2.0
"""Check command lines with the programs' own parsers. Nothing is run."""

import argparse
import contextlib
import functools
import importlib.metadata
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from poppy.cmd import edge, manage
from poppy.common import config
from tests.unit.documentation.written import ROOT

_REQUIRED = "the following arguments are required"
#: Files with the options and arguments of a tool, besides the tool itself.
_TOOLS = {
    "tools/lab": ("tests/real/__main__.py", "tests/real/lab.py"),
    "tools/perf": ("tests/perf/__main__.py", "tests/perf/common.py"),
    "tools/chaos": ("tests/chaos/__main__.py", "tests/chaos/run.py"),
    "tools/demo": ("tools/demo_service.py",),
}


class Refused(Exception):
    """The program does not accept the command line; the message has the reason."""


def check(words: Sequence[str], whole: bool) -> None:
    """Check that a program accepts a command line.

    Args:
        whole: whether all required arguments must be present.

    Raises:
        Refused: the program does not accept it.
    """
    program, *arguments = words
    if program.startswith("tools/"):
        _check_tool(program, arguments)
    elif program == "poppy-manage":
        _check_parser(manage._parser(), arguments, whole)
    elif program == "poppy-status":
        _check_status(arguments, whole)
    elif program == "poppy-edge":
        _check_parser(edge._parser(), arguments, whole)
    elif program.startswith("poppy-"):
        _check_daemon(arguments)
    else:
        _check_client(program, arguments, whole)


def options() -> set[str]:
    """Return every option of every program."""
    found = {"--json", "--config-file"}
    parsers = [
        edge._parser(),
        manage._parser(),
        _shell("poppy").parser,
        _shell("openstack").parser,
    ]
    parsers += [_client_parser(name) for name in _client_commands()]
    for parser in parsers:
        found.update(_options(parser))
    return found


def tool_texts() -> str:
    """Return the source of all tools."""
    files = [*(ROOT / "tools").iterdir(), *(ROOT / it for its in _TOOLS.values() for it in its)]
    return "\n".join(path.read_text() for path in files if path.is_file())


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the options of a parser and of its subcommands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _options(child)


def _check_parser(parser: argparse.ArgumentParser, words: Sequence[str], whole: bool) -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parser.parse_args(list(words))
    except SystemExit as exc:
        if exc.code and (whole or _REQUIRED not in said.getvalue()):
            raise Refused(said.getvalue()) from exc
    else:
        return
    # Argparse reports missing arguments before invalid ones.
    last = parser
    for word in words:
        for action in last._actions:
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                last = action.choices[word]
                break
    known = set(_options(parser))
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in known:
            raise Refused(f"no such option: {word}")


def _check_status(words: Sequence[str], whole: bool) -> None:
    if not words and not whole:
        return
    conf, said = config.new(), io.StringIO()
    upgradecheck.register_cli_options(conf, upgradecheck.UpgradeCommands())
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            conf(list(words), project="poppy", default_config_files=[])
    except SystemExit as exc:
        raise Refused(said.getvalue()) from exc
    if conf.command.check != "check":  # the library accepts anything here
        raise Refused(f"no such command: {conf.command.check}")


def _check_daemon(words: Sequence[str]) -> None:
    """Check the options of a daemon; configuration files in examples need not exist."""
    found = ["/dev/null" if it.endswith(".conf") else it for it in words]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            config.load(found)
    except (SystemExit, cfg.Error) as exc:
        if getattr(exc, "code", 1):
            raise Refused(f"{exc} {said.getvalue()}") from exc


def _check_tool(program: str, words: Sequence[str]) -> None:
    path = ROOT / program
    if not path.is_file():
        raise Refused(f"no such tool: {program}")
    text = "\n".join(
        it.read_text() for it in (path, *(ROOT / it for it in _TOOLS.get(program, ())))
    )
    for word in words:
        if program == "tools/test":  # pytest's arguments
            if word.startswith("tests/") and not (ROOT / word).exists():
                raise Refused(f"no such file: {word}")
        elif word not in text:
            raise Refused(f"{program} does not know {word}")


def _check_client(program: str, words: Sequence[str], whole: bool) -> None:
    shell = _shell(program)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            _, rest = shell.parser.parse_known_args(list(words))
    except SystemExit as exc:
        if exc.code:
            raise Refused(said.getvalue()) from exc
        return
    if rest and rest[0].startswith("-"):
        raise Refused(f"no such option: {rest[0]}")
    if rest[:1] == ["help"]:
        rest = rest[1:]
    if program == "openstack":
        if rest[:1] != ["cdn"]:
            return  # a command of OpenStackClient itself
        rest = rest[1:]
    if not rest and not whole:
        return
    for length in (3, 2, 1):
        name = "_".join(["cdn", *rest[:length]])
        if name in _client_commands():
            arguments = rest[length:] if "help" not in words else ["--help"]
            _check_parser(_client_parser(name), arguments, whole)
            return
    raise Refused(f"no such command: {' '.join(rest[:3])}")


@functools.cache
def _client_commands() -> dict[str, importlib.metadata.EntryPoint]:
    found = importlib.metadata.entry_points(group="openstack.cdn.v1")
    return {entry.name: entry for entry in found}


def _client_parser(name: str) -> argparse.ArgumentParser:
    command = _client_commands()[name].load()
    parser: argparse.ArgumentParser = command(None, None).get_parser(name)
    return parser


@functools.cache
def _shell(program: str) -> Any:
    """Return the client's application; its parser has the options before the command."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if program == "openstack":
            return pytest.importorskip("openstackclient.shell").OpenStackShell()
        return pytest.importorskip("poppyclient.shell").Shell()
