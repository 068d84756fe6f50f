# SPDX-License-Identifier: Apache-2.0
"""Changes of header fields: the behaviours ``modify...Header`` of Property Manager.

See https://techdocs.akamai.com/property-mgr/docs/modify-incoming-req-header for requests and
https://techdocs.akamai.com/property-mgr/docs/modify-outgoing-response-header for responses, which
change "immediately before" the client gets them, from the cache too.
"""

from collections.abc import Mapping, Sequence

from poppy.model.specs import ServiceSpec
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.parts import CLIENT, behavior, check_text, paths, rule
from poppy.provider.akamai.patterns import path_pattern

_REQUEST = "modifyIncomingRequestHeader"
_RESPONSE = "modifyOutgoingResponseHeader"
_ORIGIN = "modifyIncomingResponseHeader"
#: Fields that have a value of their own in an option, by behaviour and action; OTHER is for all
#: others: https://techdocs.akamai.com/property-mgr/reference/ga-modify-incoming-request-header and
#: https://techdocs.akamai.com/property-mgr/reference/ga-modify-outgoing-response-header.
_ACCESS_CONTROL = (
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-allow-credentials",
    "access-control-max-age",
)
_CONTENT = ("cache-control", "content-disposition", "content-type", "p3p", "pragma")
STANDARD: Mapping[tuple[str, str], Sequence[str]] = {
    (_REQUEST, "Add"): ("accept-encoding", "accept-language"),
    (_REQUEST, "Modify"): ("accept-encoding", "accept-language"),
    (_REQUEST, "Delete"): ("if-modified-since", "via"),
    (_RESPONSE, "Add"): (*_CONTENT, *_ACCESS_CONTROL, "edge-control"),
    (_RESPONSE, "Modify"): (*_CONTENT, *_ACCESS_CONTROL),
    (_ORIGIN, "Modify"): ("cache-control", "content-type", "edge-control"),
    (_RESPONSE, "Delete"): (*_CONTENT, *_ACCESS_CONTROL, "expires"),
}


def check(spec: ServiceSpec) -> None:
    """Refuse paths and values that Akamai would read in another way.

    Raises:
        PermanentError: the message names the entry.
    """
    for number, entry in enumerate(spec.headers or ()):
        for path in entry.rules or ():
            path_pattern(path)
        for direction in ("request", "response"):
            changes = getattr(entry, direction)
            for action in ("set", "add"):
                for name, value in (getattr(changes, action, None) or {}).items():
                    check_text(value, f"headers[{number}].{direction}.{action}: {name}")


def changes(spec: ServiceSpec) -> list[Document]:
    """Return the rule of all entries of ``headers``; an empty list if there are none."""
    rules = []
    for entry in spec.headers or ():
        behaviors: list[Document] = []
        if entry.request:
            behaviors += [delete_request(name) for name in entry.request.remove or ()]
            behaviors += [set_request(*field) for field in (entry.request.set or {}).items()]
        if entry.response:
            behaviors += [delete_response(name) for name in entry.response.remove or ()]
            behaviors += [set_response(*field) for field in (entry.response.set or {}).items()]
            behaviors += [add_response(*field) for field in (entry.response.add or {}).items()]
        patterns = [path_pattern(path) for path in entry.rules or ()]
        rules.append(rule(entry.name, paths(patterns), behaviors))
    return [rule("Header fields", [CLIENT], children=rules)] if rules else []


def delete_request(name: str) -> Document:
    """Return a behaviour that removes a field of the client's request."""
    return _edit(_REQUEST, "Delete", name)


def set_request(name: str, value: str) -> Document:
    """Return a behaviour that replaces a field of the client's request."""
    return _edit(_REQUEST, "Modify", name, newHeaderValue=value, avoidDuplicateHeaders=True)


def delete_response(name: str) -> Document:
    """Return a behaviour that removes a field of what the client gets."""
    return _edit(_RESPONSE, "Delete", name)


def set_response(name: str, value: str) -> Document:
    """Return a behaviour that replaces a field of what the client gets."""
    return _edit(_RESPONSE, "Modify", name, newHeaderValue=value, avoidDuplicateHeaders=True)


def set_from_origin(name: str, value: str) -> Document:
    """Return a behaviour that replaces a field of the origin's response, before it is kept."""
    return _edit(_ORIGIN, "Modify", name, newHeaderValue=value, avoidDuplicateHeaders=True)


def add_response(name: str, value: str) -> Document:
    """Return a behaviour that adds a field to what the client gets."""
    return _edit(_RESPONSE, "Add", name, headerValue=value)


def _edit(kind: str, action: str, name: str, **options: object) -> Document:
    selected: Document = {f"standard{action}HeaderName": name.upper().replace("-", "_")}
    if name.lower() not in STANDARD[kind, action]:
        selected = {f"standard{action}HeaderName": "OTHER", "customHeaderName": name}
    return behavior(kind, {"action": action.upper(), **selected, **options})
