# SPDX-License-Identifier: Apache-2.0
"""Which node this is: the file ``node.json``, and how a node joins to get it."""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from poppy.common import errors
from poppy.edge import files
from poppy.edge.agent.client import TOKEN, Client, Unauthorized, check_url
from poppy.edge.state import State

_NAME = re.compile("[0-9a-z](?:[0-9a-z.-]{0,62}[0-9a-z])?")


class Node(NamedTuple):
    """A node as its API knows it; the token is a secret."""

    name: str
    url: str
    token: str


def path(directory: Path) -> Path:
    """Return the path of a node's file."""
    return directory / "node.json"


def load(directory: Path) -> Node | None:
    """Read a node's file; None if there is none.

    Raises:
        ConfigError: the file can't be read or is invalid.
    """
    file = path(directory)
    try:
        document = json.loads(file.read_bytes())
        node = Node(**{field: document[field] for field in Node._fields})
        if not all(isinstance(value, str) for value in node):
            raise ValueError("a field is no text")
        if not (_NAME.fullmatch(node.name) and TOKEN.fullmatch(node.token)):
            raise ValueError("name or token")
        check_url(node.url, insecure=True)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise errors.ConfigError(f"{file}: {exc.strerror}") from exc
    except (KeyError, TypeError, ValueError) as exc:
        raise errors.ConfigError(f"{file} is damaged ({exc}): remove it and join again") from exc
    return node


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Have a state directory for this process alone; the kernel unlocks it when the process ends.

    Raises:
        ConfigError: another process has it, or it belongs to another user.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        State(directory / "state").create()
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_CREAT, 0o600)
    except OSError as exc:
        raise errors.ConfigError(f"{exc.filename}: {exc.strerror}") from exc
    with open(descriptor) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise errors.ConfigError(
                f"another agent uses {directory}: stop it first (systemctl stop poppy-edge-agent)"
            ) from exc
        yield


def join(
    directory: Path,
    url: str,
    name: str,
    token: str,
    *,
    ca_file: str | None = None,
    insecure: bool = False,
) -> bool:
    """Join an installation with a token for one join and write the node's file.

    A node that the API still knows keeps its own token, and ``token`` is not used.

    Args:
        insecure: whether ``url`` may be ``http://`` with a loopback address.

    Returns:
        Whether ``token`` was used.

    Raises:
        ConfigError: the arguments are invalid or contradict the node's file.
        Unauthorized: the API does not accept the name and token.
        Unavailable: the API did not answer as expected.
    """
    try:
        url = check_url(url, insecure=insecure)
    except ValueError as exc:
        raise errors.ConfigError(str(exc)) from exc
    if not _NAME.fullmatch(name):
        raise errors.ConfigError(f"{name!r:.80} is no name of a node: a-z, 0-9, '.' and '-'")
    if not TOKEN.fullmatch(token):
        raise errors.ConfigError("the token is empty or has characters that no token has")
    _check_owner(directory)
    previous = load(directory)
    if previous is not None and previous.name != name:
        raise errors.ConfigError(
            f"this node is {previous.name}; to join as {name}, remove {path(directory)} first"
        )
    if previous is not None and _knows(url, previous.token, ca_file):
        if previous.url != url:
            _write(directory, previous._replace(url=url))
        return False
    with locked(directory), contextlib.closing(Client(url, ca_file=ca_file)) as client:
        own = client.join(name, token)
        # Revisions of another installation mean nothing.
        State(directory / "state").revision = 0
        _write(directory, Node(name, url, own))
    return True


def _check_owner(directory: Path) -> None:
    if directory.exists() and (owner := directory.stat().st_uid) != os.geteuid():
        raise errors.ConfigError(f"{directory} belongs to the user {owner}: join as that user")


def _knows(url: str, token: str, ca_file: str | None) -> bool:
    with contextlib.closing(Client(url, token, ca_file=ca_file)) as client:
        try:
            client.check()
        except Unauthorized:
            return False
    return True


def _write(directory: Path, node: Node) -> None:
    files.replace(path(directory), json.dumps(node._asdict()))
