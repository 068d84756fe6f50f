# SPDX-License-Identifier: Apache-2.0
"""Tokens for services with ``signed_urls``. No server is asked.

A token is a query parameter or a cookie that admits its bearer to one path, or to all paths with
a prefix, until a time. Poppy's documentation, "Signed URLs", has the format.
"""

import base64
import hmac
import ipaddress
import re
import urllib.parse
from datetime import datetime

_ID = re.compile("[A-Za-z0-9_-]{1,64}")
_NAME = _ID
#: Visible ASCII without the characters that end a path.
_PATH = re.compile(r"/[!-\"$->@-~]*")


def token(
    key_id: str,
    secret: str,
    expires: datetime | int,
    path: str,
    *,
    client_ip: str | None = None,
) -> str:
    """Return a token.

    Args:
        key_id: the ID of one of the service's keys.
        secret: that key's secret.
        expires: when it ends: a time with a time zone, or seconds since 1970-01-01 UTC.
        path: a percent-encoded path; with ``*`` at its end, all paths that begin with the rest.
            The character itself is ``%2A``.
        client_ip: the only address that may use it; None for any.

    Raises:
        ValueError: an argument is invalid; the message names it but never has the secret.
    """
    if not _ID.fullmatch(key_id):
        raise ValueError("key_id: use 1 to 64 letters, digits, underscores and hyphens")
    if not secret:
        raise ValueError("secret: it is empty")
    if not _PATH.fullmatch(path) or "*" in path[:-1]:
        raise ValueError(
            "path: it must begin with '/', have no query, be percent-encoded, and have a '*' at "
            "its end only"
        )
    try:
        address = "" if client_ip is None else str(ipaddress.ip_address(client_ip))
    except ValueError as exc:
        raise ValueError(f"client_ip: {client_ip!r} is no IP address") from exc
    payload = f"{key_id}.{_seconds(expires)}.{_encoded(address)}.{_encoded(path)}"
    signature = hmac.digest(secret.encode(), payload.encode(), "sha256")
    return f"{payload}.{_base64url(signature)}"


def sign(
    url: str,
    key_id: str,
    secret: str,
    expires: datetime | int,
    *,
    prefix: str | None = None,
    client_ip: str | None = None,
    name: str = "token",
) -> str:
    """Return a URL with a token in its query, in place of one that it had.

    Args:
        url: the URL of a browser, or only its path and query.
        key_id: as for :func:`token`.
        secret: as for :func:`token`.
        expires: as for :func:`token`.
        prefix: sign all paths that begin with it, such as ``/films/7/``; None for the URL's path.
        client_ip: as for :func:`token`.
        name: the parameter: ``query`` of the service's ``signed_urls``.

    Raises:
        ValueError: as for :func:`token`, or the URL is not below the prefix.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("name: use 1 to 64 letters, digits, underscores and hyphens")
    parts = urllib.parse.urlsplit(url)
    path = parts.path or "/"
    if prefix is not None and not path.startswith(prefix):
        raise ValueError("prefix: the path of the URL does not begin with it")
    scope = path.replace("*", "%2A") if prefix is None else prefix.replace("*", "%2A") + "*"
    made = token(key_id, secret, expires, scope, client_ip=client_ip)
    kept = [it for it in parts.query.split("&") if it and it.partition("=")[0] != name]
    return parts._replace(path=path, query="&".join([*kept, f"{name}={made}"])).geturl()


def _seconds(expires: datetime | int) -> int:
    if isinstance(expires, datetime):
        if expires.tzinfo is None:
            raise ValueError("expires: the time has no time zone")
        expires = int(expires.timestamp())
    if not 0 < expires < 10**12:
        raise ValueError("expires: it is no time after 1970")
    return expires


def _encoded(text: str) -> str:
    return _base64url(text.encode())


def _base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
