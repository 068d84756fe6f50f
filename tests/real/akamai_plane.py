# SPDX-License-Identifier: Apache-2.0
"""Akamai as a data plane of the edge contract: the rule tree, interpreted.

See :mod:`tests.real.akamai_interpreter` for rules, :mod:`tests.real.akamai_caching` for lifetimes.
By default, the cache key is the URL with its query
(https://techdocs.akamai.com/property-mgr/docs/cache-key-query-param), ``cacheKeyHostname`` chooses
the host in it, and clients wait for the origin when a response has expired
(https://techdocs.akamai.com/property-mgr/reference/ga-prefresh-cache). A purge covers exactly the
given URL, for http and https (https://techdocs.akamai.com/purge-cache/docs/purge-content-url).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.provider.akamai import rules
from poppy.provider.akamai.ccu import purged_urls
from poppy.provider.akamai.driver import AkamaiProvider
from poppy.testing.edge import Answer, NotShown, Request, Response
from tests.real.akamai_caching import kept
from tests.real.akamai_interpreter import Client, outcome
from tests.real.interpreted import (
    NOT_SHOWN,
    InterpretedPlane,
    Kept,
    answer,
    refuse_what_is_not_shown,
)


class AkamaiPlane(InterpretedPlane):
    """Rule trees by hostname."""

    provider = "akamai"
    supports = AkamaiProvider.SUPPORTS
    not_kept: ClassVar[Mapping[str, str]] = {
        "cookie": "Cookies are not part of the cache key: an origin that varies its responses by "
        "cookies must forbid caching, or send Vary: Cookie.",
        "stale-while-revalidating": "Akamai asks the origin first.",
        "whitelist-referrer-subdomain": "Akamai's patterns can't tell a subdomain from a path.",
        "https-redirect-status": "Akamai has no 308: it is refused at POST.",
        "purge-path": "Akamai purges exactly the given URL: with a query, the path stays.",
        "purge-prefix": "Akamai can't purge patterns: the whole service is purged.",
        "spelling-ambiguous": "Akamai takes a backslash as a character: origins must not read it "
        "as a slash.",
    }
    not_shown: ClassVar[Mapping[str, str]] = {
        **NOT_SHOWN,
        **dict.fromkeys(
            (
                *("private-missing", "private-error", "private-not-stale", "missing", "gone"),
                *(
                    "ttl-zero-missing",
                    "moved",
                    "redirect",
                    "redirect-lifetime",
                    "errors",
                    "errors-lifetime",
                ),
            ),
            "How long other statuses than 200 are kept is not interpreted.",
        ),
        **dict.fromkeys(
            (
                *("down-error", "down-reset", "down-timeout", "down-refused", "down-nothing"),
                *("timeout-nothing", "recovers", "post-once"),
            ),
            "What is served while the origin fails is not interpreted.",
        ),
        **dict.fromkeys(
            ("revalidates", "purge-soft", "purge-soft-all", "purge-soft-down"),
            "Conditional requests to origins are not interpreted.",
        ),
        "forwarded-for": "Akamai's pages don't say what origins receive after a deletion.",
        "purge-by-clients": "Akamai's pages don't say how other methods are answered.",
    }

    def __init__(self) -> None:
        super().__init__()
        self._trees: dict[str, Mapping[str, Any]] = {}

    def deploy(self, service: Service) -> None:
        # The origins have no TLS.
        is_secure = any(domain.protocol == "https" for domain in service.spec.domains)
        settings = rules.Settings(downgrade=is_secure)
        rules.check(service.spec, settings)
        tree = rules.tree(service.spec, 17, settings)
        self._trees |= dict.fromkeys(service.spec.domain_names, tree)

    def purge(self, service: Service, purge: Purge) -> None:
        """Evict the URLs of the purge, or everything of the service's CP code."""
        if not purge.hard:
            raise NotShown("conditional requests to origins")
        urls = purged_urls(service.spec, purge.urls)
        gone = urls and {url.partition("://")[2] for url in urls}
        for key in list(self.kept):
            host, target = key  # type: ignore[misc]
            if host in service.spec.domain_names and (gone is None or host + target in gone):
                del self.kept[key]

    def send(self, request: Request) -> Answer:
        refuse_what_is_not_shown(request)
        applied = self._applied(request)
        if applied.get("denyAccess", {}).get("enabled"):
            return Answer(403, {}, b"")
        redirect = applied.get("redirect")
        if redirect:
            assert redirect["destinationProtocol"] == "HTTPS", "others are not interpreted"
            location = f"https://{request.host}{request.target}"
            return Answer(redirect["responseCode"], {"location": location}, b"")
        method = request.method
        if method != "GET" and rules.METHODS.get(method, ("",))[0] not in applied:
            raise NotShown(f"the answer to {method}, which is not allowed")
        key = (request.host, request.target)
        bypasses = applied["caching"]["behavior"] == "BYPASS_CACHE" or method != "GET"
        found = None if bypasses else self.kept.get(key)
        if found and self.now < found.until:
            return answer(found.response)
        if found and "etag" in answer(found.response).fields:
            raise NotShown("conditional requests to origins")
        response = self.ask(applied["origin"]["hostname"], request, _forwarded(applied, request))
        if response is None:
            raise NotShown("what is served while the origin fails")
        if not bypasses:
            if response.status != 200:
                raise NotShown("how long other statuses than 200 are kept")
            self._keep(key, request, response)
        return answer(response)

    def _keep(self, key: tuple[str, str], request: Request, response: Response) -> None:
        fields = answer(response).fields
        if "content-encoding" in fields:
            raise NotShown("encodings")
        seconds = kept(self._applied(request, fields), fields)
        if seconds:
            self.kept[key] = Kept(response, self.now + seconds)

    def _applied(
        self, request: Request, response: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        fields = {name.lower(): value for name, value in request.fields.items()}
        client = Client(
            request.target.partition("?")[0],
            ip=request.client,
            country=request.country,
            referrer=fields.get("referer"),
            authorization=fields.get("authorization"),
            response=response,
            scheme=request.scheme,
        )
        tree = self._trees[request.host]
        return {**outcome(tree, client), "removed": _removed(tree)}


def _removed(tree: Mapping[str, Any]) -> set[str]:
    """Return the header fields that rules without criteria delete."""
    return {
        one["options"]["customHeaderName"]
        for rule in tree["children"]
        if not rule["criteria"]
        for one in rule["behaviors"]
        if one["name"] == "modifyIncomingRequestHeader"
    }


def _forwarded(applied: Mapping[str, Any], request: Request) -> dict[str, str]:
    """Return the header fields that the origin receives."""
    if "X-Forwarded-For" in request.fields:
        raise NotShown("what origins receive after a deletion")
    origin = applied["origin"]
    hosts = {
        "REQUEST_HOST_HEADER": request.host,
        "ORIGIN_HOSTNAME": origin["hostname"],
        "CUSTOM": origin.get("customForwardHostHeader"),
    }
    removed = {name.lower() for name in applied["removed"]}
    sent = {name: value for name, value in request.fields.items() if name.lower() not in removed}
    return {**sent, "Host": hosts[origin["forwardHostHeader"]]}
