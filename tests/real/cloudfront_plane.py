# SPDX-License-Identifier: Apache-2.0
"""CloudFront as a data plane of the edge contract: its configuration, interpreted.

Facts, with their pages in the CloudFront developer guide:

* what an origin sees, and that headers which are not configured are not part of the cache key:
  "Request and response behavior for custom origins", "Cache content based on request headers";
* lifetimes with a minimum TTL of 0: "Manage how long content stays in the cache";
* errors are kept for ErrorCachingMinTTL (10 s by default) or the origin's longer max-age, those
  in ``_ALWAYS`` always and those in ``_IF_SAID`` with a max-age; only ``_HONORING`` honour
  ``no-store``, ``no-cache`` and ``private``: "Control how long CloudFront caches errors", "How
  CloudFront processes HTTP 4xx and 5xx status codes";
* an expired object is served while the origin fails: "Origin unavailable";
* over HTTP, ``redirect-to-https`` answers GET and HEAD with 301 and other methods with 307, before
  anything else: "Require HTTPS for communication between viewers and CloudFront";
* ``Set-Cookie`` is kept with the object: "Cache content based on cookies";
* tags are compared regardless of case: "What you need to know when invalidating tags";
* a function for origin responses runs before an object is kept: "CloudFront events that can
  trigger a Lambda@Edge function";
* GET and HEAD share the cache: "Cached HTTP methods";
* a function for responses runs for statuses below 400, from the cache too: "Restrictions on all
  edge functions"; a response that a function has made is sent as it is;
* with ``Compress``, ``Accept-Encoding`` is part of the cache key, and text of 1,000 bytes or more
  is compressed unless its TTL is 0: "Serve compressed files";
* ``Vary`` keeps only the names that CloudFront knows or forwards: "HTTP response headers that
  CloudFront removes or replaces".
"""

import contextlib
import email.utils
import gzip
import itertools
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self

from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.provider.base import Capability
from poppy.provider.cloudfront.distribution import Settings, Viewer, config, plan
from poppy.provider.cloudfront.driver import CloudFrontProvider
from poppy.provider.cloudfront.invalidations import batches
from poppy.testing.edge import Answer, NotShown, Request, Response
from poppy.testing.edge.origin import Fields
from tests.real import cloudfront_events as events
from tests.real.cloudfront_edge import behaviour_of, chosen
from tests.real.interpreted import (
    NOT_SHOWN,
    InterpretedPlane,
    Kept,
    answer,
    directives,
    refuse_origins_that_are_not_shown,
    refuse_what_is_not_shown,
)
from tests.real.node import Function, Node

_ALWAYS = {404, 410, 414, 500, 501, 502, 503, 504}
_IF_SAID = {400, 403, 405, 412, 415}
_HONORING = {404, 410, 414, 501}
_ERROR_TTL = 10.0
#: Promises about encodings and HEAD, which this plane interprets.
_SHOWN = ("gzip", "vary-encoding", "head", "head-first")
#: Of what is compressed; the first types of a long list.
_COMPRESSED_STATUSES = (200, 403, 404)
_COMPRESSED_TYPES = ("text/plain", "text/html", "text/css", "application/json")
_LEAST_COMPRESSED = 1000  # Bytes.
#: Fields of viewers that origins don't receive unless behaviours forward them.
_REMOVED = {"accept", "accept-language", "authorization", "referer", "user-agent"}
_GUARD = Path(__file__).parents[2] / "etc/cloudfront/origin-response.mjs"
_TAGS = "Cache-Tag"
_GATEWAY = Response(502, [], b"")


class _Site(NamedTuple):
    config: Mapping[str, Any]
    requests: Function
    responses: Function | None


class _Target(NamedTuple):
    """An origin of a request, its Host header, and the statuses for which it stands in."""

    config: Mapping[str, Any]
    host: str
    statuses: Sequence[int] = ()


