# SPDX-License-Identifier: Apache-2.0
"""Promises about the forms of requests and responses."""

from poppy.testing.edge.origin import Reply, body_of
from poppy.testing.edge.promises import ANY, NEW, Ask, Promise

_LARGE = 21_000_000  # Bytes: more than Fastly caches without Segmented Caching.
_HUGE = 40 * 1024 * 1024  # More than a test's cache holds.
_SMALL = len(body_of("t1x", 1, 0))
_TAGGED = {"ETag": '"one"', "Cache-Control": "max-age=1"}
_CORS = {"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Max-Age": "60"}


def _whole(id: str, text: str, reply: Reply, places: tuple[str, ...] = ("/free",)) -> Promise:
    """Return a promise: clients get the whole body, once from the origin and once again."""
    return Promise(id, text, (Ask(origin=reply), Ask(gets=ANY)), places=places)


TRANSFER = (
    Promise(
        "preflight",
        "A CORS preflight (OPTIONS) reaches the origin each time, and gets its answer.",
        (
            Ask(
                method="OPTIONS",
                fields={
                    "Origin": "https://app.example",
                    "Access-Control-Request-Method": "PUT",
                },
                origin=Reply(204, _CORS),
                status=(204,),
                has={"access-control-allow-origin": "https://app[.]example"},
                sees={"Origin": "https://app[.]example", "Access-Control-Request-Method": "PUT"},
            ),
            Ask(method="OPTIONS", gets=NEW, status=(204,)),
        ),
    ),
    Promise(
        "cors-origin",
        "A response that varies by Origin is served only to requests from the same one.",
        (
            Ask(fields={"Origin": "https://a.example"}, origin=Reply(fields={"Vary": "Origin"})),
            Ask(fields={"Origin": "https://b.example"}),
            Ask(),
        ),
    ),
    Promise(
        "head",
        "A HEAD gets the header fields of a GET, from the same response.",
        (
            Ask(),
            Ask(method="HEAD", gets=0, length=0, has={"content-type": "text/plain"}),
            Ask(gets=0),
        ),
    ),
    Promise(
        "head-first",
        "After a HEAD, a GET gets the body.",
        (Ask(method="HEAD", length=0), Ask(gets=ANY)),
    ),
    Promise(
        "range",
        "A range of a response that is kept is served as 206.",
        (
            Ask(origin=Reply(size=100, ranges=True)),
            Ask(
                fields={"Range": "bytes=2-5"},
                gets=ANY,
                status=(206,),
                length=4,
                has={"content-range": "bytes 2-5/[0-9]+"},
            ),
        ),
        places=("/ttl-60",),
    ),
    Promise(
        "range-first",
        "A range of a response that is not kept yet is served, and later requests get the whole.",
        (
            Ask(
                fields={"Range": "bytes=2-5"},
                origin=Reply(size=100, ranges=True),
                status=(206,),
                length=4,
            ),
            Ask(gets=ANY),
        ),
        places=("/ttl-60",),
    ),
    Promise(
        "ranges",
        "Several ranges in a request get all of them, or the whole response.",
        (
            Ask(origin=Reply(size=100, ranges=True)),
            Ask(
                fields={"Range": "bytes=0-1,4-5"},
                gets=ANY,
                status=(200, 206),
            ),
        ),
        places=("/ttl-60",),
    ),
    Promise(
        "not-modified",
        "A browser that has the response gets 304.",
        (
            Ask(origin=Reply(fields={"ETag": '"one"'})),
            Ask(
                fields={"If-None-Match": '"one"'},
                gets=ANY,
                status=(304,),
                length=0,
            ),
            Ask(fields={"If-None-Match": '"other"'}, gets=0),
        ),
        places=("/ttl-60",),
    ),
    Promise(
        "revalidates",
        "An expired response is checked with the origin by its ETag, and kept if it is the same.",
        (
            Ask(origin=Reply(fields=_TAGGED)),
            Ask(gets=ANY, after=1.3),
            Ask(gets=ANY, within=1.0, sees={"If-None-Match": '(W/)?"one"'}),
        ),
        places=("/ttl-1",),
    ),
    Promise(
        "gzip",
        "A compressed response of the origin is served compressed.",
        tuple(
            Ask(
                fields={"Accept-Encoding": "gzip"},
                origin=Reply(fields={"Vary": "Accept-Encoding"}, size=2000, compresses=True),
                gets=gets,
                has={"content-encoding": "gzip"},
            )
            for gets in (NEW, 0)
        ),
    ),
    _whole(
        "large",
        "An object of 21 MB is served.",
        Reply(size=_LARGE),
        ("/free", "/ttl-60"),
    ),
    Promise(
        "large-range",
        "A range of an object of 21 MB is served as 206.",
        tuple(
            Ask(
                fields={"Range": f"bytes={first}-{first + 9}"},
                origin=Reply(size=_LARGE, ranges=True),
                gets=ANY,
                status=(206,),
                length=10,
                has={"content-range": f"bytes {first}-{first + 9}/[0-9]+"},
            )
            for first in (20_000_000, 0, 10_000_000)
        ),
        places=("/free", "/ttl-60"),
    ),
    Promise(
        "large-head",
        "A HEAD of an object of 21 MB is answered.",
        (Ask(method="HEAD", origin=Reply(size=_LARGE), length=0),),
        places=("/ttl-60",),
    ),
    _whole("huge", "An object that is larger than the cache is served.", Reply(size=_HUGE)),
    _whole("chunked", "A chunked response is served whole.", Reply(form="chunked", size=5000)),
    _whole(
        "http-1.0",
        "A response in HTTP/1.0, which ends with the connection, is served whole.",
        Reply(form="close", size=5000),
    ),
    _whole(
        "early-hints", "A 103 (Early Hints) before a response does no harm.", Reply(form="hints")
    ),
    Promise(
        "truncated",
        "A response that breaks off is not kept.",
        (
            Ask(
                origin=Reply(size=5000, fault="truncated"),
                gets=ANY,
                status=(200, 502, 503, 504),
                breaks_off=True,
            ),
            Ask(origin=Reply(size=5000)),
        ),
    ),
    _whole(
        "wide-fields",
        "A response with 40 header fields of 100 bytes is served.",
        Reply(fields={f"X-Field-{number}": "x" * 100 for number in range(40)}),
    ),
    Promise(
        "wide-cookie",
        "A request with a cookie of 4,000 bytes reaches the origin.",
        (Ask(fields={"Cookie": "a=" + "x" * 4000}, sees={"Cookie": "a=x{{4000}}"}),),
        places=("/ttl-0",),
    ),
    Promise(
        "websocket",
        "A WebSocket handshake reaches the origin, and the browser gets 101.",
        (
            Ask(
                fields={
                    "Connection": "Upgrade",
                    "Upgrade": "websocket",
                    "Sec-WebSocket-Version": "13",
                    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                },
                origin=Reply(
                    101,
                    {
                        "Connection": "Upgrade",
                        "Upgrade": "websocket",
                        "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                    },
                ),
                status=(101,),
                length=0,
            ),
        ),
        places=("/ttl-0",),
    ),
)
