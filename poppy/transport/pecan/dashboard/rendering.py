# SPDX-License-Identifier: Apache-2.0
"""Render the dashboard's templates and error pages, and load its static files."""

import datetime
import hashlib
import pathlib
import shlex
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import jinja2
import pecan.hooks
from oslo_log import log

from poppy.common import errors
from poppy.transport.pecan import errors as http_errors
from poppy.transport.pecan.request import Request, host_url
from poppy.transport.pecan.response import Response, reply

LOG = log.getLogger(__name__)

PREFIX = "/dashboard"
HTML = "text/html"

_HERE = pathlib.Path(__file__).parent
_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Files:
    """The static files. They are small, and are read into memory once.

    Attributes:
        version: a hash of all files, so that browsers can cache a URL that has it.
    """

    def __init__(self) -> None:
        paths = sorted((_HERE / "static").iterdir())
        self._found = {path.name: (path.read_bytes(), _MEDIA_TYPES[path.suffix]) for path in paths}
        whole = b"".join(content for content, _ in self._found.values())
        self.version = hashlib.sha256(whole).hexdigest()[:12]

    def get(self, name: str) -> tuple[bytes, str]:
        """Return a file's content and media type.

        Raises:
            NotFound: no file has that name.
        """
        try:
            return self._found[name]
        except KeyError:
            raise errors.NotFound(f"File {name} not found") from None


class Renderer:
    """Renders templates with the values that all pages share.

    Args:
        refresh: seconds between refreshes of an open page.
    """

    def __init__(self, refresh: int) -> None:
        self.files = Files()
        self._refresh = refresh
        # Escape everything: any value may come from a tenant.
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "age": age,
            "ago": ago,
            "length_of": length_of,
            "moment": moment,
            "shell": shlex.quote,
            "words": words,
        }

    def page(
        self,
        request: Request,
        template: str,
        code: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        """Render a template as a response.

        Args:
            values: the template's own variables.
        """
        text = self._templates.get_template(template).render(
            root=root(request),
            refresh=self._refresh,
            version=self.files.version,
            now=datetime.datetime.now(datetime.UTC),
            **values,
        )
        content_type = f"{HTML}; charset=utf-8"
        return reply(None, code, headers, content_type, text.encode("utf-8", "replace"))


class ErrorPages(pecan.hooks.PecanHook):  # type: ignore[misc]
    """Renders errors as pages. A request without a session is redirected to the sign-in form."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def on_error(self, state: Any, error: Exception) -> Response | None:
        """Return the error page; None for a bug, which the outermost middleware handles."""
        request: Request = state.request
        if isinstance(error, http_errors.RequestRefused):
            if error.status is HTTPStatus.UNAUTHORIZED:
                return to_sign_in(request)
            return self._page(request, error.status, str(error), error.headers)
        if not isinstance(error, errors.PoppyError):
            return None
        status, message = http_errors.status_of(error), str(error)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            LOG.error("Request %s failed", request.request_id, exc_info=error)
            message = http_errors.FAULT
        return self._page(request, status, message, http_errors.headers_of(error))

    def _page(
        self, request: Request, status: HTTPStatus, message: str, headers: Mapping[str, str]
    ) -> Response:
        return self._renderer.page(
            request, "error.html", status, headers, status=status, message=message
        )


def root(request: Request) -> str:
    """Return the prefix of links to pages: the server's mount point plus ``/dashboard``."""
    try:
        host_url(request)
    except errors.InvalidRequest:
        return PREFIX
    return f"{request.environ.get('SCRIPT_NAME', '').rstrip('/')}{PREFIX}"


def go_to(path: str) -> Response:
    """Redirect the browser with 303, so that it sends a GET even after a POST."""
    return reply(status=HTTPStatus.SEE_OTHER, headers={"Location": path})


def to_sign_in(request: Request) -> Response:
    """Redirect to the sign-in form, which returns to the requested page."""
    below = request.path_info.removeprefix(PREFIX).rstrip("/")
    query = request.environ.get("QUERY_STRING", "")
    following = urllib.parse.quote(below, safe="/:") + (f"?{query}" if query else "")
    where = f"?{urllib.parse.urlencode({'next': following})}" if following else ""
    return go_to(f"{root(request)}/sign-in{where}")


def ago(now: datetime.datetime, then: datetime.datetime) -> str:
    """Format a time relative to now: ``5 s ago``, or ``in 5 s`` for the future."""
    seconds = (now - then).total_seconds()
    return f"{length_of(seconds)} ago" if seconds > -1 else f"in {length_of(-seconds)}"


def age(now: datetime.datetime, then: datetime.datetime) -> str:
    """Format the time since then, such as ``5 s``."""
    return length_of((now - then).total_seconds())


def length_of(seconds: float) -> str:
    """Format a duration in its largest unit: ``5 s``, ``3 min``, ``7 h``, ``2 d``."""
    whole = max(0, round(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def moment(then: datetime.datetime) -> str:
    """Format a point in time in UTC, to the second."""
    return f"{then.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def words(name: object) -> str:
    """Replace underscores by spaces: ``create_in_progress`` is ``create in progress``."""
    return str(name).replace("_", " ")