class CloudFrontPlane(InterpretedPlane):
    """Distributions by alias; the functions run in Node.js."""

    provider = "cloudfront"
    supports = CloudFrontProvider.SUPPORTS | {Capability.PURGE_TAG}
    not_kept: ClassVar[Mapping[str, str]] = {
        "forwarded-proto": "The driver sets no X-Forwarded-Proto.",
        **dict.fromkeys(
            ("set-cookie", "set-cookie-public", "key-cookies-set-cookie"),
            "CloudFront keeps Set-Cookie with the response, and sends it to all clients whose "
            "request has the same cookies, unless origin_response_function is set.",
        ),
        **dict.fromkeys(
            ("vary-header", "vary-language"),
            "CloudFront keeps responses apart by Authorization, Origin, Host and Cookie only, "
            "unless origin_response_function is set.",
        ),
        "backup-refused": "CloudFront repeats GET, HEAD and OPTIONS only.",
        "response-headers-errors": "CloudFront runs no function for responses of a status from "
        "400.",
        "error-page": "Browsers get the page with its own Cache-Control, and CloudFront fetches "
        "it for each error.",
        "status-ttl": "A shorter lifetime of the origin applies to other responses.",
        "compression-uncached": "CloudFront compresses no response with a TTL of 0.",
        "rule-over-shorter": "A shorter lifetime of the origin applies, because with a minimum "
        "TTL CloudFront would keep private responses.",
        "ttl-zero-missing": "CloudFront keeps a 404 for ten seconds, unless it is private.",
        "errors-lifetime": "CloudFront keeps errors for their max-age.",
        "stale-while-revalidating": "CloudFront asks the origin first.",
        **dict.fromkeys(
            ("user-agent", "accept", "referer", "accept-language"),
            "CloudFront does not forward this field, unless it is part of the cache key.",
        ),
        "purge-key": "CloudFront reads tags from one field, cache_tag_header.",
        "purge-tags-hidden": "CloudFront passes the field on.",
        "whitelist-geography-unknown": "CloudFront's own restriction, without a path, admits "
        "clients of unknown country.",
    }
    not_shown: ClassVar[Mapping[str, str]] = {
        **{it: reason for it, reason in NOT_SHOWN.items() if it not in _SHOWN},
        **dict.fromkeys(
            ("origin-response-timeout", "origin-patience", "backup-slow"),
            "Delays of origins are not interpreted.",
        ),
        **dict.fromkeys(
            ("origin-verify-name", "origin-other-name"),
            "Certificates of origins are not interpreted.",
        ),
        "preflight": "CloudFront's guide does not say which fields of a preflight are forwarded.",
        "purge-tag-revalidated": "CloudFront's guide does not say which tags an object has after "
        "a 304.",
        "error-page-uncached": "Ranges are not interpreted.",
        "error-page-other": "CloudFront's guide does not say whether errors of other methods have "
        "pages.",
        "vary-star": "CloudFront's guide does not mention Vary: *.",
        **dict.fromkeys(
            ("moved", "redirect", "redirect-lifetime"),
            "CloudFront's guide does not say how long redirects are kept.",
        ),
    }

    def __init__(self) -> None:
        super().__init__()
        self._sites: dict[str, _Site] = {}
        self._stack = contextlib.ExitStack()
        self._node = self._stack.enter_context(Node())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    #: The operator's settings.
    settings: ClassVar[Settings] = Settings(cache_tag_header=_TAGS)

    def deploy(self, service: Service) -> None:
        refuse_origins_that_are_not_shown(service.spec)
        compiled = plan(service.spec, lambda secret: secret.sealed, "eu-west-1")
        arns = [f"arn:{number}" if code else None for number, code in enumerate(compiled.codes)]
        made = config(compiled, Viewer(), arns, self.settings)
        origins = [origin["Id"] for origin in made["Origins"]["Items"]]
        requests, responses = (
            self._node.load(code, origins) if code else None for code in compiled.codes
        )
        assert requests is not None
        site = _Site(made, requests, responses)
        self._sites |= dict.fromkeys(service.spec.domain_names, site)

    def purge(self, service: Service, purge: Purge) -> None:
        """Invalidate; in a path, a final ``*`` is a wildcard."""
        sites = {id(self._sites[name]) for name in service.spec.domain_names}
        for path in itertools.chain.from_iterable(batches(purge)):
            for key, kept in list(self.kept.items()):
                site, url, *_ = key  # type: ignore[misc]
                begins = path.endswith("*") and url.startswith(path[:-1])
                tagged = path.startswith("#") and path[1:].lower() in _tags(kept.response)
                if site in sites and (begins or tagged or url == path):
                    del self.kept[key]

    def send(self, request: Request) -> Answer:
        refuse_what_is_not_shown(request, shows_head=True)
        site = self._sites[request.host]
        if _is_refused(site.config, request.country):
            return Answer(403, {}, b"")
        behaviour = behaviour_of(site.config, request.target.partition("?")[0])
        policy = behaviour["ViewerProtocolPolicy"]
        assert policy in ("allow-all", "redirect-to-https"), "others are not interpreted"
        if request.scheme == "http" and policy == "redirect-to-https":
            status = 301 if request.method in ("GET", "HEAD") else 307
            return Answer(status, {"location": f"https://{request.host}{request.target}"}, b"")
        query = events.raw_query(request)
        event = events.request_event(request, _added(behaviour, request))
        done = site.requests.run(event, query)
        result = done["result"]
        if "statusCode" in result:
            events.check({}, result["headers"], "viewer-response")
            return _made(result)
        if "Access-Control-Request-Method" in request.fields:
            raise NotShown("which fields of a preflight are forwarded")
        path, query, fields = events.changed(event, result, query)
        target = path if query is None else f"{path}?{query}"
        origins = {origin["Id"]: origin for origin in site.config["Origins"]["Items"]}
        targets = _targets(origins, behaviour, request.host, done["origin"])
        sent = _forwarded(behaviour, fields, request.client)
        asked = request._replace(target=target)
        response = self._respond(site, targets, asked, sent, behaviour, fields)
        response = self._paged(site, asked, response)
        response = response._replace(fields=_with_known_vary(behaviour, response.fields))
        if site.responses is None or response.status >= 400:
            return answer(response)
        event = events.response_event(event, response)
        result = site.responses.run(event, query)["result"]
        return answer(events.responded(event, result, response.body))

    def _paged(self, site: _Site, request: Request, response: Response) -> Response:
        """Return the page of an error, if it has one.

        "How CloudFront processes errors when you have configured custom error pages": the page
        comes from the origin of its behaviour, and no function runs.
        """
        pages = {
            entry["ErrorCode"]: entry
            for entry in site.config["CustomErrorResponses"].get("Items", ())
            if entry.get("ResponsePagePath")
        }
        if response.status not in pages:
            return response
        if request.method not in ("GET", "HEAD"):
            raise NotShown("pages for errors of other methods")
        entry = pages[response.status]
        behaviour = behaviour_of(site.config, entry["ResponsePagePath"])
        origins = {origin["Id"]: origin for origin in site.config["Origins"]["Items"]}
        origin, host = chosen(origins, behaviour, request.host, [])
        asked = request._replace(method="GET", target=entry["ResponsePagePath"])
        page = self._ask(_Target(origin, host), asked, {}) or _GATEWAY
        if page.status >= 400:
            return page
        body = b"" if request.method == "HEAD" else page.body
        return Response(int(entry["ResponseCode"]), page.fields, body)

    def _respond(
        self,
        site: _Site,
        targets: Sequence[_Target],
        request: Request,
        sent: dict[str, str],
        behaviour: Mapping[str, Any],
        fields: Mapping[str, str],
    ) -> Response:
        """Return what the cache or an origin responds to a request that a function admits."""
        key = (id(site), request.target, *_key(behaviour, fields))
        if request.method == "HEAD" and (found := self.kept.get(key)) and self.now < found.until:
            return _aged(found.response)._replace(body=b"")
        if request.method != "GET":
            return self._fetch(targets, request, sent, behaviour) or _GATEWAY
        return self._cached(key, targets, request, sent, site.config, behaviour)

    def _fetch(
        self,
        targets: Sequence[_Target],
        request: Request,
        sent: dict[str, str],
        behaviour: Mapping[str, Any],
    ) -> Response | None:
        """Ask an origin or its backup; the behaviour's Lambda function changes the response.

        "Optimize high availability with CloudFront origin failover".
        """
        response = self._ask(targets[0], request, sent)
        for backup in targets[1:]:
            assert request.method in ("GET", "HEAD", "OPTIONS"), "only these fail over"
            if response is None or response.status in backup.statuses:
                response = self._ask(backup, request, sent)
        if response is None or not behaviour.get("LambdaFunctionAssociations", {}).get("Items"):
            return response
        return self._change(response)

    def _ask(self, target: _Target, request: Request, sent: dict[str, str]) -> Response | None:
        """Ask an origin, with its path and fields ("Add custom headers to origin requests")."""
        origin = target.config
        fields = {**sent, "host": target.host}
        for field in origin.get("CustomHeaders", {}).get("Items", ()):
            fields[field["HeaderName"].lower()] = field["HeaderValue"]
        request = request._replace(target=origin.get("OriginPath", "") + request.target)
        return self.ask(origin["DomainName"], request, fields)

    def _change(self, response: Response) -> Response:
        raise AssertionError("there is no Lambda function")

    def _cached(
        self,
        key: Hashable,
        targets: Sequence[_Target],
        request: Request,
        sent: dict[str, str],
        distribution: Mapping[str, Any],
        behaviour: Mapping[str, Any],
    ) -> Response:
        found = self.kept.get(key)
        if found and self.now < found.until:
            return _aged(found.response)
        usable = found if found and found.response.status < 400 else None
        etag = usable and answer(usable.response).fields.get("etag")
        sent |= {"If-None-Match": etag} if etag else {}
        response = self._fetch(targets, request, sent, behaviour)
        if usable and response and response.status == 304:
            if _tags(usable.response):
                raise NotShown("which tags an object has after a 304")
            response = usable.response
        if response is None or response.status >= 500:
            failed = response or _GATEWAY
            until = self.now + _error_ttl(distribution, behaviour, failed)
            if usable:
                self.kept[key] = Kept(usable.response, until)
                return usable.response
            response = failed
        else:
            _check(response)
            until = self.now + _lifetime(distribution, behaviour, response)
        self.kept.pop(key, None)
        if until > self.now:
            response = _compressed(response, sent, behaviour)
            self.kept[key] = Kept(response, until)
        return response


