# SPDX-License-Identifier: Apache-2.0
"""A ZooKeeper of one's own, for the length of a test."""

import contextlib
import shutil
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from tests.real.jvm import JavaServer, make_certificates, spare_address

_PORT = 2181
_PASSWORD = "poppy-lab"


class ZooKeeper(JavaServer):
    """A stand-alone server at the ordinary port of a loopback address of its own.

    ``with ZooKeeper() as server:`` starts it, empty; skips the test when there is no Java, or no
    way to get the jars. What was written survives :meth:`stop`, :meth:`kill` and a new start.
    Sessions may be as short as 0.2 s. ACLs of the scheme ``digest`` need no more than a client's
    ``add_auth``.

    Attributes:
        host: a loopback address.
        port: for clients.
    """

    title = "ZooKeeper"
    start_timeout = 30.0

    def __init__(
        self, *, tls: bool = False, host: str | None = None, long_lived: bool = False
    ) -> None:
        """Start nothing yet.

        Args:
            tls: speak TLS only; clients check it by ``ca_file``.
            host: a loopback address; by default a spare one.
            long_lived: as :class:`.jvm.JavaServer` has it.
        """
        super().__init__(long_lived=long_lived)
        self.host = host or spare_address(_PORT)
        self.port = _PORT
        self._tls = tls

    @property
    def hosts(self) -> str:
        """What a client connects to."""
        return f"{self.host}:{self.port}"

    @property
    def ca_file(self) -> Path | None:
        """The certificate to check the server's by; None without TLS."""
        return self.directory / "ca.pem" if self._tls else None

    def wipe(self) -> None:
        """Lose all data, as though someone had set up the server anew; it ends up running.

        It refuses a client that was connected before, which has "seen the future"; a new client
        is needed, as it would be then.
        """
        self.stop()
        shutil.rmtree(self.directory / "data")
        self.start()

    def prepare(self) -> None:
        """Write its configuration."""
        settings: dict[str, object] = {
            "dataDir": self.directory / "data",
            # Milliseconds; by default, sessions are between 2 and 20 ticks.
            "tickTime": 100,
            "maxSessionTimeout": 60000,
            "maxClientCnxns": 0,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
        }
        if self._tls:
            make_certificates(self.directory, self.host, _PASSWORD)
            settings |= {
                "secureClientPort": self.port,
                "secureClientPortAddress": self.host,
                "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
                "ssl.keyStore.location": self.directory / "server.p12",
                "ssl.keyStore.password": _PASSWORD,
                "ssl.keyStore.type": "PKCS12",
                "ssl.clientAuth": "none",
            }
        else:
            settings |= {"clientPort": self.port, "clientPortAddress": self.host}
        (self.directory / "zoo.cfg").write_text(
            "".join(f"{name}={value}\n" for name, value in settings.items())
        )

    def arguments(self) -> Sequence[str]:
        """The server's."""
        return [
            "-Xmx96m",
            # The machine itself is not going to fail.
            "-Dzookeeper.forceSync=no",
            # KB; else each log begins with 64 MB.
            "-Dzookeeper.preAllocSize=256",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(self.directory / "zoo.cfg"),
        ]

    def answers(self) -> bool:
        """Whether it serves clients now."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((self.host, self.port), 5))
            if self._tls:
                context = ssl.create_default_context(cafile=self.ca_file)
                connection = stack.enter_context(
                    context.wrap_socket(connection, server_hostname=self.host)
                )
            connection.sendall(b"srvr")
            with connection.makefile("rb") as stream:
                return b"Mode: standalone" in stream.read()
        return False
