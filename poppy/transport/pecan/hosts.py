# SPDX-License-Identifier: Apache-2.0
"""Validation of the Host header field.

Any web page can make a browser send requests to a server that only the browser can reach, by
pointing the site's own name to that server's address (DNS rebinding). Host still holds that name,
so requests for other names are refused.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from oslo_config import cfg

from poppy.common.errors import ConfigError
from poppy.transport.pecan import errors
from poppy.transport.pecan.request import REQUEST_ID
from poppy.transport.pecan.response import reply

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

_PATTERN = re.compile(r"\*|(?:\*\.|\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_PORT = re.compile(r":[0-9]*\Z")


def allowed(conf: cfg.ConfigOpts, bind: str) -> tuple[str, ...]:
    """Return the allowed host patterns; ``*`` allows any host.

    Args:
        bind: the address that the server listens on.

    Raises:
        ConfigError: an entry of ``allowed_hosts`` is not a valid pattern.
    """
    given = tuple(entry.lower() for entry in conf.allowed_hosts)
    for entry in given:
        if not _PATTERN.fullmatch(entry):
            raise ConfigError(f"[DEFAULT] allowed_hosts: '{entry}' is not a host name or pattern")
    if given:
        return given
    if conf.auth_strategy == "noauth" and not conf.noauth_trusted_network:
        return (*LOOPBACK, f"[{bind}]" if ":" in bind else bind)
    return ("*",)


class Hosts:
    """Middleware that refuses requests for other hosts.

    Args:
        patterns: host names. ``.example.com`` matches that name and all names below it;
            ``*.example.com`` only the names below it. The caller handles ``*``.
    """

    def __init__(self, application: "WSGIApplication", patterns: Iterable[str]) -> None:
        self._application = application
        self._names: set[str] = set()
        self._suffixes: tuple[str, ...] = ()
        for pattern in patterns:
            if pattern.startswith("*."):
                self._suffixes += (pattern[1:],)
            elif pattern.startswith("."):
                self._suffixes += (pattern,)
                self._names.add(pattern[1:])
            else:
                self._names.add(pattern)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Run the application if the host is allowed; otherwise answer 400."""
        host = environ.get("HTTP_HOST") or environ["SERVER_NAME"]
        name = _PORT.sub("", host).lower().removesuffix(".")
        if name in self._names or name.endswith(self._suffixes):
            return self._application(environ, start_response)
        document = errors.document("This host is not served here", environ.get(REQUEST_ID))
        response = reply(document, HTTPStatus.BAD_REQUEST)
        return response(environ, start_response)  # type: ignore[no-any-return]
