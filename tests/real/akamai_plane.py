# SPDX-License-Identifier: Apache-2.0
"""Akamai as a data plane of the edge contract: the rule tree, interpreted.

See :mod:`tests.real.akamai_interpreter` for rules, :mod:`tests.real.akamai_caching` for lifetimes.
By default, the cache key is the URL with its query
(https://techdocs.akamai.com/property-mgr/docs/cache-key-query-param), ``cacheKeyHostname`` chooses
the host in it, and clients wait for the origin when a response has expired
(https://techdocs.akamai.com/property-mgr/reference/ga-prefresh-cache). A purge covers exactly the
given URL, for http and https (https://techdocs.akamai.com/purge-cache/docs/purge-content-url).
"""

import gzip
from collections.abc import Mapping, Set
from typing import Any, ClassVar, NamedTuple

from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.provider.akamai import rules
from poppy.provider.akamai.ccu import scopes
from poppy.provider.akamai.driver import AkamaiProvider
from poppy.testing.edge import Answer, NotShown, Request, Response
from tests.real.akamai_caching import kept
from tests.real.akamai_fields import edited
from tests.real.akamai_interpreter import Client, outcome
from tests.real.akamai_rules import errors
from tests.real.interpreted import (
    NOT_SHOWN,
    InterpretedPlane,
    answer,
    refuse_origins_that_are_not_shown,
    refuse_what_is_not_shown,
)

_SMALLEST = 860  # Bytes that Akamai compresses.


class Fresh(NamedTuple):
    """A response in the cache.

    Attributes:
        refresh: the moment from which a request refreshes it.
        tags: its cache tags.
    """

    response: Response
    until: float
    refresh: float
    tags: Set[str]


