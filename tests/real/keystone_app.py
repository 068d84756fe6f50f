# SPDX-License-Identifier: Apache-2.0
"""Keystone's application, for the Python of Keystone's own environment (see ``keystone.py``).

::

    keystone_app.py serve HOST PORT
    keystone_app.py expired          answers a token request on stdin with an expired token

``OS_KEYSTONE_CONFIG_DIR`` is the directory with ``keystone.conf``.
"""

import io
import sys

# Keystone parses the command line of the program that imports it.
verb, *arguments = sys.argv[1:]
del sys.argv[1:]

from keystone.wsgi.api import application  # noqa: E402


def serve(host: str, port: str) -> None:
    """Serve until terminated."""
    import waitress

    waitress.serve(application, host=host, port=int(port), threads=4)


def expired() -> None:
    """Print a token that is valid except for its expiry."""
    import keystone.conf

    keystone.conf.CONF.set_override("expiration", 0, group="token")
    body = sys.stdin.buffer.read()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v3/auth/tokens",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": True,
    }

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        assert status.startswith("201"), status
        print(dict(headers)["X-Subject-Token"])

    for _ in application(environ, start_response):
        pass


{"serve": serve, "expired": expired}[verb](*arguments)