class GuardedCloudFrontPlane(CloudFrontPlane):
    """CloudFront with Poppy's function for origin responses."""

    settings = Settings(
        origin_response_function="arn:aws:lambda:us-east-1:123456789012:function:poppy:1",
        cache_tag_header=_TAGS,
    )
    not_kept: ClassVar[Mapping[str, str]] = {
        promise: reason
        for promise, reason in CloudFrontPlane.not_kept.items()
        if "origin_response_function" not in reason
    }

    def __init__(self) -> None:
        super().__init__()
        self._guard = self._node.load(_GUARD.read_text())

    def _change(self, response: Response) -> Response:
        headers: dict[str, list[dict[str, str]]] = {}
        for name, value in response.fields:
            headers.setdefault(name.lower(), []).append({"key": name, "value": value})
        event = {"Records": [{"cf": {"response": {"headers": headers}}}]}
        changed = self._guard.run(event)["result"]["headers"]
        fields = [(field["key"], field["value"]) for it in changed.values() for field in it]
        return response._replace(fields=fields)


def _tags(response: Response) -> set[str]:
    """Return the tags of a response, which are compared regardless of case."""
    value = answer(response).fields.get(_TAGS.lower(), "")
    return {tag.strip().lower() for tag in value.split(",") if tag.strip()}


