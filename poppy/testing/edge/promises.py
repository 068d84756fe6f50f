# SPDX-License-Identifier: Apache-2.0
"""The form of the edge contract's table: promises, and the requests that check them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from poppy.model.operations import Purge
from poppy.model.specs import Caching, Origin, Rule
from poppy.provider.base import Capability
from poppy.testing.edge.origin import Reply

#: For :attr:`Ask.gets`: a reply of the origin that no earlier request of the row has got.
NEW = -1
#: For :attr:`Ask.gets`: no reply of the origin.
NOTHING = -2
#: For :attr:`Ask.gets`: the promise is about something else.
ANY = -3
#: Names of origins. HALF has two addresses, of which the first one refuses connections. NONE has
#: an address that refuses connections, and STOPS is for a row that stops it.
FIRST, SECOND = "a.origin.example", "b.origin.example"
HALF, NONE, STOPS = "half.origin.example", "none.origin.example", "stops.origin.example"
#: The name of an origin with TLS, and the only name in its certificate. A data plane needs it if
#: the provider has the capability ``ORIGIN_VERIFY_NAME``.
SECURE, VERIFIED = "secure.origin.example", "certificate.example.org"

#: Fields of a service document (:class:`~poppy.model.specs.ServiceSpec`) without its domains.
Document = Mapping[str, Any]

#: The document of most rows: a TTL for each of some paths, and none for the rest.
BASIC: Document = {
    "origins": (Origin(FIRST),),
    "caching": tuple(
        Caching(str(ttl), ttl, (Rule(str(ttl), f"/ttl-{ttl}/*"),)) for ttl in (0, 1, 60, 3600)
    ),
}


class Request(NamedTuple):
    """A browser's request to an edge.

    Attributes:
        target: path and query, not normalized.
        client: the client's address, one of 127.0.0.0/8, so that a test can connect from it.
        country: the client's country (ISO 3166-1 alpha-2); empty if unknown.
        scheme: ``http`` or ``https``; empty: the data plane's own.
    """

    host: str
    target: str
    method: str = "GET"
    fields: Mapping[str, str] = {}
    client: str = "127.8.0.1"
    country: str = ""
    body: bytes = b""
    scheme: str = ""


class Answer(NamedTuple):
    """What the browser gets.

    Attributes:
        fields: names are in lower case, repeated fields are joined.
        is_whole: whether the connection stayed open until the end of the body.
    """

    status: int
    fields: Mapping[str, str]
    body: bytes
    is_whole: bool = True


class Token(NamedTuple):
    """A token of a signed URL, which the suite makes when it sends the request.

    Attributes:
        path: what it is for; a template like :attr:`Ask.target`, with ``*`` at the end for a
            prefix.
        key: the ID of the key.
        secret: the secret that signs it; empty for that of the key.
        lifetime: seconds; negative if it has expired.
        client: the only address that may use it; empty for any.
        suffix: added to it.
        cookie: whether a cookie has it, and not the query.
    """

    path: str = "{path}"
    key: str = "old"
    secret: str = ""
    lifetime: int = 600
    client: str = ""
    suffix: str = ""
    cookie: bool = False


class Ask(NamedTuple):
    """A request of a promise, and what the browser must get.

    Attributes:
        target: ``{path}`` is a path that is unique to the row, in one of its places; ``{token}``
            is its last segment.
        fields: the request's header fields.
        domain: the number of the domain in the service.
        after: seconds to wait before the request.
        origin: how the origin answers from now on; None: as before.
        stop: the name of an origin that refuses connections from now on.
        purge: what to purge before the request; its URL is a template like ``target``.
        gets: :data:`NEW`, :data:`NOTHING`, :data:`ANY`, or the number of an earlier request of
            the row: the same reply as that one got.
        status: the status codes that are right.
        has: response fields, as regular expressions; None: the field must be missing.
        length: bytes of the body; None: those of the origin's body.
        breaks_off: whether the body may be incomplete.
        sees: fields of the latest request that the origin received, like ``has``. ``{domain}`` is
            the service's first domain.
        forwards: path and query of the latest request that the origin received, a template.
        token: a token to add to the request.
        reaches: the name of the origin that received it.
        at_most: the maximum number of requests at the origin so far.
        scheme: as in :class:`Request`; for promises with ``https``.
        within: seconds in which the answer may become right.
    """

    target: str = "{path}"
    method: str = "GET"
    fields: Mapping[str, str] = {}
    domain: int = 0
    client: str = "127.8.0.1"
    country: str = ""
    body: bytes = b""
    after: float = 0.0
    origin: Reply | None = None
    stop: str = ""
    purge: Purge | None = None
    gets: int = NEW
    status: tuple[int, ...] = (200,)
    has: Mapping[str, str | None] = {}
    length: int | None = None
    breaks_off: bool = False
    sees: Mapping[str, str | None] = {}
    reaches: str = ""
    at_most: int | None = None
    scheme: str = ""
    within: float = 0.0
    forwards: str = ""
    token: Token | None = None


class Promise(NamedTuple):
    """A row of the table.

    Attributes:
        id: a stable name, in lower case with hyphens.
        text: a sentence for tenants.
        asks: the requests, in order.
        document: the service; rows with the same document share a service.
        places: paths below which the row is checked, each with a path of its own.
        alone: whether the row needs a service of its own.
        https: whether the domains have HTTPS.
        needs: a capability without which a document is refused at POST.
    """

    id: str
    text: str
    asks: tuple[Ask, ...]
    document: Document = BASIC
    places: tuple[str, ...] = ("/free", "/ttl-60")
    alone: bool = False
    https: bool = False
    needs: Capability | None = None
