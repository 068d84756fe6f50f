# SPDX-License-Identifier: Apache-2.0
"""Which names this server answers to.

A page of any site can make a browser send requests to a server that only the browser reaches: the
site's name just has to lead to that server's address (DNS rebinding). Host still has the name.
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
    """What Host may name; ``*`` for anything.

    Args:
        bind: the address that the server listens on.

    Raises:
        ConfigError: an entry of ``allowed_hosts`` is no pattern.
    """
    given = tuple(entry.lower() for entry in conf.allowed_hosts)
    for entry in given:
        if not _PATTERN.fullmatch(entry):
            raise ConfigError(f"[DEFAULT] allowed_hosts: '{entry}' is no host name or pattern")
    if given:
        return given
    if conf.auth_strategy == "noauth" and not conf.noauth_trusted_network:
        return (*LOOPBACK, f"[{bind}]" if ":" in bind else bind)
    return ("*",)


class Hosts:
    """Refuses requests for other hosts.

    Args:
        patterns: names; ``.example.com`` is that name and all below it, ``*.example.com`` those
            below it, ``*`` any.
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
        """Answer one request."""
        host = environ.get("HTTP_HOST") or environ["SERVER_NAME"]
        name = _PORT.sub("", host).lower().removesuffix(".")
        if name in self._names or name.endswith(self._suffixes):
            return self._application(environ, start_response)
        document = errors.document("This host is not served here", environ.get(REQUEST_ID))
        response = reply(document, HTTPStatus.BAD_REQUEST)
        return response(environ, start_response)  # type: ignore[no-any-return]
