# SPDX-License-Identifier: Apache-2.0
"""``/dashboard/sign-in`` and ``/dashboard/sign-out``."""

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from oslo_log import log

from poppy.transport.pecan.controllers.base import PUBLIC, Resource, Settings, handler
from poppy.transport.pecan.dashboard.guesses import Guesses
from poppy.transport.pecan.dashboard.identity import SignInRefused
from poppy.transport.pecan.dashboard.sessions import COOKIE, Sessions, is_own
from poppy.transport.pecan.dashboard.site import HTML, Site, go_to, root
from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.request import Request, form, parameter
from poppy.transport.pecan.response import Response

if TYPE_CHECKING:
    from poppy.manager.manager import Manager
    from poppy.policies.enforcer import Policy

LOG = log.getLogger(__name__)

#: What all pages but the files need; whoever signs in must be one who may.
RULE = "cdn:dashboard:get"

#: A page of ours, below the root: nothing that leads elsewhere.
_PATH = re.compile(r"(?:/[A-Za-z0-9._~%:-]+)*(?:\?[A-Za-z0-9._~%:&=+-]*)?")
_LOOPBACK = re.compile(r"(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?")


class Front(NamedTuple):
    """What it takes to let somebody in.

    Attributes:
        lifetime: seconds that a browser keeps the cookie.
    """

    sessions: Sessions
    policy: "Policy"
    lifetime: int


class _Signing(Resource):
    media_types: ClassVar[tuple[str, ...]] = (HTML,)

    def __init__(self, manager: "Manager", settings: Settings, site: Site, front: Front) -> None:
        super().__init__(manager, settings)
        self.site = site
        self.front = front


class SignIn(_Signing):
    """The form, and what it is sent to."""

    def __init__(self, manager: "Manager", settings: Settings, site: Site, front: Front) -> None:
        super().__init__(manager, settings, site, front)
        self._guesses = Guesses()

    @handler(PUBLIC)
    def get(self, request: Request, response: Response) -> Response:
        """The form; empty."""
        return self._form(request, parameter(request, "next") or "")

    @handler(PUBLIC)
    def post(self, request: Request, response: Response) -> Response:
        """Let in whom the policy allows to look, and keep who it is in a cookie."""
        _check_is_own(request)
        fields = form(request, self.settings.max_body_size)
        following = fields.get("next", "")
        wait = self._guesses.wait(request.remote_addr)
        if wait:
            LOG.warning("Sign-in to the dashboard throttled, from %s", request.remote_addr)
            return self._throttled(request, following, wait)
        try:
            cookie = self.front.sessions.open(fields)
            self._check(request, cookie)
        except SignInRefused as exc:
            self._guesses.failed(request.remote_addr)
            LOG.warning("Sign-in to the dashboard refused, from %s: %s", request.remote_addr, exc)
            return self._form(request, following, str(exc))
        answer = go_to(f"{root(request)}{following if _PATH.fullmatch(following) else ''}")
        _set_cookie(request, answer, cookie, self.front.lifetime)
        LOG.info("Signed in to the dashboard, from %s", request.remote_addr)
        return answer

    def _check(self, request: Request, cookie: str) -> None:
        """Whether who signs in may look, so that they learn it here and not at every page."""
        try:
            who = self.front.sessions.identify(request, cookie)
        except RequestRefused as exc:
            raise SignInRefused("Keystone does not know this token, or it is over.") from exc
        if not self.front.policy.allows(RULE, who):
            raise SignInRefused(f"The policy does not allow you to look ({RULE}).")

    def _throttled(self, request: Request, following: str, wait: int) -> Response:
        answer = self._form(
            request, following, f"Too many failed tries. Try again in {wait} seconds."
        )
        answer.status = HTTPStatus.TOO_MANY_REQUESTS
        answer.headers["Retry-After"] = str(wait)
        return answer

    def _form(self, request: Request, following: str, problem: str = "") -> Response:
        status = HTTPStatus.FORBIDDEN if problem else HTTPStatus.OK
        is_private = request.scheme == "https" or _LOOPBACK.fullmatch(request.host)
        return self.site.page(
            request,
            "sign_in.html",
            status,
            form=self.front.sessions.form,
            following=following if _PATH.fullmatch(following) else "",
            problem=problem,
            is_private=bool(is_private),
        )


class SignOut(_Signing):
    """Forgetting who one is."""

    @handler(PUBLIC)
    def post(self, request: Request, response: Response) -> Response:
        """End the session, wherever its cookie may be, and have the browser forget it."""
        _check_is_own(request)
        self.front.sessions.close(request)
        answer = go_to(f"{root(request)}/sign-in")
        _set_cookie(request, answer, "", 0)
        return answer


def _check_is_own(request: Request) -> None:
    if not is_own(request):
        raise RequestRefused(HTTPStatus.FORBIDDEN, "The form was not sent by a page of Poppy's")


def _set_cookie(request: Request, answer: Response, value: str, lifetime: int) -> None:
    answer.set_cookie(
        COOKIE,
        value,
        max_age=lifetime,
        path=root(request),
        secure=request.scheme == "https",
        httponly=True,
        samesite="strict",
    )
