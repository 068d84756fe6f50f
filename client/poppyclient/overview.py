# SPDX-License-Identifier: Apache-2.0
"""The text of ``poppy --help``: all commands and the usual options on one screen.

The full help, with every option of keystoneauth, has more than 500 lines.
"""

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

#: The start of the description of a command for operators.
OPERATORS = "(Operators)"
_WIDTH = 79
_OPTIONS = (
    ("--os-cloud <name>", "the cloud of clouds.yaml to use; or set OS_* variables"),
    ("--endpoint <url>", "URL of Poppy, without Keystone (POPPY_ENDPOINT)"),
    ("--project-id <id>", "your project, without Keystone (POPPY_PROJECT_ID)"),
    ("-v, -q, --debug", "print more, print less, print tracebacks"),
)
_HELP = (
    ("poppy help", "all commands with descriptions, and all options"),
    ("poppy help <command>", "the options of a command"),
    ("poppy complete", 'completion for bash: eval "$(poppy complete)"'),
)


def text(description: str, commands: Mapping[str, str]) -> str:
    """Return the overview.

    Args:
        commands: the description of each command, by its name.
    """
    own = [name for name, said in commands.items() if not said.startswith(OPERATORS)]
    lines = ["usage: poppy [options] <command> ...", description]
    lines += ["", "Commands:", *_grouped(own)]
    lines += ["", "Commands for operators:", *_grouped(commands.keys() - own)]
    lines += ["", "Options and help:", *_table(_OPTIONS + _HELP)]
    return "\n".join(lines) + "\n"


def _grouped(names: Iterable[str]) -> Iterator[str]:
    """Yield a line for each kind of object, with the last words of its commands."""
    groups = defaultdict(list)
    for name in sorted(names):
        kind, _, verb = name.rpartition(" ")
        if kind:
            groups[kind].append(verb)
    return _table([(kind, ", ".join(verbs)) for kind, verbs in groups.items()])


def _table(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    for name, said in rows:
        head = f"  {name:<21} "
        yield textwrap.fill(said, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
