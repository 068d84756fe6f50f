# SPDX-License-Identifier: Apache-2.0
"""Clients of HAProxy's runtime API and of Varnish, on sockets that only this user can open."""

import email.utils
import http.client
import socket
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from poppy.common.errors import PermanentError
from poppy.edge.errors import Down

_TIMEOUT = 10.0  # Seconds for a command with its reply.
_MAX_REPLY = 16 * 1024 * 1024  # Bytes. An entry of a crt-list has some hundred.
_MAX_COMMAND = 16 * 1024  # Bytes. HAProxy reads a command into one buffer.
_MISSING = "entry not found"
_NO_CERTIFICATE = ("does not exist", "doesn't exist", "can't be found")


class HAProxy:
    """The runtime API of HAProxy (Management Guide, section 9.3). Commands have no status."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def started(self) -> datetime:
        """Return when the process was started, in whole seconds.

        Raises:
            Down: it does not answer.
        """
        for line in self._command("show info").splitlines():
            name, _, value = line.partition(": ")
            if name == "Start_time_sec":
                return datetime.fromtimestamp(int(value), UTC)
        raise Down("HAProxy does not say when it was started")

    def put(self, map_file: Path, key: str, value: str) -> None:
        """Set the value of a key, and add the key if it is missing.

        Raises:
            Down: HAProxy does not answer.
            PermanentError: it refuses the command.
        """
        reply = self._command(f"set map {map_file} {key} {value}")
        if _MISSING in reply:
            reply = self._command(f"add map {map_file} {key} {value}")
        _check(reply)

    def delete(self, map_file: Path, key: str) -> None:
        """Delete a key; do nothing if it is missing.

        Raises:
            Down, PermanentError: see :meth:`put`.
        """
        reply = self._command(f"del map {map_file} {key}")
        if "Key not found" not in reply and _MISSING not in reply:
            _check(reply)

    def replace(self, map_file: Path, entries: Iterable[tuple[str, str]]) -> None:
        """Replace all entries of a map at once.

        Raises:
            Down, PermanentError: see :meth:`put`. The map has its previous entries.
        """
        reply = self._command(f"prepare map {map_file}")
        words = reply.split()
        if not words or not words[-1].isdigit():
            raise PermanentError(f"HAProxy can't replace {map_file.name}: {reply.strip()}")
        version = words[-1]
        lines: list[str] = []
        size = 0
        for key, value in (*entries, ("", "")):
            if lines and (not key or size > _MAX_COMMAND):
                payload = "\n".join(lines)
                _check(self._command(f"add map @{version} {map_file} <<\n{payload}\n"))
                lines, size = [], 0
            lines.append(f"{key} {value}")
            size += len(lines[-1]) + 1
        _check(self._command(f"commit map @{version} {map_file}"))

    def table(self, name: str) -> str:
        """Return what the process says about itself, and then the entries of a stick table.

        Raises:
            Down: it does not answer.
        """
        return self._command(f"show info; show table {name}")

    def certificates(self, crt_list: Path) -> set[Path]:
        """Return the files of a crt-list; empty if HAProxy has no such list.

        Forget what an interrupted :meth:`add_certificate` has left behind.

        Raises:
            Down: HAProxy does not answer.
        """
        listed = _paths(self._command(f"show ssl crt-list {crt_list}"))
        # Sorted, a transaction comes before its certificate.
        for path in sorted(_paths(self._command("show ssl cert"))):
            if path.startswith("*"):
                self._command(f"abort ssl cert {path[1:]}")
            elif path not in listed:
                self._command(f"del ssl cert {path}")
        return {Path(path) for path in listed if not path.startswith("*")}

    def add_certificate(self, crt_list: Path, path: Path, pem: str, entry: str) -> None:
        """Add a certificate that HAProxy does not have.

        Args:
            crt_list: the list.
            path: the name of the certificate.
            pem: chain and private key, without empty lines.
            entry: the line of the list.

        Raises:
            Down: HAProxy does not answer.
            PermanentError: it refuses the certificate.
        """
        try:
            self._expect(f"new ssl cert {path}", "New empty")
            self._expect(f"set ssl cert {path} <<\n{pem}", "Transaction created")
            self._expect(f"commit ssl cert {path}", "Success!")
            self._expect(f"add ssl crt-list {crt_list} <<\n{entry}\n", "Success!")
        except PermanentError:
            self._command(f"abort ssl cert {path}")
            self._command(f"del ssl cert {path}")
            raise

    def remove_certificate(self, crt_list: Path, path: Path) -> None:
        """Remove a certificate, if it is there; connections that use it go on.

        Raises:
            Down: HAProxy does not answer.
            PermanentError: it refuses a command.
        """
        self._expect(f"del ssl crt-list {crt_list} {path}", "deleted", *_NO_CERTIFICATE)
        self._expect(f"del ssl cert {path}", "deleted", *_NO_CERTIFICATE)

    def _expect(self, command: str, *good: str) -> None:
        reply = self._command(command)
        if not any(words in reply for words in good):
            raise PermanentError(f"HAProxy refuses it: {' '.join(reply.split()):.200}")

    def _command(self, command: str) -> str:
        """Return the reply to a command on a connection of its own."""
        deadline = time.monotonic() + _TIMEOUT
        reply = b""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_TIMEOUT)
                connection.connect(str(self._path))
                connection.sendall(command.encode() + b"\n")
                while part := connection.recv(65536):
                    reply += part
                    if len(reply) > _MAX_REPLY or time.monotonic() > deadline:
                        raise Down("HAProxy's reply is too long")
        except OSError as exc:
            raise Down(f"HAProxy does not answer: {exc}") from exc
        return reply.decode("utf-8", "replace")


def _paths(reply: str) -> set[str]:
    """Return the files at the beginning of lines; that of a transaction has a ``*`` before it."""
    words = (line.partition(" ")[0] for line in reply.splitlines())
    return {word for word in words if word.startswith(("/", "*/"))}


def _check(reply: str) -> None:
    if reply.strip():
        raise PermanentError(f"HAProxy refuses a command: {reply.strip():.200}")


class Varnish:
    """Varnish's commands, which ``cache.vcl`` defines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def started(self) -> datetime:
        """Return when the process with the cache was started, in whole seconds.

        Raises:
            Down: it does not answer.
        """
        return self._command("started")

    def purge(self, keys: Sequence[str], *, hard: bool) -> None:
        """Evict the objects with one of these keys, or mark them stale.

        Raises:
            Down: Varnish does not answer.
        """
        self._command("purge" if hard else "softpurge", ("x-p-keys", " ".join(keys)))

    def ban(self, expression: str) -> None:
        """Evict objects by an expression.

        Raises:
            Down: Varnish does not answer.
            PermanentError: it refuses the expression.
        """
        self._command("ban", ("x-p-ban", expression))

    def _command(self, command: str, *fields: tuple[str, str]) -> datetime:
        connection = _UnixConnection(self._path)
        try:
            connection.request("GET", "/", headers={"x-p-command": command, **dict(fields)})
            response = connection.getresponse()
            reason = response.reason
        except (OSError, http.client.HTTPException) as exc:
            raise Down(f"Varnish does not answer: {exc}") from exc
        finally:
            connection.close()
        if response.status != 200:
            raise PermanentError(f"Varnish refuses {command}: {response.status} {reason:.200}")
        try:
            return email.utils.parsedate_to_datetime(reason)
        except ValueError as exc:
            raise Down(f"Varnish does not say when it was started: {reason:.80}") from exc


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(str(self._path))
