# SPDX-License-Identifier: Apache-2.0
"""The login views: ``/dashboard/sign-in`` and ``/dashboard/sign-out``."""

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from oslo_log import log

from poppy.transport.pecan.controllers.base import PUBLIC, Resource, Settings, handler
from poppy.transport.pecan.dashboard.guesses import Guesses
from poppy.transport.pecan.dashboard.identity import SignInRefused
from poppy.transport.pecan.dashboard.rendering import HTML, Renderer, go_to, root
from poppy.transport.pecan.dashboard.sessions import COOKIE, Sessions, is_own
from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.request import Request, form, parameter
from poppy.transport.pecan.response import Response

if TYPE_CHECKING:
    from poppy.manager.manager import Manager
    from poppy.policies.enforcer import Policy

LOG = log.getLogger(__name__)

#: The policy rule for all pages except static files. Signing in requires it too.
RULE = "cdn:dashboard:get"

#: A path below the dashboard's root. Redirects to other sites never match.
_PATH = re.compile(r"(?:/[A-Za-z0-9._~%:-]+)*(?:\?[A-Za-z0-9._~%:&=+-]*)?")
_LOOPBACK = re.compile(r"(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?")


class LoginContext(NamedTuple):
    """Dependencies of the login views.

    Attributes:
        lifetime: lifetime of the cookie in seconds.
    """

    sessions: Sessions
    policy: "Policy"
    lifetime: int


class _LoginView(Resource):
    media_types: ClassVar[tuple[str, ...]] = (HTML,)

    def __init__(
        self, manager: "Manager", settings: Settings, renderer: Renderer, context: LoginContext
    ) -> None:
        super().__init__(manager, settings)
        self.renderer = renderer
        self.context = context


class Login(_LoginView):
    """``/dashboard/sign-in``: show and process the sign-in form."""

    def __init__(
        self, manager: "Manager", settings: Settings, renderer: Renderer, context: LoginContext
    ) -> None:
        super().__init__(manager, settings, renderer, context)
        self._guesses = Guesses()

    @handler(PUBLIC)
    def get(self, request: Request, response: Response) -> Response:
        """Show the empty form."""
        return self._form(request, parameter(request, "next") or "")

    @handler(PUBLIC)
    def post(self, request: Request, response: Response) -> Response:
        """Check the credentials and the policy, and set the session cookie."""
        _check_is_own(request)
        fields = form(request, self.settings.max_body_size)
        following = fields.get("next", "")
        wait = self._guesses.wait(request.remote_addr)
        if wait:
            LOG.warning("Throttled dashboard sign-in from %s", request.remote_addr)
            return self._throttled(request, following, wait)
        try:
            cookie = self.context.sessions.open(fields)
            self._check(request, cookie)
        except SignInRefused as exc:
            self._guesses.failed(request.remote_addr)
            LOG.warning("Refused dashboard sign-in from %s: %s", request.remote_addr, exc)
            return self._form(request, following, str(exc))
        answer = go_to(f"{root(request)}{following if _PATH.fullmatch(following) else ''}")
        _set_cookie(request, answer, cookie, self.context.lifetime)
        LOG.info("Dashboard sign-in from %s", request.remote_addr)
        return answer

    def _check(self, request: Request, cookie: str) -> None:
        """Check the policy now, so that the form reports a refusal and not every page."""
        try:
            who = self.context.sessions.identify(request, cookie)
        except RequestRefused as exc:
            raise SignInRefused("The token is invalid or has expired.") from exc
        if not self.context.policy.allows(RULE, who):
            raise SignInRefused(f"You are not allowed to use the dashboard (policy {RULE}).")

    def _throttled(self, request: Request, following: str, wait: int) -> Response:
        answer = self._form(
            request, following, f"Too many failed attempts. Try again in {wait} seconds."
        )
        answer.status = HTTPStatus.TOO_MANY_REQUESTS
        answer.headers["Retry-After"] = str(wait)
        return answer

    def _form(self, request: Request, following: str, problem: str = "") -> Response:
        status = HTTPStatus.FORBIDDEN if problem else HTTPStatus.OK
        is_private = request.scheme == "https" or _LOOPBACK.fullmatch(request.host)
        return self.renderer.page(
            request,
            "sign_in.html",
            status,
            form=self.context.sessions.form,
            following=following if _PATH.fullmatch(following) else "",
            problem=problem,
            is_private=bool(is_private),
        )


class Logout(_LoginView):
    """``/dashboard/sign-out``: end the session."""

    @handler(PUBLIC)
    def post(self, request: Request, response: Response) -> Response:
        """End the session for all copies of its cookie, and delete the browser's cookie."""
        _check_is_own(request)
        self.context.sessions.close(request)
        answer = go_to(f"{root(request)}/sign-in")
        _set_cookie(request, answer, "", 0)
        return answer


def _check_is_own(request: Request) -> None:
    if not is_own(request):
        raise RequestRefused(
            HTTPStatus.FORBIDDEN, "The form was not submitted by a page of this dashboard"
        )


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
