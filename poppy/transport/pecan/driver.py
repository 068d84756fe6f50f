# SPDX-License-Identifier: Apache-2.0
"""The REST API, by Pecan and Waitress."""

import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_middleware import cors, http_proxy_to_wsgi

from poppy.model.limits import DocumentLimits
from poppy.transport.base import Transport
from poppy.transport.pecan import app, middleware, server
from poppy.transport.pecan.controllers.base import Settings
from poppy.transport.pecan.options import (
    DASHBOARD_GROUP,
    DASHBOARD_OPTS,
    LIMITS_GROUP,
    LIMITS_OPTS,
)

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
            help="Address or host name to listen on. :: means every address, IPv4 and IPv6; "
            "without auth middleware that lets anybody act for any project.",
        ),
        cfg.PortOpt("port", default=8888, help="TCP port to listen on; 0 takes any free one."),
        cfg.IntOpt(
            "workers",
            default=len(os.sched_getaffinity(0)),
            min=1,
            sample_default="<number of cores>",
            help="Processes that answer requests. One uses one core.",
        ),
        cfg.IntOpt(
            "threads",
            default=8,
            min=1,
            help="Threads of each process that run requests. More help only while requests "
            "wait for storage; each may hold a storage connection.",
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
        self._application = app.make(conf, manager, settings)
        self._server: server.Server | None = None
        self._stopped = False

    @classmethod
    def option_groups(cls, name: str) -> list[tuple[str, Sequence[cfg.Opt]]]:
        """The limits have a group of their own, whatever the transport; so has the dashboard."""
        own = super().option_groups(name)
        return [*own, (LIMITS_GROUP, LIMITS_OPTS), (DASHBOARD_GROUP, DASHBOARD_OPTS)]

    @property
    def application(self) -> "WSGIApplication":
        """The pipeline that :func:`poppy.transport.pecan.app.make` describes."""
        return self._application

    @property
    def workers(self) -> int:
        """As configured."""
        return int(self.options.workers)

    def listen(self) -> socket.socket:
        """Bind ``bind`` and ``port``."""
        group = f"drivers:{self.KIND}:{self.name}"
        return server.listen(self.options.bind, self.options.port, group)

    def serve(self, sock: socket.socket) -> None:
        """Run Waitress in this thread; the application runs in ``threads`` others."""
        self._server = server.Server(
            self._application,
            sock,
            threads=self.options.threads,
            max_body_size=self._max_body_size,
            behind_proxy=self.conf.oslo_middleware.enable_proxy_headers_parsing,
        )
        if self._stopped:
            self._server.stop()
        self._server.run()

    def stop(self) -> None:
        """Finish the requests under way, then return from :meth:`serve`."""
        self._stopped = True
        if self._server is not None:
            self._server.stop()
