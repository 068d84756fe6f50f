# SPDX-License-Identifier: Apache-2.0
"""Parsing and validation of requests; malformed input is refused here."""

import json
import math
import re
import urllib.parse
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import webob
import webob.acceptparse
import webob.multidict

from poppy.common import errors
from poppy.transport.pecan.errors import RequestRefused

if TYPE_CHECKING:
    from poppy.transport.pecan.routes import Route

#: WSGI environment keys for the values that all handlers need.
REQUEST_ID = "openstack.request_id"
PROJECT_ID = "poppy.project_id"
PROJECT_ID_IN_URL = "poppy.project_id_in_url"
BASE_URL = "poppy.base_url"
#: The URL template, once a resource is found.
ROUTE = "poppy.route"
#: The variable segments of the URL, in order.
ROUTE_VALUES = "poppy.route_values"
#: The route, once it is found.
ENDPOINT = "poppy.endpoint"
#: The client's identity, once it is authenticated.
IDENTITY = "poppy.identity"
#: The decoded body, once it is read.
DOCUMENT = "poppy.document"
#: Whether the client may see all projects.
IS_ADMIN = "poppy.is_admin"

JSON = "application/json"
JSON_HOME = "application/json-home"
FORM = "application/x-www-form-urlencoded"
JSON_PATCH = "application/json-patch+json"

#: How deep arrays and objects may nest. The deepest document of the API has 6 levels.
MAX_DEPTH = 32
#: The digits of a signed 64-bit integer, including the sign.
MAX_DIGITS = 20
MAX_QUERY_PARAMETERS = 128
#: The longest ``Idempotency-Key``, in characters.
MAX_KEY = 255

#: ``host[:port]`` of RFC 9110, section 7.2, without percent-encoding.
HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
#: A parameter of a media range, other than its weight.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_PARAMETER = re.compile(
    rf'[ \t]*;[ \t]*(?![qQ][ \t]*=){_TOKEN}=(?:{_TOKEN}|"(?:[^"\\]|\\.)*")'
)
_MOUNT_POINT = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?")
_CHARSET = re.compile(r"""\s*charset\s*=\s*(?:utf-8|utf8|"utf-8"|"utf8")\s*""", re.IGNORECASE)
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
# A string of Structured Fields (RFC 9651, section 3.3.3). Many clients send it without quotes.
_KEY = re.compile(r'"(?P<quoted>(?:[ !#-\[\]-~]|\\["\\])+)"|(?P<plain>[!#-\[\]-~]+)')
_NO_PARAMETERS = webob.multidict.NoVars("no query string")


