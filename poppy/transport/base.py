# SPDX-License-Identifier: Apache-2.0
"""The contract of transport drivers."""

import abc
import socket
from typing import TYPE_CHECKING, ClassVar

from oslo_config import cfg

from poppy.common.driver import Driver

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from poppy.manager.manager import Manager


class Transport(Driver, abc.ABC):
    """A face to clients: turns requests into calls of the manager, and back.

    Life of a transport in ``poppy-server``::

        sock = transport.listen()      once, in the parent, so that a bad address is noticed
        transport.serve(sock)          in each of ``workers`` forked children; blocks
        transport.stop()               from a signal handler or another thread; serve() returns

    Under a WSGI server of the operator's choice only :attr:`application` is used.
    """

    KIND: ClassVar[str] = "transport"

    def __init__(self, conf: cfg.ConfigOpts, name: str, manager: "Manager") -> None:
        super().__init__(conf, name)
        self.manager = manager

    @property
    @abc.abstractmethod
    def application(self) -> "WSGIApplication":
        """The whole API as a WSGI application (PEP 3333), middleware included."""

    @property
    @abc.abstractmethod
    def workers(self) -> int:
        """How many processes should call :meth:`serve`."""

    @abc.abstractmethod
    def listen(self) -> socket.socket:
        """Bind the address of the configuration and listen.

        Raises:
            ConfigError: the address can't be had; names the options.
        """

    @abc.abstractmethod
    def serve(self, sock: socket.socket) -> None:
        """Answer requests that come in by ``sock`` until :meth:`stop` is called.

        Requests under way are finished first, within a bounded time.
        """

    @abc.abstractmethod
    def stop(self) -> None:
        """Make :meth:`serve` return; safe in a signal handler, and before ``serve``."""
