# SPDX-License-Identifier: Apache-2.0
"""``poppy.wsgi:application``, for any WSGI server.

The environment variable ``POPPY_CONFIG_FILE`` names the configuration file; without it the default
locations are searched. Everything is loaded at the first request, after the server has forked its
workers, so each worker has its own connections.
"""

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from poppy.bootstrap import Bootstrap
from poppy.common import config, logs, tracing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Application:
    """The API as a WSGI application (PEP 3333), created on the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: WSGIApplication | None = None

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        return (self._made or self._make())(environ, start_response)

    def _make(self) -> "WSGIApplication":
        with self._lock:
            if self._made is None:
                path = os.environ.get("POPPY_CONFIG_FILE")
                conf = config.load(files=[path] if path else None)
                logs.setup(conf)
                tracing.start(conf, "poppy-server")
                self._made = Bootstrap(conf).transport.application
            return self._made


application = Application()
