# SPDX-License-Identifier: Apache-2.0
"""Promises about signed URLs; ``doc/source/signed-urls.rst`` has the format of tokens."""

import base64
import hmac
import time
from typing import Any

from poppy.model.document.paths import PathRule
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.secrets import Secret
from poppy.model.specs import Caching, Rule
from poppy.provider.base import Capability
from poppy.testing.edge.promises import ANY, BASIC, NOTHING, Ask, Document, Promise, Token

_SECRETS = {"old": "o" * 32, "new": "n" * 32}

#: In documents of the suite, secrets are open.
_DOCUMENT: Document = {
    **BASIC,
    "caching": (*BASIC["caching"], Caching("signed", 60, (Rule("signed", "/signed/*"),))),
    "signed_urls": SignedURLs(
        tuple(
            SigningKey(id, Secret(f"{number:08}", secret))
            for number, (id, secret) in enumerate(_SECRETS.items())
        ),
        (PathRule("signed", "/signed/*"),),
    ),
}


def written(token: Token, path: str) -> str:
    """Return a token as text.

    Args:
        token: the token.
        path: the path that it is for, with the templates filled in.
    """
    expiry = int(time.time() + token.lifetime)
    payload = f"{token.key}.{expiry}.{_encoded(token.client)}.{_encoded(path)}"
    secret = token.secret or _SECRETS.get(token.key, "x")
    signature = hmac.digest(secret.encode(), payload.encode(), "sha256")
    return f"{payload}.{_base64url(signature)}{token.suffix}"


def _encoded(text: str) -> str:
    return _base64url(text.encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _admitted(token: Token, **about: Any) -> Ask:
    return Ask(token=token, gets=ANY)._replace(**about)


def _refused(token: Token | None = None, status: tuple[int, ...] = (403,), **about: Any) -> Ask:
    return Ask(token=token, gets=NOTHING, status=status)._replace(**about)


def _promise(id: str, text: str, *asks: Ask) -> Promise:
    return Promise(
        f"signed-{id}", text, asks, _DOCUMENT, ("/signed",), needs=Capability.SIGNED_URLS
    )


TOKENS = (
    _promise(
        "valid",
        "A token admits requests of any method to its path.",
        *(_admitted(Token(), method=method) for method in ("GET", "HEAD", "POST", "GET")),
    ),
    _promise(
        "missing",
        "Requests without a token get 403, even if the response is kept.",
        *(_refused(method=method) for method in ("GET", "HEAD", "POST", "OPTIONS")),
        _admitted(Token()),
        _refused(),
    ),
    _promise(
        "elsewhere",
        "Other paths need no token.",
        Ask("/free/{token}"),
        Ask("/signedx/{token}"),
    ),
    _promise(
        "expired",
        "An expired token gets 410.",
        _admitted(Token()),
        _refused(Token(lifetime=-1), (410,)),
        _refused(Token(lifetime=-1, cookie=True), (410,)),
    ),
    _promise(
        "forged",
        "A token that no key of the service has signed gets 403, expired or not.",
        _refused(Token(secret="f" * 32)),
        _refused(Token(secret="f" * 32, lifetime=-1)),
        _refused(Token(key="other")),
        _refused(Token(key="new", secret=_SECRETS["old"])),
        _refused(Token(suffix="x")),
        _refused(target="{path}?token="),
        _refused(target="{path}?token=old.1..."),
    ),
    _promise(
        "path",
        "A token admits to no other path.",
        _refused(Token(path="/signed/other")),
        _refused(Token(path="{path}/")),
        _refused(Token(path="{path}"), target="{path}/more"),
        _refused(Token(path="{path}"), target="{path};more"),
        _refused(Token(path="/signed/other*")),
        _refused(Token(path="/s*d/*")),
    ),
    _promise(
        "prefix",
        "A token may be for all paths with a prefix.",
        _admitted(Token(path="/signed/*")),
        _admitted(Token(path="{path}/*"), target="{path}/a/b"),
        _admitted(Token(path="/*")),
    ),
    _promise(
        "rotation",
        "Tokens of all keys are valid, so that keys can be replaced one after the other.",
        _admitted(Token(key="old")),
        _admitted(Token(key="new")),
    ),
    _promise(
        "client",
        "A token may be for one client address.",
        _admitted(Token(client="127.8.0.1")),
        _refused(Token(client="127.8.0.1"), client="127.8.0.2"),
        _refused(
            Token(client="127.8.0.1"),
            client="127.8.0.2",
            fields={"X-Forwarded-For": "127.8.0.1"},
        ),
    ),
    _promise(
        "cookie",
        "A cookie may have the token. The origin gets other cookies only.",
        _admitted(Token(cookie=True), method="POST", sees={"Cookie": None}),
        _admitted(
            Token(cookie=True),
            method="POST",
            fields={"Cookie": "a=1; b=2"},
            sees={"Cookie": "a=1; b=2"},
        ),
        _refused(Token(cookie=True, secret="f" * 32)),
    ),
    _promise(
        "key",
        "Responses are shared by all tokens, and the origin gets no token.",
        Ask(token=Token(), forwards="{path}"),
        Ask(token=Token(key="new"), gets=0),
        Ask(token=Token(cookie=True), gets=0),
        Ask("{path}?a=1&b=2", token=Token(), forwards="{path}?a=1&b=2"),
        Ask("{path}?a=1&b=2", token=Token(key="new"), gets=3),
    ),
    _promise(
        "spelling",
        "Other spellings of a path need a token too, and a token admits to all of them.",
        *(
            _refused(target=target)
            for target in (
                "/%73igned/{token}",
                "/%2573igned/{token}",
                "/signed%2F{token}",
                "/signed%252F{token}",
                "//signed/{token}",
                "/signed;a=b/{token}",
                "/signed%253Ba=b/{token}",
            )
        ),
        _admitted(Token(), target="/%73igned/{token}"),
        _admitted(Token(path="/%73igned/{token}")),
    ),
    _promise(
        "dots",
        "Dot segments do not lead out of a prefix, however often they are encoded.",
        *(
            _refused(Token(path="/signed/a/*"), (400, 403), target=target)
            for target in (
                "/signed/a/../{token}",
                "/signed/a/%2e%2e/{token}",
                "/signed/a/%252e%252e/{token}",
                "/signed/a/%25252e%25252e%25252f{token}",
                "/signed/a/..%255c{token}",
            )
        ),
    ),
)