class AkamaiPlane(InterpretedPlane):
    """Rule trees by hostname."""

    provider = "akamai"
    supports = AkamaiProvider.SUPPORTS
    not_kept: ClassVar[Mapping[str, str]] = {
        "forwarded-proto": "The driver sets no X-Forwarded-Proto.",
        "cookie": "Cookies are not part of the cache key: an origin that varies its responses by "
        "cookies must forbid caching, or send Vary: Cookie.",
        "stale-while-revalidating": "Akamai asks the origin first.",
        "whitelist-referrer-subdomain": "Akamai's patterns can't tell a subdomain from a path.",
        **dict.fromkeys(
            ("https-redirect-status", "redirect-status"),
            "Akamai has no redirect with 308: it is refused at POST.",
        ),
        "spelling-ambiguous": "Akamai takes a backslash as a character: origins must not read it "
        "as a slash.",
    }
    not_shown: ClassVar[Mapping[str, str]] = {
        **{id: reason for id, reason in NOT_SHOWN.items() if id != "gzip"},
        **dict.fromkeys(
            (
                *("private-missing", "private-error", "gone", "moved", "redirect"),
                *("redirect-lifetime", "errors", "errors-lifetime"),
            ),
            "Akamai's pages don't say how long these statuses are kept.",
        ),
        **dict.fromkeys(
            (
                *("down-error", "down-reset", "down-timeout", "down-refused", "down-nothing"),
                *("timeout-nothing", "recovers", "post-once"),
            ),
            "What is served while the origin fails is not interpreted.",
        ),
        **dict.fromkeys(
            (
                *("revalidates", "purge-soft", "purge-soft-all", "purge-soft-down"),
                *("purge-soft-tag", "purge-soft-directory", "purge-soft-host"),
                "purge-tag-revalidated",
            ),
            "Conditional requests to origins are not interpreted.",
        ),
        **dict.fromkeys(
            ("origin-response-timeout", "origin-patience"),
            "Delays of origins are not interpreted.",
        ),
        "forwarded-for": "Akamai's pages don't say what origins receive after a deletion.",
        "purge-by-clients": "Akamai's pages don't say how other methods are answered.",
    }

    def __init__(self) -> None:
        super().__init__()
        self._trees: dict[str, dict[str, Any]] = {}
        self.kept: dict[tuple[str, ...], Fresh] = {}
        self._codes: dict[str, int] = {}

    def deploy(self, service: Service) -> None:
        refuse_origins_that_are_not_shown(service.spec)
        # The origins have no TLS.
        is_secure = any(domain.protocol == "https" for domain in service.spec.domains)
        settings = rules.Settings(downgrade=is_secure)
        rules.check(service.spec, settings)
        code = self._codes.setdefault(service.service_id, 17 + len(self._codes))
        tree = rules.tree(service.spec, code, settings)
        assert errors(tree, {code}) == []
        self._trees |= dict.fromkeys(service.spec.domain_names, tree)

    def purge(self, service: Service, purge: Purge) -> None:
        """Evict URLs, tags, or everything of the service's CP code."""
        if not purge.hard:
            raise NotShown("conditional requests to origins")
        for scope in scopes(service.spec, self._codes[service.service_id], purge):
            for key, found in list(self.kept.items()):
                host, target, *_ids = key
                is_ours = host in service.spec.domain_names
                urls = {f"{scheme}://{host}{target}" for scheme in ("http", "https")}
                of_url = scope.kind == "url" and len(key) == 2 and urls & {*scope.objects}
                of_tag = scope.kind == "tag" and found.tags & {*scope.objects}
                if of_url or of_tag or (scope.kind == "cpcode" and is_ours):
                    del self.kept[key]

    def send(self, request: Request) -> Answer:
        applied, client = self._applied(request)
        if not _refuses_upgrades(applied):
            refuse_what_is_not_shown(request)
        own = _own_answer(applied, client, request)
        if own is not None:
            return self._sent(request, own)
        method = request.method
        if method != "GET" and rules.METHODS.get(method, ("",))[0] not in applied:
            raise NotShown(f"the answer to {method}, which is not allowed")
        key = _key(applied, client, request)
        bypasses = applied["caching"]["behavior"] == "BYPASS_CACHE" or method != "GET"
        found = None if bypasses else self.kept.get(key)
        if found and self.now < found.until:
            if self.now >= found.refresh:
                self._fetch(key, applied, client, request)
            return self._sent(request, found.response)
        if found and "etag" in answer(found.response).fields:
            raise NotShown("conditional requests to origins")
        response = self._fetch(None if bypasses else key, applied, client, request)
        if response is None or (found and response.status >= 500):
            raise NotShown("what is served while the origin fails")
        return self._sent(request, response)

    def _fetch(
        self,
        key: tuple[str, ...] | None,
        applied: Mapping[str, Any],
        client: Client,
        request: Request,
    ) -> Response | None:
        """Ask the origin, and keep the response if there is a key; None if the origin fails."""
        rewritten = applied.get("rewriteUrl")
        target = client.variables.filled(rewritten["targetUrl"]) if rewritten else request.target
        base = applied.get("baseDirectory", {"value": "/"})["value"]
        sent = request._replace(target=base.rstrip("/") + target)
        response = self.ask(
            applied["origin"]["hostname"], sent, _forwarded(applied, client, request)
        )
        if response is not None and key is not None:
            self._keep(key, request, response)
        return response

    def _keep(self, key: tuple[str, ...], request: Request, response: Response) -> None:
        applied, client = self._applied(request, response)
        seconds = kept(applied, answer(response).fields, response.status)
        if seconds:
            prefresh = applied.get("prefreshCache")
            share = prefresh["prefreshval"] / 100 if prefresh and prefresh["enabled"] else 1
            moments = (self.now + seconds, self.now + seconds * share)
            self.kept[key] = Fresh(response, *moments, _tags(applied, client, response))

    def _sent(self, request: Request, response: Response) -> Answer:
        """Return what the client gets of a response of the origin, the cache, or the edge."""
        applied, client = self._applied(request, response)
        edits = applied.get("modifyOutgoingResponseHeader", ())
        fields = edited(response.fields, edits, client.variables)
        return answer(_compressed(applied, request, response._replace(fields=fields)))

    def _applied(
        self, request: Request, response: Response | None = None
    ) -> tuple[dict[str, Any], Client]:
        path, _question, query = request.target.partition("?")
        client = Client(
            path,
            query=query,
            host=request.host,
            method=request.method,
            ip=request.client,
            country=request.country,
            fields=request.fields,
            response=response and answer(response).fields,
            status=response and response.status,
            scheme=request.scheme,
        )
        return outcome(self._trees[request.host], client), client


