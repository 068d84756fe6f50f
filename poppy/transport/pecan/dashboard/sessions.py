# SPDX-License-Identifier: Apache-2.0
"""Who looks at the pages: what a browser, which sends no token by itself, has in a cookie.

The cookie counts here only, and all that it opens is pages to look at. What it holds is a Keystone
token; with ``noauth``, where there is none, a proof that its owner knew the operator's password.
Nothing is kept on the server, so any process answers for any other, and a restart ends no session.

Credentials in header fields, as the API takes them, count before the cookie.
"""

import functools
import hashlib
import hmac
import re
import time
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol

from oslo_config import cfg

from poppy.common import errors
from poppy.policies.enforcer import Identity
from poppy.transport.pecan.auth import Strategy
from poppy.transport.pecan.dashboard.identity import Identities, SignInRefused
from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.options import DASHBOARD_GROUP
from poppy.transport.pecan.request import Request

COOKIE = "poppy_dashboard"
#: Shorter ones can be guessed over the network.
MIN_PASSWORD = 12

#: What can be a token: of Fernet they have about 200 characters, of JWS up to 1,500. A browser
#: keeps 4,096 bytes of a cookie (RFC 6265, section 6.1).
_TOKEN = re.compile(r"[A-Za-z0-9_.=+/:-]{1,3500}")
_DEFAULT_PORT = re.compile(r":(?:80|443)$")


class Sessions(Protocol):
    """One way to sign in."""

    #: Which fields the form has: ``keystone``, ``password``, or ``none``.
    form: str

    def open(self, form: Mapping[str, str]) -> str:
        """What to put into the cookie of whoever filled in the form.

        Raises:
            SignInRefused: nothing.
            Unavailable: the identity service does not answer.
        """
        ...

    def identify(self, request: Request, cookie: str | None = None) -> Identity:
        """Who sends a request.

        Args:
            cookie: counts instead of the request's.

        Raises:
            RequestRefused: 401: nobody, or not any more; 503.
        """
        ...


def make(conf: cfg.ConfigOpts, strategy: Strategy) -> Sessions:
    """As the API itself tells who asks.

    Raises:
        ConfigError: it can't work as it is configured.
    """
    options = conf[DASHBOARD_GROUP]
    if conf.auth_strategy == "keystone":
        return KeystoneSessions(strategy, Identities(conf))
    password: str | None = options.password
    if password is not None and len(password) < MIN_PASSWORD:
        raise errors.ConfigError(
            f"[{DASHBOARD_GROUP}] password must have {MIN_PASSWORD} characters or more"
        )
    return PasswordSessions(strategy, password, options.session_lifetime)


class KeystoneSessions:
    """The cookie is a token, which Keystone is asked about as of any request of the API."""

    form = "keystone"

    def __init__(self, strategy: Strategy, identities: Identities) -> None:
        self._strategy = strategy
        self._identities = identities

    def open(self, form: Mapping[str, str]) -> str:
        """A token that was given, or one that Keystone gives for user and password."""
        token = form.get("token", "").strip()
        if not token:
            token = self._identities.token(form)
        if not _TOKEN.fullmatch(token):
            raise SignInRefused("That is no token.")
        return token

    def identify(self, request: Request, cookie: str | None = None) -> Identity:
        """By the token in ``X-Auth-Token``, or in the cookie."""
        environ = request.environ
        if cookie is not None or "HTTP_X_AUTH_TOKEN" not in environ:
            token = cookie or request.cookies.get(COOKIE, "")
            if not _TOKEN.fullmatch(token):
                raise _nobody()
            environ["HTTP_X_AUTH_TOKEN"] = token
        return self._strategy.identify(request)


class PasswordSessions:
    """The cookie says until when it is good, and is signed by the operator's password.

    Whoever has signed in is the operator: the role ``admin``, for no project. There is no such
    session unless a password is set: a browser that just says who it is, as clients may to the
    API, could not be told from a stranger whom auth middleware let through to a path it does not
    know.
    """

    def __init__(self, strategy: Strategy, password: str | None, lifetime: int) -> None:
        self._strategy = strategy
        self._password = password
        self._lifetime = lifetime
        self.form = "none" if password is None else "password"

    def open(self, form: Mapping[str, str]) -> str:
        """A proof that the password was known."""
        if self._password is None:
            raise SignInRefused("Nobody can sign in here: no password is set.")
        given = form.get("password", "")
        if not hmac.compare_digest(given.encode(), self._password.encode()):
            raise SignInRefused("That is not the password.")
        until = str(int(time.time()) + self._lifetime)
        return f"{until}.{_sign(self._password, until)}"

    def identify(self, request: Request, cookie: str | None = None) -> Identity:
        """By what middleware in front says, or by the cookie."""
        if cookie is None and request.environ.get("HTTP_X_PROJECT_ID"):
            return self._strategy.identify(request)
        until, _, signature = (cookie or request.cookies.get(COOKIE, "")).partition(".")
        if (
            self._password is None
            or not re.fullmatch("[0-9]{1,12}", until)
            or not hmac.compare_digest(
                signature.encode("utf-8", "replace"), _sign(self._password, until).encode()
            )
            or int(until) <= time.time()
        ):
            raise _nobody()
        return Identity(roles=("admin",), system_scope="all")


def is_own(request: Request) -> bool:
    """Whether a request that does something comes from a page of ours.

    Browsers say so (Fetch Metadata, section 2.1; RFC 6454, section 7). What says nothing is no
    browser, and has no cookie that it would not have by its own doing.
    """
    site = request.environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return bool(site in ("same-origin", "none"))
    origin = request.environ.get("HTTP_ORIGIN")
    if origin is None:
        return True
    # The scheme is not compared: a proxy in front may have ended TLS.
    theirs, ours = urllib.parse.urlsplit(origin).netloc, request.host
    return _DEFAULT_PORT.sub("", theirs) == _DEFAULT_PORT.sub("", ours)


@functools.lru_cache(maxsize=1)
def _key(password: str) -> bytes:
    """A key to sign with, slow to make: a cookie is no means to try passwords one after another.

    (PBKDF2: RFC 8018, section 5.2. The salt is no secret, and the same in all processes, which
    answer for each other.)
    """
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"poppy dashboard", 600_000)


def _sign(password: str, until: str) -> str:
    message = f"poppy dashboard {until}".encode()
    return hmac.new(_key(password), message, hashlib.sha256).hexdigest()


def _nobody() -> RequestRefused:
    return RequestRefused(HTTPStatus.UNAUTHORIZED, "Sign in first")
