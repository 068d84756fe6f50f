# SPDX-License-Identifier: Apache-2.0
"""Promises about ``delivery``."""

from typing import Any

from poppy.model.document.delivery import HSTS, Delivery
from poppy.provider.base import Capability
from poppy.testing.edge.origin import Reply
from poppy.testing.edge.promises import ANY, BASIC, NOTHING, Ask, Document, Promise

_GZIP = {"Accept-Encoding": "gzip"}
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def _with(**settings: Any) -> Document:
    return {**BASIC, "delivery": Delivery(**settings)}


def _redirected(*status: int, **about: Any) -> Ask:
    location = r"https://{domain}{path}\?q=%2F"
    return Ask(
        "{path}?q=%2F",
        scheme="http",
        gets=NOTHING,
        status=status,
        has={"location": location},
    )._replace(**about)


DELIVERY = (
    Promise(
        "https-redirect",
        "A request over HTTP is redirected to HTTPS, and one over HTTPS is answered.",
        (
            _redirected(301),
            _redirected(301, 307, method="POST", body=b"x"),
            Ask("{path}?q=%2F", scheme="https"),
        ),
        _with(https_redirect=True),
        https=True,
        needs=Capability.HTTPS_REDIRECT,
    ),
    Promise(
        "https-redirect-status",
        "The redirect to HTTPS has the status that the service chooses.",
        (_redirected(308),),
        _with(https_redirect=True, redirect_status=308),
        https=True,
        needs=Capability.HTTPS_REDIRECT,
    ),
    Promise(
        "hsts",
        "Strict-Transport-Security is sent over HTTPS only, also with responses that are kept.",
        (
            Ask(scheme="http", has={"strict-transport-security": None}),
            *(
                Ask(
                    scheme="https",
                    gets=gets,
                    has={"strict-transport-security": "max-age=600; ?includeSubDomains"},
                )
                for gets in (ANY, 1)
            ),
        ),
        _with(hsts=HSTS(600, include_subdomains=True)),
        ("/ttl-60",),
        https=True,
        needs=Capability.HSTS,
    ),
    Promise(
        "compression",
        "With compression, text is compressed for clients that accept it, and for no others.",
        (
            Ask(
                fields=_GZIP,
                origin=Reply(size=2000),
                has={"content-encoding": "gzip", "vary": "(?i).*accept-encoding.*"},
            ),
            Ask(gets=ANY, has={"content-encoding": None}),
            Ask(gets=0, fields=_GZIP, has={"content-encoding": "gzip"}),
        ),
        _with(compression="gzip"),
        ("/ttl-60",),
        needs=Capability.GZIP,
    ),
    Promise(
        "compression-uncached",
        "With compression, responses that are not kept are compressed too.",
        (
            Ask(
                fields={**_GZIP, "Cookie": "a=b"},
                origin=Reply(size=2000),
                has={"content-encoding": "gzip"},
            ),
        ),
        _with(compression="gzip"),
        ("/ttl-0",),
        needs=Capability.GZIP,
    ),
    Promise(
        "compression-once",
        "With compression, what the origin has compressed and what is no text stays as it is.",
        (
            Ask(
                fields=_GZIP,
                origin=Reply(fields={"Vary": "Accept-Encoding"}, size=2000, compresses=True),
                has={"content-encoding": "gzip"},
            ),
            Ask(
                "{path}?image",
                fields=_GZIP,
                origin=Reply(fields={"Content-Type": "image/png"}, size=2000),
                has={"content-encoding": None},
            ),
        ),
        _with(compression="gzip"),
        needs=Capability.GZIP,
    ),
    Promise(
        "websocket-refused",
        "Without WebSocket, an upgrade of the connection does not reach the origin.",
        (Ask(fields=_UPGRADE, sees={"Upgrade": None}),),
        _with(websockets=False),
        needs=Capability.WEBSOCKETS,
    ),
)
