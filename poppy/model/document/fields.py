# SPDX-License-Identifier: Apache-2.0
"""The list of the optional fields of a service document."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from poppy.model.capabilities import Capability
from poppy.model.document import cors, delivery, error_pages, headers, redirects, signed_urls
from poppy.model.document.cors import CORS
from poppy.model.document.delivery import Delivery
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.headers import HeaderRules
from poppy.model.document.redirects import Redirect
from poppy.model.document.signed_urls import SignedURLs
from poppy.model.document.tags import TAGS
from poppy.model.document.waf import WAF


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeFields:
    """The optional fields that an edge obeys itself; each is None until a tenant sets it."""

    delivery: Annotated[Delivery | None, {"description": "How the edge talks to clients."}] = None
    redirects: Annotated[
        tuple[Redirect, ...] | None,
        {"description": "Paths for which the edge answers with another location."},
        Capability.REDIRECTS,
    ] = None
    headers: Annotated[
        tuple[HeaderRules, ...] | None, {"description": "Changes of header fields, by path."}
    ] = None
    cors: Annotated[
        CORS | None,
        {"description": "Which other sites' scripts may read responses."},
        Capability.CORS,
    ] = None
    error_pages: Annotated[
        tuple[ErrorPage, ...] | None,
        {"description": "Pages of the origin that replace the bodies of errors."},
        Capability.ERROR_PAGES,
    ] = None
    signed_urls: Annotated[
        SignedURLs | None,
        {"description": "Paths for which requests need a token."},
        Capability.SIGNED_URLS,
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionalFields(EdgeFields):
    """All optional fields."""

    waf: Annotated[
        WAF | None, {"description": "The web application firewall."}, Capability.WAF
    ] = None
    tags: Annotated[tuple[str, ...] | None, TAGS] = None


def check(fields: EdgeFields, http: Sequence[str], https: Sequence[str]) -> None:
    """Check the rules of all fields.

    Args:
        fields: the fields, which match their schemas.
        http: the domains without HTTPS.
        https: the domains with HTTPS.

    Raises:
        InvalidRequest: a rule is violated; the message names the field.
    """
    if fields.delivery is not None:
        delivery.check(fields.delivery, http, https)
    if fields.cors is not None:
        cors.check(fields.cors)
    if fields.redirects is not None:
        redirects.check(fields.redirects)
    if fields.headers is not None:
        headers.check(fields.headers)
    if fields.error_pages is not None:
        error_pages.check(fields.error_pages)
    if fields.signed_urls is not None:
        signed_urls.check(fields.signed_urls)
