# SPDX-License-Identifier: Apache-2.0
"""The API's listening socket: bound here or passed by systemd."""

import asyncio
import contextlib
import ctypes
import ipaddress
import os
import socket
import struct
from collections.abc import MutableMapping

from poppy.common.errors import ConfigError
from poppy.transport.pecan.gateway import Address

_BACKLOG = 4096
#: The first file descriptor that systemd passes, sd_listen_fds(3).
_FIRST_INHERITED = 3

#: Seconds to let TCP handshakes in progress finish.
_HANDSHAKE = 0.1
#: socket(7): a Linux option that Python's socket module does not define.
_SO_ATTACH_FILTER = 26
#: A classic BPF filter that drops SYN segments and passes all others. Byte 13 of a TCP header
#: holds the flags (RFC 9293, section 3.1): 2 is SYN, 16 is ACK.
_NO_SYN = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the flags
        (0x54, 0, 0, 0x12),  # keep SYN and ACK
        (0x15, 0, 1, 0x02),  # SYN alone?
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # pass
    )
)


class Listener:
    """A listening socket.

    Attributes:
        inherited: whether the socket belongs to systemd, which keeps it open across restarts.
    """

    def __init__(self, sock: socket.socket, inherited: bool) -> None:
        self.sock = sock
        self.inherited = inherited

    @property
    def address(self) -> Address:
        """The address it listens on; empty for a Unix socket."""
        name = self.sock.getsockname()
        return Address(name[0], str(name[1])) if isinstance(name, tuple) else Address("", "")

    @property
    def closed(self) -> bool:
        """Whether this process has closed the socket."""
        return self.sock.fileno() < 0

    async def refuse_more(self) -> None:
        """Let handshakes in progress finish and start no more.

        Closing the socket at once would reset connections that are already established but not
        accepted yet. Clients repeat a dropped SYN after a second; by then another server listens,
        or none.
        """
        if self.inherited or self.sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        program = ctypes.create_string_buffer(_NO_SYN)
        filtering = struct.pack("HP", len(_NO_SYN) // 8, ctypes.addressof(program))
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtering)
            await asyncio.sleep(_HANDSHAKE)

    def close(self) -> None:
        """Close the socket in this process; other processes may still listen on it."""
        self.sock.close()


def is_loopback(sock: socket.socket) -> bool:
    """Return whether only processes on this machine can connect."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


def inherit(environ: MutableMapping[str, str]) -> socket.socket | None:
    """Return the socket passed by systemd or a compatible supervisor; None without one.

    The variables are removed from ``environ``, so that no child process takes the socket too.

    Raises:
        ConfigError: what was passed is not exactly one listening stream socket.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or count in ("", "0"):
        return None
    if count != "1":
        raise ConfigError(f"LISTEN_FDS = {count}: only one socket is supported")
    try:
        sock = socket.socket(fileno=_FIRST_INHERITED)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as exc:
        raise ConfigError(f"LISTEN_FDS: file descriptor 3 is not a socket: {exc}") from exc
    if not listens or sock.type is not socket.SOCK_STREAM:
        raise ConfigError("LISTEN_FDS: file descriptor 3 is not a listening stream socket")
    os.set_inheritable(sock.fileno(), False)
    return sock


def listen(host: str, port: int, group: str) -> socket.socket:
    """Bind an IPv4 or IPv6 address and listen; ``::`` also accepts IPv4.

    Raises:
        ConfigError: binding failed.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    except OSError as exc:
        raise ConfigError(
            f"[{group}] bind = {host}, port = {port}: can't listen there: {exc}"
        ) from exc
