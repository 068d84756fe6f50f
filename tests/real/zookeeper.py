# SPDX-License-Identifier: Apache-2.0
"""A ZooKeeper for the duration of a test."""

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
    """A stand-alone server at the standard port of its own loopback address.

    ``with ZooKeeper() as server:`` starts it empty. The test is skipped if Java is missing or the
    jars can't be fetched. Data survives :meth:`stop`, :meth:`kill` and a new start. Sessions may
    be as short as 0.2 s. ACLs of the scheme ``digest`` need only a client's ``add_auth``.

    Attributes:
        host: a loopback address.
        port: for clients.
    """

    title = "ZooKeeper"
    start_timeout = 30.0

    def __init__(
        self, *, tls: bool = False, host: str | None = None, long_lived: bool = False
    ) -> None:
        """Prepare without starting.

        Args:
            tls: accept TLS only; clients verify the server by ``ca_file``.
            host: a loopback address; by default a spare one.
            long_lived: see :class:`.jvm.JavaServer`.
        """
        super().__init__(long_lived=long_lived)
        self.host = host or spare_address(_PORT)
        self.port = _PORT
        self._tls = tls

    @property
    def hosts(self) -> str:
        """The connection string for clients."""
        return f"{self.host}:{self.port}"

    @property
    def ca_file(self) -> Path | None:
        """The certificate that clients verify the server by; None without TLS."""
        return self.directory / "ca.pem" if self._tls else None

    def wipe(self) -> None:
        """Lose all data, as if the server were set up again; it is running afterwards.

        It refuses clients that were connected before, which have "seen the future". As in reality,
        a new client is needed.
        """
        self.stop()
        shutil.rmtree(self.directory / "data")
        self.start()

    def prepare(self) -> None:
        """Write the configuration."""
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
        """Return the server's arguments."""
        return [
            "-Xmx96m",
            # Power failures of the machine do not matter here.
            "-Dzookeeper.forceSync=no",
            # KB; otherwise, each log begins with 64 MB.
            "-Dzookeeper.preAllocSize=256",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(self.directory / "zoo.cfg"),
        ]

    def answers(self) -> bool:
        """Return whether it serves clients now."""
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