def _refuses_upgrades(applied: Mapping[str, Any]) -> bool:
    edits = applied["modifyIncomingRequestHeader"]
    return any(it.get("customHeaderName") == "Upgrade" for it in edits)


def _own_answer(applied: Mapping[str, Any], client: Client, request: Request) -> Response | None:
    """Return the response that the edge makes itself; None if there is none."""
    names = ("denyAccess", "redirect", "redirectplus", "constructResponse")
    found = [name for name in names if applied.get(name, {}).get("enabled", name in applied)]
    # Akamai's pages don't say which of several would win.
    assert len(found) <= 1, f"several answers: {found}"
    if not found:
        return None
    options = applied[found[0]]
    if found == ["denyAccess"]:
        return Response(403, [], b"")
    if found == ["constructResponse"]:
        return Response(options["responseCode"], [], options["body"].encode())
    if found == ["redirectplus"]:
        location = client.variables.filled(options["destination"])
    else:
        assert options["destinationProtocol"] == "HTTPS", "others are not interpreted"
        location = f"https://{request.host}{request.target}"
    return Response(options["responseCode"], [("Location", location)], b"")


def _key(applied: Mapping[str, Any], client: Client, request: Request) -> tuple[str, ...]:
    """Return the cache key: host, target and more.

    See https://techdocs.akamai.com/property-mgr/docs/cache-id-modification.
    """
    target = request.target
    if "cacheKeyQueryParams" in applied:
        assert applied["cacheKeyQueryParams"]["behavior"] == "IGNORE_ALL"
        target = target.partition("?")[0]
    ids = applied.get("cacheId", ())
    assert all(it["rule"] == "INCLUDE_VARIABLE" for it in ids)
    return (request.host, target, *(client.variables.get(it["variableName"]) for it in ids))


def _tags(applied: Mapping[str, Any], client: Client, response: Response) -> Set[str]:
    """Return the cache tags of a response; those of all behaviours and the field are combined.

    See https://techdocs.akamai.com/purge-cache/docs/assign-cache-tags.
    """
    edits = applied.get("modifyIncomingResponseHeader", ())
    fields = edited(response.fields, edits, client.variables)
    sent = answer(response._replace(fields=fields)).fields.get("edge-cache-tag", "")
    own = [client.variables.filled(it["tag"]) for it in applied.get("cacheTag", ())]
    found = {it.strip() for it in sent.split(",") if it.strip()} | set(own)
    return {it for it in found if len(it) <= 128}


def _forwarded(applied: Mapping[str, Any], client: Client, request: Request) -> dict[str, str]:
    """Return the header fields that the origin receives."""
    if "X-Forwarded-For" in request.fields:
        raise NotShown("what origins receive after a deletion")
    origin = applied["origin"]
    hosts = {
        "REQUEST_HOST_HEADER": request.host,
        "ORIGIN_HOSTNAME": origin["hostname"],
        "CUSTOM": origin.get("customForwardHostHeader"),
    }
    edits = applied["modifyIncomingRequestHeader"]
    sent = edited(request.fields.items(), edits, client.variables)
    return {**dict(sent), "Host": hosts[origin["forwardHostHeader"]]}


def _compressed(applied: Mapping[str, Any], request: Request, response: Response) -> Response:
    """Apply ``gzipResponse``; responses of less than 860 bytes stay as they are.

    See https://techdocs.akamai.com/property-mgr/docs/last-mile-accel-gzip-comp.
    """
    accepts = "gzip" in request.fields.get("Accept-Encoding", "")
    if "content-encoding" in answer(response).fields:
        if not accepts:
            raise NotShown("how Akamai decompresses")
        return response
    wanted = applied.get("gzipResponse", {}).get("behavior") == "ALWAYS"
    if not (wanted and accepts) or len(response.body) < _SMALLEST:
        return response
    fields = [*response.fields, ("Content-Encoding", "gzip")]
    return response._replace(fields=fields, body=gzip.compress(response.body))
