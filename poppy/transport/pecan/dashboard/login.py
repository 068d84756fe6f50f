# SPDX-License-Identifier: Apache-2.0
"""The login views: ``/dashboard/sign-in`` and ``/dashboard/sign-out``."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from oslo_log import log

from poppy.policies.base import AUDITOR, service_rule
from poppy.transport.pecan.controllers.base import API
from poppy.transport.pecan.dashboard.identity import SignInRefused
from poppy.transport.pecan.dashboard.rendering import HTML, PREFIX, Renderer, go_to, root
from poppy.transport.pecan.dashboard.sessions import COOKIE, Sessions, is_own
from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.guesses import Guesses
from poppy.transport.pecan.request import Request, form, parameter
from poppy.transport.pecan.response import Response
from poppy.transport.pecan.routes import PUBLIC, Answer, Route

if TYPE_CHECKING:
    from poppy.policies.enforcer import Policy

LOG = log.getLogger(__name__)

#: The policy rule for all pages except static files. Signing in requires it too.
RULE = service_rule(
    "cdn:dashboard:get",
    AUDITOR,
    "View the dashboard, which shows the services of all projects.",
)

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
    guesses: Guesses


@dataclass(frozen=True)
class Site(API):
    """The first argument of the dashboard's handlers."""

    renderer: Renderer
    login: LoginContext


def _sign_in_page(site: Site, request: Request) -> Response:
    return _form(site, request, parameter(request, "next") or "")


def _sign_in(site: Site, request: Request) -> Response:
    """Check the credentials and the policy, and set the session cookie."""
    _check_is_own(request)
    context = site.login
    fields = form(request, site.settings.max_body_size)
    following = fields.get("next", "")
    wait = context.guesses.wait(request.remote_addr)
    if wait:
        LOG.warning("Throttled dashboard sign-in from %s", request.remote_addr)
        return _throttled(site, request, following, wait)
    try:
        cookie = context.sessions.open(fields)
        _check(context, request, cookie)
    except SignInRefused as exc:
        context.guesses.failed(request.remote_addr)
        LOG.warning("Refused dashboard sign-in from %s: %s", request.remote_addr, exc)
        return _form(site, request, following, str(exc))
    answer = go_to(f"{root(request)}{following if _PATH.fullmatch(following) else ''}")
    _set_cookie(request, answer, cookie, context.lifetime)
    LOG.info("Dashboard sign-in from %s", request.remote_addr)
    return answer


def _check(context: LoginContext, request: Request, cookie: str) -> None:
    """Check the policy now, so that the form reports a refusal and not every page."""
    try:
        who = context.sessions.identify(request, cookie)
    except RequestRefused as exc:
        raise SignInRefused("The token is invalid or has expired.") from exc
    if not context.policy.allows(RULE.name, who):
        raise SignInRefused(f"You are not allowed to use the dashboard (policy {RULE.name}).")


def _throttled(site: Site, request: Request, following: str, wait: int) -> Response:
    answer = _form(
        site, request, following, f"Too many failed attempts. Try again in {wait} seconds."
    )
    answer.status = HTTPStatus.TOO_MANY_REQUESTS
    answer.headers["Retry-After"] = str(wait)
    return answer


def _form(site: Site, request: Request, following: str, problem: str = "") -> Response:
    status = HTTPStatus.FORBIDDEN if problem else HTTPStatus.OK
    is_private = request.scheme == "https" or _LOOPBACK.fullmatch(request.host)
    return site.renderer.page(
        request,
        "sign_in.html",
        status,
        form=site.login.sessions.form,
        following=following if _PATH.fullmatch(following) else "",
        problem=problem,
        is_private=bool(is_private),
    )


def _sign_out(site: Site, request: Request) -> Response:
    """End the session for all copies of its cookie, and delete the browser's cookie."""
    _check_is_own(request)
    site.login.sessions.close(request)
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


ROUTES = (
    Route(
        f"GET {PREFIX}/sign-in",
        _sign_in_page,
        PUBLIC,
        id="getSignIn",
        summary="Show the sign-in form.",
        answers={HTTPStatus.OK: Answer("The form.", media_types=(HTML,))},
    ),
    Route(
        f"POST {PREFIX}/sign-in",
        _sign_in,
        PUBLIC,
        id="signIn",
        summary="Sign in, and return to the requested page.",
        answers={HTTPStatus.SEE_OTHER: Answer("The page.", media_types=(HTML,))},
        audit=("authenticate/login", "dashboard"),
    ),
    Route(
        f"POST {PREFIX}/sign-out",
        _sign_out,
        PUBLIC,
        id="signOut",
        summary="End the session.",
        answers={HTTPStatus.SEE_OTHER: Answer("The sign-in form.", media_types=(HTML,))},
        audit=("revoke/logout", "dashboard"),
    ),
)
