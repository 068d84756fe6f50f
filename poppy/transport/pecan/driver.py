# SPDX-License-Identifier: Apache-2.0
"""The transport ``pecan``: the REST API, on Pecan and Poppy's own HTTP server."""

import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_middleware import cors, http_proxy_to_wsgi
from oslo_policy.policy import RuleDefault

from poppy.common.errors import ConfigError
from poppy.model.limits import DocumentLimits
from poppy.transport.base import Transport
from poppy.transport.pecan import app, listening, middleware, server
from poppy.transport.pecan.controllers import edge, v1
from poppy.transport.pecan.controllers.base import Settings
from poppy.transport.pecan.options import (
    DASHBOARD_GROUP,
    DASHBOARD_OPTS,
    LIMITS_GROUP,
    LIMITS_OPTS,
)
from poppy.transport.pecan.routes import rules

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from poppy.manager.manager import Manager


class PecanTransport(Transport):
    """The v1.0 REST API.

    Example::

        [drivers:transport:pecan]
        bind = ::
        port = 8888
    """

    OPTS = (
        cfg.HostAddressOpt(
            "bind",
            default="127.0.0.1",
            help="Address or host name to listen on. :: means every address, IPv4 and IPv6. With "
            "auth_strategy = noauth it must be a loopback address, unless "
            "noauth_trusted_network is set. A socket passed by systemd takes precedence.",
        ),
        cfg.PortOpt("port", default=8888, help="TCP port to listen on; 0 picks any free port."),
        cfg.IntOpt(
            "workers",
            default=len(os.sched_getaffinity(0)),
            min=1,
            sample_default="<number of cores>",
            help="Number of processes that answer requests. Each uses one core.",
        ),
        cfg.IntOpt(
            "threads",
            default=8,
            min=1,
            help="Threads per process that run requests. More threads help only while requests "
            "wait for storage; each thread may hold a storage connection.",
        ),
        cfg.FloatOpt(
            "request_timeout",
            default=10.0,
            min=1.0,
            max=600.0,
            help="Seconds in which a whole request (header fields and body) must arrive, counted "
            "from its first byte. Slower requests are refused with 408.",
        ),
        cfg.FloatOpt(
            "idle_timeout",
            default=60.0,
            min=1.0,
            max=3600.0,
            help="Seconds after which an idle connection is closed. A proxy in front should "
            "close its idle connections sooner.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str, manager: "Manager") -> None:
        super().__init__(conf, name, manager)
        conf.register_opts(http_proxy_to_wsgi.OPTS, group="oslo_middleware")
        middleware.set_defaults()
        conf.register_opts(cors.OPTS, group="cors")
        self._max_body_size: int = conf[LIMITS_GROUP].max_body_size
        settings = Settings(
            max_services_per_page=conf[LIMITS_GROUP].max_services_per_page,
            max_body_size=self._max_body_size,
            project_id_in_url=conf.project_id_in_url,
            document_limits=DocumentLimits.of(conf[LIMITS_GROUP]),
            purge_without_query_is_all=conf[LIMITS_GROUP].purge_without_query_is_all,
        )
        self._application = app.make(conf, manager, settings, self.options.bind)
        self._server: server.Server | None = None
        self._inherited = False
        self._stopped = False

    @classmethod
    def rules(cls) -> Sequence[RuleDefault]:
        """Return the rules of the API, of the extensions and of the dashboard."""
        # Imported here so that a disabled dashboard loads no code.
        from poppy.transport.pecan.dashboard import app as dashboard

        return rules([*v1.routes(), *dashboard.ROUTES])

    @classmethod
    def option_groups(cls, name: str) -> list[tuple[str, Sequence[cfg.Opt]]]:
        """Return the driver's options, and the groups of the API limits and the dashboard.

        Those two groups have the same names for every transport.
        """
        own = super().option_groups(name)
        return [*own, (LIMITS_GROUP, LIMITS_OPTS), (DASHBOARD_GROUP, DASHBOARD_OPTS)]

    @property
    def application(self) -> "WSGIApplication":
        """The pipeline that :func:`poppy.transport.pecan.app.make` builds."""
        return self._application

    @property
    def workers(self) -> int:
        """The option ``workers``."""
        return int(self.options.workers)

    def listen(self) -> socket.socket:
        """Take the socket passed by systemd, or bind ``bind`` and ``port``.

        Raises:
            ConfigError: binding failed, or ``noauth`` would be reachable from other machines.
        """
        group = f"drivers:{self.KIND}:{self.name}"
        sock = listening.inherit(os.environ)
        self._inherited = sock is not None
        if sock is None:
            sock = listening.listen(self.options.bind, self.options.port, group)
        conf = self.conf
        if (
            conf.auth_strategy == "noauth"
            and not conf.noauth_trusted_network
            and not listening.is_loopback(sock)
        ):
            address = sock.getsockname()[0]
            sock.close()
            raise ConfigError(
                f"[{group}] bind: with auth_strategy = noauth, any client that can reach "
                f"{address} can act for any project. Set auth_strategy = keystone, or bind = "
                "127.0.0.1; or, if you trust the whole network, [DEFAULT] "
                "noauth_trusted_network = true"
            )
        return sock

    def serve(self, sock: socket.socket) -> None:
        """Do network I/O in this thread; run the application in ``threads`` other threads."""
        options = self.options
        settings = server.Settings(
            threads=options.threads,
            max_body_size=self._max_body_size,
            max_body_sizes=edge.MAX_BODIES,
            behind_proxy=self.conf.oslo_middleware.enable_proxy_headers_parsing,
            request_timeout=options.request_timeout,
            idle_timeout=options.idle_timeout,
            access_log=self.conf.access_log,
        )
        listener = listening.Listener(sock, self._inherited)
        self._server = server.Server(self._application, listener, settings)
        if self._stopped:
            self._server.stop()
        self._server.run()

    def stop(self) -> None:
        """Let :meth:`serve` finish the requests in progress and return."""
        self._stopped = True
        if self._server is not None:
            self._server.stop()
