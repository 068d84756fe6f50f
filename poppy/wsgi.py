# SPDX-License-Identifier: Apache-2.0
"""``poppy.wsgi:application``, for any WSGI server.

The configuration file is named by the environment variable ``POPPY_CONFIG_FILE``; without it the
usual places are searched. The application is made when the server asks for it, which must be
after it has forked its workers.
"""

import os
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.common import config, logs, tracing

_cache: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    """Make ``application`` at the first look, not at the import (PEP 562)."""
    if name != "application":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _cache:
        path = os.environ.get("POPPY_CONFIG_FILE")
        conf = config.load(files=[path] if path else None)
        logs.setup(conf)
        tracing.start(conf, "poppy-server")
        _cache[name] = Bootstrap(conf).transport.application
    return _cache[name]
