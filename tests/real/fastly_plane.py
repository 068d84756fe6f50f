# SPDX-License-Identifier: Apache-2.0
"""Fastly as a data plane of the edge contract: services' VCL in one real Varnish.

See :mod:`tests.real.fastly_edge` for what is simulated.
"""

import gzip
import hashlib
import itertools
import re
from collections.abc import Mapping
from typing import ClassVar, Self

from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.provider.fastly import keys
from poppy.provider.fastly.configuration import Settings, wanted
from poppy.provider.fastly.dictionaries import dictionary
from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.edge import Answer, NotShown, Request
from poppy.testing.edge.promises import HALF
from poppy.testing.edge.wire import exchange
from tests.real.fastly_edge import COUNTRY, simulated
from tests.real.varnish import Varnish
from tests.real.wired_plane import TIMEOUT, WiredPlane

#: By default Varnish waits for up to ten seconds until it tries to connect again.
_PARAMETERS = {
    "backend_local_error_holddown": 0,
    "backend_remote_error_holddown": 0,
    "vcc_allow_inline_c": "on",
}
_SETTINGS = Settings(first_byte_timeout=TIMEOUT)
_COUNTRY = COUNTRY.removeprefix("req.http.")
_CACHE = (
    32 * 1024 * 1024
)  # Bytes. The largest object that Varnish keeps is smaller than its cache.
_ADDRESSES = "which address of an origin Fastly uses"


class FastlyPlane(WiredPlane):
    """A Varnish node that routes each host to the VCL of its service, as Fastly does.

    Args:
        boilerplate: Fastly's own code, see :data:`tests.real.fastly_edge.BOILERPLATES`.
    """

    provider = "fastly"
    supports = FastlyProvider.SUPPORTS
    not_kept: ClassVar[Mapping[str, str]] = {
        "forwarded-proto": "The driver sets no X-Forwarded-Proto.",
        "cookie": "Cookies are not part of the cache key: an origin that varies its responses by "
        "cookies must forbid caching, or send Vary: Cookie.",
        "websocket": "The driver does not upgrade connections.",
    }
    not_shown: ClassVar[Mapping[str, str]] = {
        **{
            f"one-address-{method}": "The simulation has one address of each origin."
            for method in ("get", "head", "options", "put", "delete", "post")
        },
        **dict.fromkeys(
            ("origin-verify-name", "origin-other-name"),
            "The simulation has no TLS to origins.",
        ),
        "huge": "In the simulation, Varnish stands in for Segmented Caching.",
        "early-hints": "Varnish stands in for the connections to origins.",
        "ranges": "Varnish stands in for Fastly's choice of ranges.",
        **dict.fromkeys(
            (
                *("purge-soft", "purge-soft-all", "purge-soft-down"),
                *("purge-soft-tag", "purge-soft-directory", "purge-soft-host"),
            ),
            "Varnish has no soft purge by key.",
        ),
        "purge-tag-revalidated": "Fastly's pages don't say which keys an object has after a 304.",
    }

    def __init__(self, boilerplate: str) -> None:
        super().__init__()
        self._boilerplate = boilerplate
        self._labels: dict[str, str] = {}
        self._numbers = itertools.count()
        self._texts: dict[str, str] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        self._node = self.stack.enter_context(Varnish(cache="128m", **_PARAMETERS))
        return self

    def deploy(self, service: Service) -> None:
        if HALF in (origin.origin for origin in service.spec.origins):
            raise NotShown(_ADDRESSES)
        if any(origin.verify_name for origin in service.spec.origins):
            raise NotShown("TLS to origins")
        secrets = dictionary(service.spec)
        text = simulated(
            wanted(service.spec, _SETTINGS),
            lambda name: self.addresses[name][0],
            self._boilerplate,
            {secrets.name: {key: it.sealed for key, it in secrets.secrets.items()}}
            if secrets.name
            else None,
        )
        number = next(self._numbers)
        self._labels |= dict.fromkeys(service.spec.domain_names, f"label{number}")
        routes = "".join(
            f'if (req.http.Host == "{domain}") {{ return (vcl({label})); }}\n'
            for domain, label in self._labels.items()
        )
        router = (
            f"vcl 4.1; backend default none;\nsub vcl_recv {{\n{routes}return (synth(404));\n}}\n"
        )
        self._node.load(f"service{number}", text)
        self._node.admin("vcl.label", f"label{number}", f"service{number}")
        self._node.load(f"router{number}", router)
        self._node.use(f"router{number}")

    def send(self, request: Request) -> Answer:
        self._learn(request.target)
        reply = self.origins.reply(request.target)
        if reply.form == "hints":
            raise NotShown("how Fastly takes a 103 of an origin")
        if reply.size > _CACHE:
            raise NotShown("the segments in which Fastly keeps large objects")
        if {"Cache-Tag", "ETag"} <= reply.fields.keys():
            raise NotShown("which keys an object has after a 304")
        if "," in request.fields.get("Range", ""):
            raise NotShown("how Fastly answers a request for several ranges")
        fields = {**request.fields, _COUNTRY: request.country}
        # Fastly sets it for requests over TLS.
        if request.scheme != "http":
            fields["Fastly-SSL"] = "1"
        return _compressed(request, exchange(self._node.http, request._replace(fields=fields)))

    def _learn(self, url: str) -> None:
        """Remember the texts of which objects of a URL have digests as their keys."""
        path = url.partition("?")[0]
        parts = path.split("/")
        trees = ("/".join(parts[:depth]) + "/" for depth in range(2, len(parts)))
        for text in (path, url, *trees, *self._labels):
            self._texts[hashlib.sha256(text.encode()).hexdigest()] = text

    def purge(self, service: Service, purge: Purge) -> None:
        """Evict what has the key that the driver purges; the objects have it in plain text."""
        if not purge.hard:
            raise NotShown("how Fastly serves objects after a soft purge by key")
        hosts = "|".join(map(re.escape, service.spec.domain_names))
        for it in keys.covered(purge):
            key = re.sub("[0-9a-f]{64}$", lambda found: self._texts.get(found[0], found[0]), it)
            found = ("obj.http.Surrogate-Key", "~", rf"(?:^|\s){re.escape(key)}(?:\s|$)")
            self._node.admin("ban", "req.http.Host", "~", f"^(?:{hosts})$", "&&", *found)


def _compressed(request: Request, answer: Answer) -> Answer:
    """Return an answer as Fastly sends it after ``vcl_deliver``.

    See https://www.fastly.com/documentation/reference/http/http-headers/X-Compress-Hint.
    """
    fields = {**answer.fields}
    hint = fields.pop("x-compress-hint", None)
    if hint not in {"on", "gzip"} or "gzip" not in request.fields.get("Accept-Encoding", ""):
        return answer._replace(fields=fields)
    fields["content-encoding"] = "gzip"
    fields.pop("content-length", None)
    return answer._replace(fields=fields, body=gzip.compress(answer.body, 1))
