# SPDX-License-Identifier: Apache-2.0
"""The contract of transport drivers."""

import abc
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from oslo_config import cfg

from poppy.common.driver import Driver

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from oslo_policy.policy import RuleDefault

    from poppy.manager.manager import Manager


class Transport(Driver, abc.ABC):
    """A client-facing interface: turns requests into manager calls, and results into responses.

    Life of a transport in ``poppy-server``::

        sock = transport.listen()      once, in the parent, so that a bad address fails the start
        transport.serve(sock)          in each of ``workers`` forked children; blocks
        transport.stop()               from a signal handler or another thread; serve() returns

    An external WSGI server uses only :attr:`application`.
    """

    KIND: ClassVar[str] = "transport"

    def __init__(self, conf: cfg.ConfigOpts, name: str, manager: "Manager") -> None:
        super().__init__(conf, name)
        self.manager = manager

    @classmethod
    def rules(cls) -> "Sequence[RuleDefault]":
        """Return the policy rules of all requests, whether they are enabled or not."""
        return ()

    @property
    @abc.abstractmethod
    def application(self) -> "WSGIApplication":
        """The whole API as a WSGI application (PEP 3333), middleware included."""

    @property
    @abc.abstractmethod
    def workers(self) -> int:
        """The number of processes that call :meth:`serve`."""

    @abc.abstractmethod
    def listen(self) -> socket.socket:
        """Bind the configured address and listen.

        Raises:
            ConfigError: binding failed; the message names the options.
        """

    @abc.abstractmethod
    def serve(self, sock: socket.socket) -> None:
        """Answer requests on ``sock`` until :meth:`stop` is called.

        Requests in progress then get a bounded time to finish.
        """

    @abc.abstractmethod
    def stop(self) -> None:
        """Make :meth:`serve` return.

        Safe to call from a signal handler, and before ``serve``.
        """