class Request(webob.Request):  # type: ignore[misc]
    """A request as Pecan and the handlers see it.

    Only :func:`document` and :func:`form` read the body.
    """

    @property
    def path_info(self) -> str:
        """The decoded path; invalid UTF-8 becomes U+FFFD, which no resource has in its name."""
        raw: str = self.environ.get("PATH_INFO", "")
        return raw if raw.isascii() else raw.encode("latin-1").decode("utf-8", "replace")

    @property
    def GET(self) -> Any:  # noqa: N802 (WebOb's name)
        """The query parameters.

        Raises:
            InvalidRequest: the query string is not UTF-8 or has too many parameters.
        """
        raw: str = self.environ.get("QUERY_STRING", "")
        if not raw:
            return _NO_PARAMETERS
        try:
            pairs = urllib.parse.parse_qsl(
                raw.encode("latin-1").decode("utf-8"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=MAX_QUERY_PARAMETERS,
            )
        except ValueError as exc:
            raise errors.InvalidRequest("The query string is not valid") from exc
        return webob.multidict.MultiDict(pairs)

    @property
    def route(self) -> "Route":
        """The declaration of the route, once it is found."""
        return self.environ[ENDPOINT]  # type: ignore[no-any-return]

    @property
    def request_id(self) -> str | None:
        """The request ID, as in the ``x-openstack-request-id`` header."""
        return self.environ.get(REQUEST_ID)  # type: ignore[no-any-return]

    @property
    def project_id(self) -> str:
        """The project the request belongs to."""
        return self.environ[PROJECT_ID]  # type: ignore[no-any-return]

    @property
    def token(self) -> str | None:
        """The client's token, for acting on the client's behalf. Never log it."""
        return self.environ.get("HTTP_X_AUTH_TOKEN")  # type: ignore[no-any-return]

    @property
    def asking_project(self) -> str | None:
        """The project that the client may see; None for an operator, who may see all projects.

        Raises:
            RequestRefused: 403 for a token without a project (a system-scoped token, say) that
                is not an operator's.
        """
        if self.environ.get(IS_ADMIN):
            return None
        project_id: str | None = self.environ[PROJECT_ID]
        if project_id is None:
            raise RequestRefused(HTTPStatus.FORBIDDEN, "The request needs a token for a project")
        return project_id

    @property
    def base_url(self) -> str:
        """The base of every link: ``<host>/v1.0``, with the project ID if configured."""
        return self.environ[BASE_URL]  # type: ignore[no-any-return]


def host_url(request: Request) -> str:
    """Return ``scheme://host`` as the client sent it, with the mount point, if any.

    Links begin with it, so it is validated.

    Raises:
        InvalidRequest: the scheme, host (RFC 9110, section 7.2) or mount point is malformed.
    """
    environ = request.environ
    host = environ.get("HTTP_HOST")
    mount_point = environ.get("SCRIPT_NAME", "")
    if (
        environ["wsgi.url_scheme"] not in ("http", "https")
        or (host is not None and not HOST.fullmatch(host))
        or (mount_point and not _MOUNT_POINT.fullmatch(mount_point))
    ):
        raise errors.InvalidRequest("The scheme, host or prefix of the request is not valid")
    return f"{request.host_url}{mount_point.rstrip('/')}"


def acceptable(request: Request, offers: Sequence[str]) -> str | None:
    """Return the media type of ``offers`` that the client prefers; None if it accepts none.

    RFC 9110, section 12.5.1. An empty or malformed ``Accept`` is ignored. Parameters are ignored
    too, because the offered media types have none (RFC 8259, section 11).
    """
    wanted = _MEDIA_PARAMETER.sub("", request.environ.get("HTTP_ACCEPT") or "*/*")
    if wanted == "*/*":
        return offers[0]
    if wanted in offers:
        return str(wanted)
    header = webob.acceptparse.create_accept_header(wanted)
    found = header.acceptable_offers(offers)
    return found[0][0] if found else None


def parameter(request: Request, name: str) -> str | None:
    """Return a query parameter; None when it is not given.

    Raises:
        InvalidRequest: it is given more than once, which is ambiguous.
    """
    values = request.GET.getall(name)
    if len(values) > 1:
        raise errors.InvalidRequest(f"Query parameter '{name}' is given more than once")
    return values[0] if values else None


def integer(request: Request, name: str, default: int, maximum: int) -> int:
    """Return a query parameter as an integer in 1..``maximum``.

    Raises:
        InvalidRequest: it is not an integer in that range.
    """
    text = parameter(request, name)
    if text is None:
        return min(default, maximum)
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= maximum:
        raise errors.InvalidRequest(f"Query parameter '{name}' must be a number of 1..{maximum}")
    return int(text)


def boolean(request: Request, name: str, default: bool) -> bool:
    """Return a query parameter that is ``true`` or ``false`` (in upper or lower case).

    Raises:
        InvalidRequest: it has another value.
    """
    text = parameter(request, name)
    if text is None:
        return default
    if text.lower() not in ("true", "false"):
        raise errors.InvalidRequest(f"Query parameter '{name}' must be true or false")
    return text.lower() == "true"


def document(request: Request, limit: int, media_types: Collection[str] = (JSON,)) -> object:
    """Return the JSON document in the body.

    Args:
        limit: the largest allowed body, in bytes.
        media_types: the accepted values of ``Content-Type``.

    Raises:
        RequestRefused: 415 for another media type or encoding, 413 for a larger body.
        InvalidRequest: the body is not JSON (RFC 8259) in UTF-8; is nested too deeply; or has
            duplicate names, which JSON parsers treat differently (section 4), numbers beyond a
            double's range, or characters that can't be stored.
    """
    _check_media_type(request, media_types)
    try:
        value = json.loads(
            _body(request, limit).decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except UnicodeDecodeError as exc:
        raise errors.InvalidRequest("The request body is not UTF-8") from exc
    except ValueError as exc:
        raise errors.InvalidRequest(f"The request body is not valid JSON: {exc}") from exc
    except RecursionError as exc:
        raise errors.InvalidRequest("The request body is nested too deeply") from exc
    _check(value)
    request.environ[DOCUMENT] = value
    return value


def form(request: Request, limit: int) -> Mapping[str, str]:
    """Return a form's values by field name; the first value of a repeated field.

    Args:
        limit: the largest allowed body, in bytes.

    Raises:
        RequestRefused: 415 for another media type or encoding, 413 for a larger body.
        InvalidRequest: the body is not a form in UTF-8, or has too many fields.
    """
    _check_media_type(request, (FORM,))
    try:
        pairs = urllib.parse.parse_qsl(
            _body(request, limit).decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_QUERY_PARAMETERS,
        )
    except ValueError as exc:
        raise errors.InvalidRequest("The form is not valid") from exc
    return dict(reversed(pairs))


def idempotency_key(request: Request) -> str | None:
    """Return the ``Idempotency-Key`` of a request; None without one.

    The format is that of draft-ietf-httpapi-idempotency-key-header.

    Raises:
        InvalidRequest: the key is malformed or too long.
    """
    text = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if text is None:
        return None
    match = _KEY.fullmatch(text.strip())
    if match is None or len(text) > MAX_KEY:
        raise errors.InvalidRequest(
            f"The Idempotency-Key must have 1..{MAX_KEY} printable ASCII characters"
        )
    return re.sub(r"\\(.)", r"\1", match["quoted"]) if match["quoted"] else match["plain"]


def _check_media_type(request: Request, media_types: Collection[str]) -> None:
    """Check the media type and encoding of the body.

    Raises:
        RequestRefused: 415, which lists the accepted media types in ``Accept`` (RFC 9110, section
            15.5.16) or ``Accept-Patch`` (RFC 5789, section 2.2).
    """
    media_type, _, parameters = request.environ.get("CONTENT_TYPE", "").partition(";")
    encoding = request.environ.get("HTTP_CONTENT_ENCODING", "identity")
    if (
        media_type.strip().lower() in media_types
        and (not parameters.strip() or _CHARSET.fullmatch(parameters))
        and encoding.lower() == "identity"
    ):
        return
    names = sorted(media_types)
    field = "Accept-Patch" if request.method == "PATCH" else "Accept"
    raise RequestRefused(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"The request body must have the Content-Type {' or '.join(names)}, "
        "in UTF-8 and not compressed",
        {field: ", ".join(names)},
    )


def _body(request: Request, limit: int) -> bytes:
    """Return the body; read at most one byte more than ``limit``.

    Raises:
        RequestRefused: 413 for a larger body.
        InvalidRequest: ``Content-Length`` is malformed, or the body is shorter.
    """
    environ = request.environ
    declared = environ.get("CONTENT_LENGTH") or ""
    if declared and not re.fullmatch("[0-9]{1,18}", declared):
        raise errors.InvalidRequest("The Content-Length is not valid")
    if not declared and not environ.get("wsgi.input_terminated"):
        return b""
    wanted = int(declared) if declared else limit + 1
    if wanted > limit and declared:
        raise body_too_large(limit)
    body = bytearray()
    while len(body) < wanted and (part := environ["wsgi.input"].read(wanted - len(body))):
        body += part
    if len(body) > limit:
        raise body_too_large(limit)
    if declared and len(body) < wanted:
        raise errors.InvalidRequest("The request body is shorter than its Content-Length")
    return bytes(body)


def body_too_large(limit: int) -> RequestRefused:
    """Return the 413 for a body of more than ``limit`` bytes."""
    return RequestRefused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request body must not exceed {limit} bytes"
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"the name '{name[:64]}' occurs twice in an object")
        result[name] = value
    return result


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number has too many digits")
    return int(text)


def _check(document: object) -> None:
    """Check the nesting depth, and refuse text that is not Unicode or can't be stored.

    Runs without recursion.
    """
    level: list[object] = [document]
    for _ in range(MAX_DEPTH + 1):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and _NOT_TEXT.search(value):
                raise errors.InvalidRequest(
                    "The request body has a string with U+0000 or an unpaired surrogate"
                )
        if not below:
            return
        level = below
    raise errors.InvalidRequest(f"The request body is nested deeper than {MAX_DEPTH} levels")