def _is_refused(distribution: Mapping[str, Any], country: str) -> bool:
    """Apply GeoRestriction, which admits clients of unknown country."""
    restriction = distribution["Restrictions"]["GeoRestriction"]
    listed = country in restriction.get("Items", ())
    kind = restriction["RestrictionType"]
    return bool(country) and (
        listed if kind == "blacklist" else kind == "whitelist" and not listed
    )


def _targets(
    origins: Mapping[str, Mapping[str, Any]],
    behaviour: Mapping[str, Any],
    host: str,
    calls: Sequence[Mapping[str, Any]],
) -> Sequence[_Target]:
    """Return the origin of a request, and its backup if it has one."""
    found = [_Target(*chosen(origins, behaviour, host, calls))]
    for call in calls:
        if "backup" in call:
            backup = chosen(origins, behaviour, host, [{**call, "id": call["backup"]}])
            found.append(_Target(*backup, call["statuses"]))
    return found


def _added(behaviour: Mapping[str, Any], request: Request) -> dict[str, str]:
    """Return the fields that CloudFront adds for functions and origins, if they are forwarded."""
    known = {
        "CloudFront-Viewer-Country": request.country,
        "CloudFront-Forwarded-Proto": request.scheme or "http",
    }
    return {n: v for n, v in known.items() if v and n.lower() in _names(behaviour)}


def _made(result: Mapping[str, Any]) -> Answer:
    """Return an answer that a function has made."""
    fields = {name: ", ".join(events.values(it)) for name, it in result["headers"].items()}
    return Answer(result["statusCode"], fields, b"")


def _aged(response: Response) -> Response:
    return response._replace(fields=[*response.fields, ("Age", "1")])


