# SPDX-License-Identifier: Apache-2.0
"""The dashboard's pages: each reads from the manager and renders a template."""

import json
import urllib.parse
from http import HTTPStatus

from poppy.common import errors
from poppy.manager import overview
from poppy.model import certificates
from poppy.model import services as model
from poppy.model.operations import State
from poppy.transport.pecan.controllers.base import marker_of, project, uuid
from poppy.transport.pecan.dashboard.login import RULE, Site
from poppy.transport.pecan.dashboard.rendering import HTML, PREFIX, go_to, root
from poppy.transport.pecan.request import Request, parameter
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import PUBLIC, Answer, Handler, Route

#: Rows on a page of a list.
PAGE = 50
#: Operations on a page of a service's history.
HISTORY = 20

UNFINISHED = tuple(state for state in State if not state.finished)
_A_YEAR = 31_536_000


def _overview(site: Site, request: Request) -> Response:
    """Show services by status, operations, drivers, workers, and component health."""
    seen = site.manager.overview
    return site.renderer.page(
        request,
        "overview.html",
        counts=seen.counts(),
        counted=overview.COUNTED,
        work=seen.work(),
        looked_at=overview.LOOKED_AT,
        states=UNFINISHED,
        membership=seen.membership(),
        health=seen.health(),
    )


def _operations(site: Site, request: Request) -> Response:
    """Show the unfinished operations, filtered, oldest first, and the latest failures."""
    wanted = {name: parameter(request, name) or "" for name in ("state", "kind", "place")}
    work = site.manager.overview.work()
    found = [
        it
        for it in work.unfinished
        if wanted["state"] in ("", it.state)
        and wanted["kind"] in ("", it.kind)
        and (not wanted["place"] or wanted["place"] in overview.places_of(it))
    ]
    return site.renderer.page(
        request,
        "operations.html",
        found=found[:PAGE],
        number=len(found),
        work=work,
        looked_at=overview.LOOKED_AT,
        most_failures=overview.FAILURES,
        states=UNFINISHED,
        wanted=wanted,
    )


def _services(site: Site, request: Request) -> Response:
    """Show a page of the services with one status; ``failed`` by default."""
    try:
        status = model.Status(parameter(request, "status") or model.Status.FAILED)
    except ValueError:
        known = ", ".join(model.Status)
        raise errors.InvalidRequest(f"The status must be one of {known}") from None
    marker = marker_of(request)
    found, following = site.manager.overview.services(status, marker, PAGE)
    return site.renderer.page(
        request,
        "services.html",
        status=status,
        counts=site.manager.overview.counts(),
        counted=overview.COUNTED,
        found=found,
        marker=marker,
        following=following,
    )


def _service(site: Site, request: Request, project_id: str, service_id: str) -> Response:
    """Show the stored service and its operations.

    The history of a deleted service is still shown.
    """
    project(certificates.owner(project_id))
    service_id = uuid(service_id, "service id")
    marker = marker_of(request)
    history = site.manager.operations.history(project_id, service_id, marker, HISTORY)
    service: model.Service | None = None
    try:
        service = site.manager.services.get(project_id, service_id)
    except errors.NotFound:
        if not history and marker is None:
            raise
    document = json.dumps(service.spec.to_dict(), indent=2) if service else ""
    return site.renderer.page(
        request,
        "service.html",
        project_id=project_id,
        service_id=service_id,
        is_order=certificates.is_namespace(project_id),
        service=service,
        document=document,
        history=history,
        marker=marker,
        following=history[-1].operation_id if len(history) >= HISTORY else None,
    )


def _find(site: Site, request: Request) -> Response:
    """Redirect to the service, or list the domains behind a provider hostname.

    404 when there is neither.
    """
    text = (parameter(request, "q") or "").strip()
    project_id, _, service_id = text.rpartition("/")
    if project_id:
        project(certificates.owner(project_id))
        return _to(request, project_id, uuid(service_id, "service id"))
    domains, problem, status = [], "", HTTPStatus.OK
    if text:
        try:
            found = site.manager.admin_search.by_domain(text)
        except errors.NotFound as exc:
            domains = list(site.manager.admin_search.domains_at(text, None, PAGE))
            problem, status = str(exc), HTTPStatus.NOT_FOUND
        except errors.InvalidRequest as exc:
            problem, status = str(exc), HTTPStatus.BAD_REQUEST
        else:
            return _to(request, found.project_id, found.service_id)
    return site.renderer.page(
        request,
        "find.html",
        HTTPStatus.OK if domains else status,
        text=text,
        problem="" if domains else problem,
        domains=domains,
        most=PAGE,
    )


def _file(site: Site, request: Request, name: str) -> Response:
    """Send a file. Pages add its version to the URL, so browsers can cache it for a year."""
    content, media_type = site.renderer.files.get(name)
    # During a rolling upgrade, pages of another version ask for files of that version.
    lasting = request.GET.get("v") == site.renderer.files.version
    kept = f"public, max-age={_A_YEAR}, immutable" if lasting else "no-cache"
    headers = {"Cache-Control": kept}
    return reply(None, HTTPStatus.OK, headers, f"{media_type}; charset=utf-8", content)


def _to(request: Request, project_id: str, service_id: str) -> Response:
    path = urllib.parse.quote(f"{project_id}/{service_id}", safe="/:")
    return go_to(f"{root(request)}/services/{path}")


def page(path: str, handler: Handler, identifier: str, summary: str) -> Route:
    """Return the route of a page below the dashboard's root."""
    answer = Answer("The page.", media_types=(HTML,))
    target = f"GET {PREFIX}{path}"
    return Route(target, handler, RULE, identifier, summary, {HTTPStatus.OK: answer})


ROUTES = (
    page("", _overview, "getOverview", "Show the state of the installation at a glance."),
    page("/operations", _operations, "getOperations", "Show unfinished and failed operations."),
    page("/services", _services, "getServices", "Show the services of all projects by status."),
    page(
        "/services/{project_id}/{service_id}",
        _service,
        "getService",
        "Show a service and its history.",
    ),
    page("/find", _find, "find", "Find a service by domain, provider hostname or ID."),
    Route(
        f"GET {PREFIX}/static/{{name}}",
        _file,
        PUBLIC,
        id="getFile",
        summary="Show the style sheet, the script or the icon.",
        answers={
            HTTPStatus.OK: Answer(
                "The file.", media_types=("text/css", "text/javascript", "image/svg+xml")
            )
        },
    ),
)
