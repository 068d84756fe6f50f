# SPDX-License-Identifier: Apache-2.0
"""The pages: each asks the manager, and has a template show it."""

import json
import urllib.parse
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

from poppy.common import errors
from poppy.manager import overview
from poppy.model import certificates
from poppy.model import services as model
from poppy.model.operations import State
from poppy.transport.pecan.controllers.base import (
    PUBLIC,
    Resource,
    Settings,
    handler,
    project,
    uuid,
)
from poppy.transport.pecan.dashboard.signing import RULE
from poppy.transport.pecan.dashboard.site import HTML, Site, go_to, root
from poppy.transport.pecan.request import Request, parameter
from poppy.transport.pecan.response import Response, reply

if TYPE_CHECKING:
    from poppy.manager.manager import Manager

#: Rows of a page of a list.
PAGE = 50
#: Operations of a service on a page.
HISTORY = 20

UNFINISHED = tuple(state for state in State if not state.finished)
_A_YEAR = 31_536_000


class Page(Resource):
    """A page."""

    media_types: ClassVar[tuple[str, ...]] = (HTML,)

    def __init__(self, manager: "Manager", settings: Settings, site: Site) -> None:
        super().__init__(manager, settings)
        self.site = site


class Overview(Page):
    """``/dashboard``: all of Poppy at a glance."""

    @handler(RULE)
    def get(self, request: Request, response: Response) -> Response:
        """Services by status, work by place, workers, drivers, and which parts answer."""
        seen = self.manager.overview
        return self.site.page(
            request,
            "overview.html",
            counts=seen.counts(),
            counted=overview.COUNTED,
            work=seen.work(),
            looked_at=overview.LOOKED_AT,
            states=UNFINISHED,
            fleet=seen.fleet(),
            health=seen.health(),
        )


class Operations(Page):
    """``/dashboard/operations``: what is under way, and what failed."""

    @handler(RULE)
    def get(self, request: Request, response: Response) -> Response:
        """The unfinished ones, oldest first, or some of them; and the latest failures."""
        wanted = {name: parameter(request, name) or "" for name in ("state", "kind", "place")}
        work = self.manager.overview.work()
        found = [
            it
            for it in work.unfinished
            if wanted["state"] in ("", it.state)
            and wanted["kind"] in ("", it.kind)
            and (not wanted["place"] or wanted["place"] in overview.places_of(it))
        ]
        return self.site.page(
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


class Services(Page):
    """``/dashboard/services``: the services of all projects, by status."""

    @handler(RULE)
    def get(self, request: Request, response: Response) -> Response:
        """A page of those of one status; at first those that failed."""
        try:
            status = model.Status(parameter(request, "status") or model.Status.FAILED)
        except ValueError:
            known = ", ".join(model.Status)
            raise errors.InvalidRequest(f"The status must be one of {known}") from None
        marker = parameter(request, "marker")
        if marker is not None:
            marker = uuid(marker, "marker")
        found, following = self.manager.overview.services(status, marker, PAGE)
        return self.site.page(
            request,
            "services.html",
            status=status,
            counts=self.manager.overview.counts(),
            counted=overview.COUNTED,
            found=found,
            marker=marker,
            following=following,
        )


class Service(Page):
    """``/dashboard/services/{project_id}/{service_id}``: one service, and its history."""

    @handler(RULE)
    def get(
        self, request: Request, response: Response, project_id: str, service_id: str
    ) -> Response:
        """The service as it is stored, and what was asked of it; the history outlives it."""
        project(certificates.owner(project_id))
        service_id = uuid(service_id, "service id")
        marker = parameter(request, "marker")
        if marker is not None:
            marker = uuid(marker, "marker")
        history = self.manager.operations.history(project_id, service_id, marker, HISTORY)
        service: model.Service | None = None
        try:
            service = self.manager.services.get(project_id, service_id)
        except errors.NotFound:
            if not history and marker is None:
                raise
        document = json.dumps(service.spec.to_dict(), indent=2) if service else ""
        return self.site.page(
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


class Find(Page):
    """``/dashboard/find``: a service by a domain, a name of a provider, or its id."""

    @handler(RULE)
    def get(self, request: Request, response: Response) -> Response:
        """The page of the service; or the domains that a name serves; or that there is none."""
        text = (parameter(request, "q") or "").strip()
        project_id, _, service_id = text.rpartition("/")
        if project_id:
            project(certificates.owner(project_id))
            return _to(request, project_id, uuid(service_id, "service id"))
        domains, problem, status = [], "", HTTPStatus.OK
        if text:
            try:
                found = self.manager.lookups.by_domain(text)
            except errors.NotFound as exc:
                domains = list(self.manager.lookups.domains_at(text, None, PAGE))
                problem, status = str(exc), HTTPStatus.NOT_FOUND
            except errors.InvalidRequest as exc:
                problem, status = str(exc), HTTPStatus.BAD_REQUEST
            else:
                return _to(request, found.project_id, found.service_id)
        return self.site.page(
            request,
            "find.html",
            HTTPStatus.OK if domains else status,
            text=text,
            problem="" if domains else problem,
            domains=domains,
            most=PAGE,
        )


class File(Page):
    """``/dashboard/static/{name}``: what pages are made with; nobody's secret."""

    media_types: ClassVar[tuple[str, ...]] = ("text/css", "text/javascript", "image/svg+xml")

    @handler(PUBLIC)
    def get(self, request: Request, response: Response, name: str) -> Response:
        """A file; pages name it with its version, so that it can be kept for as long as wanted."""
        content, media_type = self.site.files.get(name)
        # Not what another version asks for while processes are upgraded one by one.
        lasting = request.GET.get("v") == self.site.files.version
        kept = f"public, max-age={_A_YEAR}, immutable" if lasting else "no-cache"
        headers = {"Cache-Control": kept}
        return reply(None, HTTPStatus.OK, headers, f"{media_type}; charset=utf-8", content)


def _to(request: Request, project_id: str, service_id: str) -> Response:
    path = urllib.parse.quote(f"{project_id}/{service_id}", safe="/:")
    return go_to(f"{root(request)}/services/{path}")
