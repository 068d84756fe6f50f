# SPDX-License-Identifier: Apache-2.0
"""Who looks at the pages: what a browser, which sends no token by itself, has in a cookie.

The cookie counts here only, and all that it opens is pages to look at. It holds a Keystone token;
with ``noauth``, where there is none, a proof that its owner knew the operator's password. The
server keeps no sessions, so any process answers for any other, and a restart ends none. It keeps
only the list of sessions that were signed out (:mod:`poppy.manager.sessions`).

With Keystone, a token in ``X-Auth-Token`` counts before the cookie, as for the API. With
``noauth``, header fields say who asks only while no password is set; a password that is set
protects the pages from everyone who can reach them.
"""

import functools
import hashlib
import hmac
import re
import secrets
import time
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

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

    def close(self, request: Request) -> None:
        """End the session of a request's cookie, everywhere; nothing if it has none.

        Raises:
            Unavailable: storage or the identity service does not answer.
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


def make(conf: cfg.ConfigOpts, strategy: Strategy, ended: "SessionsManager") -> Sessions:
    """As the API itself tells who asks.

    Raises:
        ConfigError: it can't work as it is configured.
    """
    options = conf[DASHBOARD_GROUP]
    if conf.auth_strategy == "keystone":
        return KeystoneSessions(strategy, Identities(conf), ended, options.session_lifetime)
    password: str | None = options.password
    if password is not None and len(password) < MIN_PASSWORD:
        raise errors.ConfigError(
            f"[{DASHBOARD_GROUP}] password must have {MIN_PASSWORD} characters or more"
        )
    return PasswordSessions(strategy, password, options.session_lifetime, ended)


class KeystoneSessions:
    """The cookie is a token, which Keystone is asked about as of any request of the API."""

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
            if not _TOKEN.fullmatch(token) or self._ended.has_ended(token):
                raise _nobody()
            environ["HTTP_X_AUTH_TOKEN"] = token
        return self._strategy.identify(request)

    def close(self, request: Request) -> None:
        """Refuse the token from now on, and have Keystone revoke it."""
        token = request.cookies.get(COOKIE, "")
        try:
            self.identify(request, token)
        except RequestRefused:
            return
        self._ended.end(token, self._lifetime)
        self._identities.revoke(token)


class PasswordSessions:
    """The cookie says until when it is good, and is signed by the operator's password.

    Whoever has signed in is the operator: the role ``admin``, for no project. There is no such
    session unless a password is set: a browser that just says who it is, as clients may to the
    API, could not be told from a stranger whom auth middleware let through to a path it does not
    know.
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
        """A proof that the password was known."""
        if self._password is None:
            raise SignInRefused("Nobody can sign in here: no password is set.")
        given = form.get("password", "")
        if not hmac.compare_digest(given.encode(), self._password.encode()):
            raise SignInRefused("That is not the password.")
        # Two sessions that begin in one second differ, so that one can end without the other.
        claim = f"{int(time.time()) + self._lifetime}.{secrets.token_hex(8)}"
        return f"{claim}.{_sign(self._password, claim)}"

    def identify(self, request: Request, cookie: str | None = None) -> Identity:
        """By the cookie; without a password, by what the middleware in front says."""
        if self._password is None:
            if cookie is None and request.environ.get("HTTP_X_PROJECT_ID"):
                return self._strategy.identify(request)
            raise _nobody()
        cookie = cookie or request.cookies.get(COOKIE, "")
        if not self._is_good(cookie, self._password) or self._ended.has_ended(cookie):
            raise _nobody()
        return Identity(roles=("admin",), system_scope="all")

    def close(self, request: Request) -> None:
        """Refuse the cookie from now on."""
        cookie = request.cookies.get(COOKIE, "")
        if self._password is not None and self._is_good(cookie, self._password):
            self._ended.end(cookie, self._lifetime)

    @staticmethod
    def _is_good(cookie: str, password: str) -> bool:
        claim, _, signature = cookie.rpartition(".")
        until = claim.partition(".")[0]
        if not re.fullmatch(r"[0-9]{1,12}\.[0-9a-f]{16}", claim):
            return False
        signed = hmac.compare_digest(
            signature.encode("utf-8", "replace"), _sign(password, claim).encode()
        )
        return signed and int(until) > time.time()


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


def _sign(password: str, claim: str) -> str:
    message = f"poppy dashboard {claim}".encode()
    return hmac.new(_key(password), message, hashlib.sha256).hexdigest()


def _nobody() -> RequestRefused:
    return RequestRefused(HTTPStatus.UNAUTHORIZED, "Sign in first")
