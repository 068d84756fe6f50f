# SPDX-License-Identifier: Apache-2.0
"""``delivery``: HSTS, compression and WebSocket."""

from poppy.model.document.delivery import HSTS
from poppy.model.specs import ServiceSpec
from poppy.provider.akamai import headers
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.parts import CLIENT, behavior, protocol, rule

#: Media types to compress: https://techdocs.akamai.com/property-mgr/docs/last-mile-accel-gzip-comp.
_COMPRESSED = (
    "text/*",
    "application/javascript*",
    "application/x-javascript*",
    "application/json*",
    "application/manifest+json*",
    "application/xml*",
    "application/xhtml+xml*",
    "application/rss+xml*",
    "application/vnd.ms-fontobject*",
    "font/eot*",
    "font/opentype*",
    "font/otf*",
    "image/svg+xml*",
    "image/vnd.microsoft.icon*",
)


def rules(spec: ServiceSpec) -> list[Document]:
    """Return the rules of the field; an empty list if Akamai's defaults apply."""
    if spec.delivery is None:
        return []
    found = []
    if spec.delivery.hsts:
        field = headers.set_response("Strict-Transport-Security", _written(spec.delivery.hsts))
        found.append(rule("HSTS", [CLIENT, protocol("HTTPS")], [field]))
    if spec.delivery.compression == "off":
        found.append(rule("Compression", behaviors=[behavior("gzipResponse", behavior="NEVER")]))
    elif spec.delivery.compression == "gzip":
        found.append(_compression())
    if spec.delivery.websockets is not None:
        found.append(rule("WebSocket", behaviors=_websockets(spec.delivery.websockets)))
    return found


def _compression() -> Document:
    """Return the rule that compresses text.

    Caches need ``Vary``, which Akamai's pages do not promise.
    """
    options = {
        "matchOperator": "IS_ONE_OF",
        "values": list(_COMPRESSED),
        "matchWildcard": True,
        "matchCaseSensitive": False,
    }
    return rule(
        "Compression",
        [{"name": "contentType", "options": options}],
        [behavior("gzipResponse", behavior="ALWAYS")],
        [rule("Clients", [CLIENT], [headers.add_response("Vary", "Accept-Encoding")])],
    )


def _websockets(allowed: bool) -> list[Document]:
    """Return the behaviours that allow or refuse an upgrade of the connection."""
    refused = [] if allowed else [headers.delete_request("Upgrade")]
    return [behavior("webSockets", enabled=allowed), *refused]


def _written(hsts: HSTS) -> str:
    parts = [f"max-age={hsts.max_age}"]
    parts += ["includeSubDomains"] if hsts.include_subdomains else []
    parts += ["preload"] if hsts.preload else []
    return "; ".join(parts)