def _with_known_vary(behaviour: Mapping[str, Any], fields: Fields) -> Fields:
    known = {"accept-encoding", "cookie", *_names(behaviour)}
    left = []
    for name, value in fields:
        kept = [it.strip() for it in value.split(",") if it.strip().lower() in known]
        if name.lower() != "vary":
            left.append((name, value))
        elif kept:
            left.append((name, ", ".join(kept)))
    return left


def _compressed(
    response: Response, sent: Mapping[str, str], behaviour: Mapping[str, Any]
) -> Response:
    """Return a response as it is kept."""
    fields = answer(response).fields
    if (
        not behaviour["Compress"]
        or sent.get("accept-encoding") != "gzip"
        or "content-encoding" in fields
        or response.status not in _COMPRESSED_STATUSES
        or fields.get("content-type") not in _COMPRESSED_TYPES
        or len(response.body) < _LEAST_COMPRESSED
    ):
        return response
    encoded = [*response.fields, ("Content-Encoding", "gzip")]
    return Response(response.status, encoded, gzip.compress(response.body))


def _encoding(fields: Mapping[str, str]) -> str | None:
    """Return Accept-Encoding as it is normalized; Brotli needs a cache policy."""
    return "gzip" if "gzip" in fields.get("accept-encoding", "") else None


def _names(behaviour: Mapping[str, Any]) -> list[str]:
    return [name.lower() for name in behaviour["ForwardedValues"]["Headers"].get("Items", ())]


def _key(behaviour: Mapping[str, Any], fields: Mapping[str, str]) -> tuple[str | None, ...]:
    assert behaviour["ForwardedValues"]["QueryString"]
    encoding = _encoding(fields) if behaviour["Compress"] else None
    return (*(fields.get(name) for name in _names(behaviour)), fields.get("cookie"), encoding)


def _forwarded(
    behaviour: Mapping[str, Any], fields: Mapping[str, str], client: str
) -> dict[str, str]:
    removed = _REMOVED - {*_names(behaviour)}
    cookies = behaviour["ForwardedValues"]["Cookies"]["Forward"]
    assert cookies == "all", "other settings are not interpreted"
    sent = {name: value for name, value in fields.items() if name not in removed}
    encoding = _encoding(sent)
    sent.pop("accept-encoding", None)
    sent |= {"accept-encoding": encoding} if encoding else {}
    return {**sent, "user-agent": "Amazon CloudFront", "x-forwarded-for": client}


def _check(response: Response) -> None:
    """Refuse to show what the guide leaves open."""
    fields = answer(response).fields
    vary = {name.strip().lower() for name in fields.get("vary", "").split(",")}
    if "*" in vary:
        raise NotShown("Vary: *")
    if 300 <= response.status < 400:
        raise NotShown("how long redirects are kept")


def _said(response: Response) -> float | None:
    """Return the origin's lifetime in seconds; None if it sets none."""
    said = directives(response)
    for name in ("s-maxage", "max-age"):
        if name in said:
            return float(said[name])
    fields = answer(response).fields
    if "expires" in fields and "date" in fields:
        expires, date = (
            email.utils.parsedate_to_datetime(fields[it]) for it in ("expires", "date")
        )
        return max(0.0, (expires - date).total_seconds())
    return None


def _lifetime(
    distribution: Mapping[str, Any], behaviour: Mapping[str, Any], response: Response
) -> float:
    if response.status >= 400:
        return _error_ttl(distribution, behaviour, response)
    assert behaviour["MinTTL"] == 0, "a minimum would keep private responses"
    if {"private", "no-store", "no-cache"} & directives(response).keys():
        return 0.0
    said = _said(response)
    return float(behaviour["DefaultTTL"]) if said is None else min(said, behaviour["MaxTTL"])


def _error_ttl(
    distribution: Mapping[str, Any], behaviour: Mapping[str, Any], response: Response
) -> float:
    said = _said(response)
    if response.status not in _ALWAYS and not (response.status in _IF_SAID and said is not None):
        return 0.0
    forbids = {"private", "no-store", "no-cache"} & directives(response).keys()
    if forbids and response.status in _HONORING:
        return 0.0
    chosen = {
        entry["ErrorCode"]: float(entry["ErrorCachingMinTTL"])
        for entry in distribution.get("CustomErrorResponses", {}).get("Items", ())
    }
    least = chosen.get(response.status, _ERROR_TTL)
    return max(least, min(said or 0.0, behaviour["MaxTTL"]))
