# SPDX-License-Identifier: Apache-2.0
"""Sessions of the dashboard, kept in a cookie because a browser sends no token by itself.

The cookie is valid for the dashboard only, which is read-only. It holds a Keystone token. With
``noauth`` it holds a signed proof that the browser's user knew the operator's password. The server
stores no sessions: any process accepts them, and they survive a restart. It stores only the list
of sessions that signed out (:mod:`poppy.manager.sessions`).

With Keystone, ``X-Auth-Token`` takes precedence over the cookie, as for the API. With ``noauth``,
identity headers are trusted only while no password is set. With a password, everyone has to sign
in.
"""

import functools
import hashlib
import re
import secrets
import time
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

import itsdangerous
from oslo_config import cfg

from poppy.common import errors
from poppy.policies.enforcer import Identity
from poppy.transport.pecan.auth import Strategy
from poppy.transport.pecan.dashboard.identity import Identities, SignInRefused
from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.options import DASHBOARD_GROUP
from poppy.transport.pecan.request import Request

if TYPE_CHECKING:
    from poppy.manager.sessions import SessionsManager

COOKIE = "poppy_dashboard"
#: Minimum length. Shorter passwords can be guessed over the network.
MIN_PASSWORD = 12

#: A valid token. Fernet tokens have about 200 characters, JWS tokens up to 1,500. Browsers support
#: at least 4,096 bytes per cookie (RFC 6265, section 6.1).
_TOKEN = re.compile(r"[A-Za-z0-9_.=+/:-]{1,3500}")
_DEFAULT_PORT = re.compile(r":(?:80|443)$")


class Sessions(Protocol):
    """A way to sign in."""

    #: The fields of the sign-in form: ``keystone``, ``password`` or ``none``.
    form: str

    def open(self, form: Mapping[str, str]) -> str:
        """Start a session from the fields of the form, and return the cookie's value.

        Raises:
            SignInRefused: the credentials are wrong.
            Unavailable: the identity service does not answer.
        """
        ...

    def close(self, request: Request) -> None:
        """End the session of the request's cookie in all processes.

        Do nothing without a valid session.

        Raises:
            Unavailable: storage or the identity service does not answer.
        """
        ...

    def identify(self, request: Request, cookie: str | None = None) -> Identity:
        """Return the identity behind a request.

        Args:
            cookie: use this value instead of the request's cookie.

        Raises:
            RequestRefused: 401 without a valid session; 503.
        """
        ...


def make(conf: cfg.ConfigOpts, strategy: Strategy, ended: "SessionsManager") -> Sessions:
    """Create the sessions that match the API's ``auth_strategy``.

    Raises:
        ConfigError: the password is too short.
    """
    options = conf[DASHBOARD_GROUP]
    if conf.auth_strategy == "keystone":
        return KeystoneSessions(strategy, Identities(conf), ended, options.session_lifetime)
    password: str | None = options.password
    if password is not None and len(password) < MIN_PASSWORD:
        raise errors.ConfigError(
            f"[{DASHBOARD_GROUP}] password must have at least {MIN_PASSWORD} characters"
        )
    return PasswordSessions(strategy, password, options.session_lifetime, ended)


class KeystoneSessions:
    """Sessions with a Keystone token as cookie, validated like the token of an API request."""

    form = "keystone"

    def __init__(
        self,
        strategy: Strategy,
        identities: Identities,
        ended: "SessionsManager",
        lifetime: int,
    ) -> None:
        self._strategy = strategy
        self._identities = identities
        self._ended = ended
        self._lifetime = lifetime

    def open(self, form: Mapping[str, str]) -> str:
        """Return the token of the form, or get one for the user and password."""
        token = form.get("token", "").strip()
        if not token:
            token = self._identities.token(form)
        if not _TOKEN.fullmatch(token):
            raise SignInRefused("The token is malformed.")
        return token

    def identify(self, request: Request, cookie: str | None = None) -> Identity:
        """Return the identity of the token in ``X-Auth-Token`` or in the cookie."""
        environ = request.environ
        if cookie is not None or "HTTP_X_AUTH_TOKEN" not in environ:
            token = cookie or request.cookies.get(COOKIE, "")
            if not _TOKEN.fullmatch(token) or self._ended.has_ended(token):
                raise _unauthorized()
            environ["HTTP_X_AUTH_TOKEN"] = token
        return self._strategy.identify(request)

    def close(self, request: Request) -> None:
        """Refuse the token from now on, and revoke it in Keystone."""
        token = request.cookies.get(COOKIE, "")
        try:
            self.identify(request, token)
        except RequestRefused:
            return
        self._ended.end(token, self._lifetime)
        self._identities.revoke(token)


