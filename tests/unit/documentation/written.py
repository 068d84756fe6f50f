# SPDX-License-Identifier: Apache-2.0
"""Find the commands, options, settings and paths in the documentation."""

import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[3]
PAGES = sorted(
    [
        *(ROOT / "doc" / "source").rglob("*.rst"),
        ROOT / "README.rst",
        ROOT / "client" / "README.rst",
    ]
)

#: The first word of a command line: a program or a tool of this repository.
_PROGRAM = r"(?:poppy(?:-(?:server|worker|standalone|manage|status))?|openstack|tools/\w+)"
_LITERAL = re.compile(r"``([^`]+)``")
_LINE = re.compile(
    rf"^[ ]+(?:[$#] )?(?:[\w-]+=\$\()?(?:runuser -u \w+ -- )?(?:/[\w/-]+/)?({_PROGRAM}(?= |$).*)$"
)
_GROUP = re.compile(r"^ +\[([\w:]+)\]$")
_SETTING = re.compile(r"^ +(\w+) = ")
_PROVIDERS = re.compile(r"^ *providers = (.*)$", re.MULTILINE)
_CALLED = re.compile(r"([\w-]+):([\w-]+)")
_NAMED_SETTING = re.compile(r"\[([\w:]+)\]\s+(\w+)")
_PATH = re.compile(r"(?:client|doc|etc|poppy|tests|tools)/[\w./*-]*")


class Command(NamedTuple):
    """A command line.

    Attributes:
        words: the words as a shell splits them, the program first.
        whole: whether it is on its own line and complete; in a sentence, arguments may be
            missing.
    """

    page: str
    words: list[str]
    whole: bool


class Setting(NamedTuple):
    """An option of the configuration."""

    page: str
    group: str
    name: str


def name_of(page: pathlib.Path) -> str:
    """Return the name of a page for messages."""
    return str(page.relative_to(ROOT))


def literals(text: str) -> list[str]:
    """Return the texts in double backticks, each in one line."""
    return [" ".join(found.split()) for found in _LITERAL.findall(text)]


def commands(page: pathlib.Path) -> list[Command]:
    """Return every command line of our programs on a page."""
    text = page.read_text()
    found = []
    for line in _joined(text.splitlines()):
        match = _LINE.match(line)
        if match:
            found.append(Command(name_of(page), _words(match[1]), True))
    for literal in literals(text):
        words = literal.split()
        if re.fullmatch(_PROGRAM, words[0]) and "<" not in literal:
            found.append(Command(name_of(page), _words(literal), False))
    return found


def options(page: pathlib.Path) -> set[str]:
    """Return the options that a page mentions without a command, such as ``--wait``."""
    found = (literal.split() for literal in literals(page.read_text()))
    return {
        word for words in found if words[0].startswith("--") for word in words if word[0] == "-"
    }


def settings(page: pathlib.Path) -> list[Setting]:
    """Return the configuration options on a page, in example files and in sentences."""
    text = page.read_text()
    found = [
        Setting(name_of(page), group, name)
        for literal in literals(text)
        for group, name in _NAMED_SETTING.findall(literal)
    ]
    return found + settings_of(name_of(page), text)


def settings_of(page: str, text: str) -> list[Setting]:
    """Return the options in example files: indented lines below a group in brackets.

    A provider with its own name in an example has the options of its driver.
    """
    called = {
        f"drivers:provider:{name}": f"drivers:provider:{driver}"
        for line in _PROVIDERS.findall(text)
        for name, driver in _CALLED.findall(line)
    }
    found = []
    group = None
    for line in text.splitlines():
        if match := _GROUP.match(line):
            group = called.get(match[1], match[1])
        elif line and not line.startswith(" "):
            group = None
        elif group and (match := _SETTING.match(line)):
            found.append(Setting(page, group, match[1]))
    return found


def paths(page: pathlib.Path) -> set[str]:
    """Return the files and directories of this repository that a page mentions."""
    words = (literal.split()[0] for literal in literals(page.read_text()))
    return {word for word in words if _PATH.fullmatch(word)}


def _joined(lines: list[str]) -> list[str]:
    """Join lines that a backslash continues."""
    joined: list[str] = []
    for line in lines:
        if joined and joined[-1].endswith("\\"):
            joined[-1] = joined[-1][:-1] + line.strip().removeprefix("> ")
        else:
            joined.append(line)
    return joined


def _words(line: str) -> list[str]:
    """Split a line as a shell does, without redirections and later commands."""
    line = line.removesuffix(")") if line.count(")") > line.count("(") else line
    words = shlex.split(line)
    for index, word in enumerate(words):
        if word in ("|", "&", ">", "2>&1", "&&"):
            return words[:index]
    return words