class PasswordSessions:
    """Sessions with an expiry time as cookie, signed with the operator's password.

    A session has the role ``admin`` and no project. Without a password there are no sessions. A
    browser that merely claims an identity, as API clients may with ``noauth``, is not trusted: it
    may be a stranger whom auth middleware let through because it does not know the path.
    """

    def __init__(
        self,
        strategy: Strategy,
        password: str | None,
        lifetime: int,
        ended: "SessionsManager",
    ) -> None:
        self._strategy = strategy
        self._password = password
        self._lifetime = lifetime
        self._ended = ended
        self.form = "none" if password is None else "password"

    def open(self, form: Mapping[str, str]) -> str:
        """Check the password and return a signed claim."""
        if self._password is None:
            raise SignInRefused("Sign-in is disabled: no password is set.")
        given = form.get("password", "")
        if not secrets.compare_digest(given.encode(), self._password.encode()):
            raise SignInRefused("Wrong password.")
        # The random part tells sessions of the same second apart, so that each ends by itself.
        claim = f"{int(time.time()) + self._lifetime}.{secrets.token_hex(8)}"
        return _signer(self._password).sign(claim).decode()

    def identify(self, request: Request, cookie: str | None = None) -> Identity:
        """Check the cookie. Without a password, use the headers that auth middleware sets."""
        if self._password is None:
            if cookie is None and request.environ.get("HTTP_X_PROJECT_ID"):
                return self._strategy.identify(request)
            raise _unauthorized()
        claim = _claim(cookie or request.cookies.get(COOKIE, ""), self._password)
        if claim is None or self._ended.has_ended(claim):
            raise _unauthorized()
        return Identity(roles=("admin",), system_scope="all")

    def close(self, request: Request) -> None:
        """Refuse the cookie from now on."""
        if self._password is not None:
            claim = _claim(request.cookies.get(COOKIE, ""), self._password)
            if claim is not None:
                self._ended.end(claim, self._lifetime)


def is_own(request: Request) -> bool:
    """Check that a form was submitted by one of our own pages (CSRF protection).

    Browsers send the origin (Fetch Metadata, section 2.1; RFC 6454, section 7). A client that
    sends neither header is not a browser, and has only the cookies that it set itself.
    """
    site = request.environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return bool(site in ("same-origin", "none"))
    origin = request.environ.get("HTTP_ORIGIN")
    if origin is None:
        return True
    # Ignore the scheme: a proxy in front may terminate TLS.
    theirs, ours = urllib.parse.urlsplit(origin).netloc, request.host
    return _DEFAULT_PORT.sub("", theirs) == _DEFAULT_PORT.sub("", ours)


@functools.lru_cache(maxsize=1)
def _signer(password: str) -> itsdangerous.Signer:
    """Derive the signing key. This is slow, so that a cookie is no help in guessing the password.

    (PBKDF2: RFC 8018, section 5.2. The salt is public. All processes share it, since each accepts
    the others' sessions.)
    """
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), b"poppy dashboard", 600_000)
    return itsdangerous.Signer(key, key_derivation="hmac", digest_method=hashlib.sha256)


def _claim(cookie: str, password: str) -> str | None:
    """Return the claim of a cookie if it is signed and has not expired.

    It identifies the session. The cookie does not: a signature has several spellings in base64.
    """
    try:
        claim = _signer(password).unsign(cookie).decode()
    except (itsdangerous.BadSignature, UnicodeError):
        return None
    return claim if int(claim.partition(".")[0]) > time.time() else None


def _unauthorized() -> RequestRefused:
    return RequestRefused(HTTPStatus.UNAUTHORIZED, "Sign in first")
