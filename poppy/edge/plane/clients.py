# SPDX-License-Identifier: Apache-2.0
"""HAProxy's rules for clients' requests.

Most requests are *plain*: no rule has to correct or refuse them, so they skip all rules after the
look-ups. Each rule that HAProxy evaluates costs time, even if its condition is false. So add rules
after the short cut, and make sure that requests that need them are not plain: extend the
conditions. Rules that a service has asked for are evaluated for its requests only, plain or not:
mark its entry (:data:`poppy.edge.plane.policies.RULES`), and add them to :func:`service_rules`
too. If they decide whether a request bypasses the cache, no request of the service may be plain.
Rules that all requests need belong in :func:`passed`.

Variables::

    sess.sni      the host for which the client got a certificate
    sess.client   the address of the peer as text
    txn.host      the requested host, unless the request is plain
    txn.service   the service's ID
    txn.entry     the service's entry (poppy.edge.plane.policies), from the map or its policy
    txn.country   the country of the client's address, if the node has a geography database
    txn.plain     whether the request is plain, if its service has a policy or rules
    txn.ruled     whether its service has rules
    txn.direct    whether the request bypasses the cache
    txn.project   the project that gets the access log; without log delivery, there is none
    txn.line      the part of its line that is known of the request
"""

import itertools
from collections.abc import Iterable

from poppy.edge.options import Settings
from poppy.edge.plane import (
    access_log,
    cache_key,
    changes,
    delivery,
    error_pages,
    lifetimes,
    signed_urls,
    traffic,
)
from poppy.edge.plane.files import Files
from poppy.edge.plane.policies import CHALLENGES, RULES
from poppy.model import headers

_MAX_URL = 4096  # Bytes.
_METHODS = "GET HEAD POST PUT PATCH DELETE OPTIONS"
_HOST = r"^(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])$"
#: The parameters of dot segments as some origins read them: after decoding.
DOTS_WITH_PARAMETERS = "(?i)^[^?]*(?:/|%2f)(?:[.]|%2e){1,2}%3b"
#: Targets that none of the expressions of refused ones matches, nor one of a challenge.
PLAIN = r'^(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?(?:[?][!"$-~]*)?$'
#: Fields that need a rule.
_DECISIVE = ("authorization", "cdn-loop", "content-length", "transfer-encoding", "upgrade")
_UNUSUAL = "{ var(txn.unusual) -m bool }"

#: Seconds that HAProxy waits longer for Varnish, or for the side of the origins, than that waits.
WAIT_MARGIN = 10
_PASSED = f"""\
    http-request set-timeout server var(txn.entry),field(2,|),field(3,/),add({1000 * WAIT_MARGIN})\
 if {{ var(txn.entry),field(2,|) -m sub / }}
    http-request set-header x-p-service %[var(txn.service)]
    http-request set-header x-p-origin %[var(txn.entry)];%[var(sess.client)]
    http-request set-header x-p-proto https if {{ ssl_fc }}
"""


#: What has to be known of the service's entry after the entry for the request took its place.
_KEPT = f"""\
    http-request set-var(txn.ruled) bool(true) if has_rules
{changes.POLICY_RULES}"""

#: Where requests go that may be answered from the cache.
USE_BACKENDS = """\
    use_backend cache_ruled if !{ var(txn.direct) -m bool } { var(txn.ruled) -m bool }
    use_backend cache if !{ var(txn.direct) -m bool }
"""


def rules(settings: Settings, files: Files) -> str:
    """Return the rules of the frontend for clients."""
    return (
        _short_cut(settings, files)
        + _unusual(settings)
        + _target(files)
        + _service(files)
        + _fields(settings)
        + traffic.track(settings)
        + _challenge(files)
        + delivery.request_rules(files.delivery)
        + _decision(settings)
    )


def passed(settings: Settings) -> str:
    """Return the rules for all requests that are passed on, to the cache or not."""
    return traffic.track(settings) + _PASSED


def service_rules(files: Files) -> str:
    """Return the rules of services for plain requests that may be answered from the cache.

    They are in a backend, and the last ones there. The frontend applies the same rules to requests
    that are not plain.
    """
    return (
        "    http-request allow if !{ var(txn.plain) -m bool }\n"
        "    http-request set-var(txn.host) req.fhdr(host)\n"
        + delivery.request_rules(files.delivery)
        + changes.REQUEST_RULES
        + _key()
        + delivery.SERVED_RULES
    )


def to_cache(settings: Settings) -> str:
    """Return the rules for requests that may be answered from the cache."""
    kept = f"!{{ req.hdr(x-p-pass) -m found }} !{{ {cache_key.HAS_COOKIES} }}"
    strip = f"    http-request del-header Cookie if {kept}\n" if settings.strip_cookies else ""
    # Varnish would remove the fields that it lists (RFC 9110, section 7.6.1), ours included.
    return f"{strip}    http-request del-header Connection\n"


def answer(status: int, reason: str, condition: str) -> str:
    """Return a rule that answers with an error, or with 200, in plain text."""
    # After an ambiguous request, the rest of the connection can't be trusted.
    close = " hdr Connection close" if status == 400 else ""
    return (
        f"    http-request return status {status} {body(status, reason)}{close} if {condition}\n"
    )


def body(status: int, reason: str) -> str:
    """Return the arguments of a rule that describe the body of an error."""
    return f'content-type "text/plain; charset=utf-8" string "Error {status} {reason}\\n"'


def _short_cut(settings: Settings, files: Files) -> str:
    """Return rules that look up the service, and end the evaluation for plain requests.

    The host of a plain request is a known one as it is spelled, and that of SNI.
    """
    decisive = [*_DECISIVE, *(() if settings.strip_cookies else ("cookie",))]
    names = f"{_untrusted(settings)}|(?:^|,)(?:{'|'.join(decisive)})(?:,|$)"
    usual = f"is_own METH_GET !{{ req.hdr_names -m reg '(?i){names}' }}"
    http1 = (
        f"{{ fc_http_major 1 }} {{ url -m reg -f {files.plain} }} {{ url_len le {_MAX_URL} }}"
        f" {usual}"
    )
    # Its URL is absolute, and no field says that a body of unknown length follows.
    http2 = (
        f"{{ fc_http_major 2 }} {{ pathq -m reg -f {files.plain} }}"
        f" {{ pathq,length le {_MAX_URL} }} !{{ req.body_len gt 0 }} {usual}"
    )
    return f"""\
{access_log.SILENCE}    acl is_simple var(txn.entry) -m end |cached
    acl is_cached var(txn.entry),field(5,|) -m str cached
    acl has_policy var(txn.entry) -m beg @
    acl has_rules var(txn.entry) -m end {RULES}
    acl needs_all var(txn.entry) -m sub {signed_urls.MARK} {changes.UNCACHED}
    acl is_plain var(txn.plain) -m bool
    acl is_own ssl_fc,not
    acl is_own req.fhdr(host),strcmp(sess.sni) eq 0
    tcp-request session set-var(sess.sni) ssl_fc_sni,lower if {{ ssl_fc }}
    tcp-request session set-var-fmt(sess.client) %[src]
    http-request set-var(txn.service) req.fhdr(host),map_str({files.hosts})
    http-request set-var(txn.entry) var(txn.service),map_str({files.services})
{access_log.REQUEST}\
    http-request allow if is_simple {http1}
    http-request wait-for-body time 10s at-least 1 if METH_GET {{ fc_http_major 2 }}
    http-request allow if is_simple {http2}
    http-request set-var(txn.plain) bool(true) if !is_simple {http1} !needs_all
    http-request set-var(txn.plain) bool(true) if !is_simple {http2} !needs_all
{_KEPT}\
{_policy(settings, "is_plain has_policy")}\
    http-request allow if is_plain is_cached
    http-request set-var(txn.plain) bool(false)
"""


def _policy(settings: Settings, condition: str) -> str:
    """Return rules that replace a policy by the entry for the request."""
    country = ""
    rule = ""
    if settings.geography_database is not None:
        country = "%[var(txn.country)]"
        database = settings.geography_database
        rule = f"    http-request set-var(txn.country) src,map_ip({database}) if {condition}\n"
    asked = (
        f"%[var(txn.service)] %[var(txn.entry)] %[pathq] %[src,hex] {country} %[req.fhdr(referer)]"
    )
    return (
        f"{rule}"
        f'    http-request set-var-fmt(txn.asked) "{asked}" if {condition}\n'
        f"    http-request set-var(txn.entry) var(txn.asked),lua.decide if {condition}\n"
    )


def _target(files: Files) -> str:
    """Return rules that bring the target into origin-form, or refuse it (RFC 9112, section 3.2).

    HAProxy itself answers 400 if the target's authority is not the Host field.
    """
    allowed = f"{{ method {_METHODS} }}"
    return (
        "    acl is_asterisk url -m str *\n"
        "    acl is_origin_form url -m beg /\n"
        "    http-request set-uri * if !is_origin_form METH_OPTIONS !{ path -m found }\n"
        "    http-request set-uri / if !is_origin_form !is_asterisk !{ path -m found }\n"
        "    http-request set-uri %[pathq] if !is_origin_form !is_asterisk\n"
        # One expression for most targets is faster than one for each problem.
        + answer(
            400,
            "Bad Request",
            f"!{{ url -m reg -f {files.plain} }} {{ url -m reg -f {files.refused} }}",
        )
        + answer(400, "Bad Request", "is_asterisk !METH_OPTIONS")
        + answer(414, "URI Too Long", f"{{ url_len gt {_MAX_URL} }}")
        + answer(405, "Method Not Allowed", f"!{allowed}")
        # If an origin resolves to the edge, a request would loop (RFC 8586).
        + answer(508, "Loop Detected", "{ req.hdr(CDN-Loop) -m reg -i ^poppy([[:space:];]|$) }")
    )


def _service(files: Files) -> str:
    """Return rules that answer 404 for an unknown host.

    Only then, the trailing dot is removed and the name is checked. A connection with TLS is for
    one service (421: RFC 9110, section 15.5.20).
    """
    lookup = f"http-request set-var(txn.service) var(txn.host),map_str({files.hosts})"
    unknown = "!{ var(txn.service) -m found }"
    no_entry = "!{ var(txn.entry) -m found }"
    return f"""\
    http-request set-var(txn.host) req.fhdr(host),host_only,lower
    {lookup} if {unknown}
    http-request set-var(txn.host) var(txn.host),regsub([.]$,) if {unknown}
{answer(400, "Bad Request", f"{unknown} !{{ var(txn.host) -m reg '{_HOST}' }}")}\
    {lookup} if {unknown}
{answer(404, "Not Found", unknown)}\
    http-request set-var(txn.entry) var(txn.service),map_str({files.services}) if {no_entry}
{access_log.REQUEST}{answer(404, "Not Found", no_entry)}\
    http-request set-var(txn.sni) ssl_fc_sni,lower,map_str({files.hosts}) if {{ ssl_fc }}
    http-request set-var(txn.own) bool(true) if {{ var(txn.sni),strcmp(txn.service) eq 0 }}
{answer(421, "Misdirected Request", "{ ssl_fc } !{ var(txn.own) -m bool }")}\
    http-request set-header Host %[var(txn.host)]
"""


def _challenge(files: Files) -> str:
    """Return rules that answer an authority (RFC 8555, section 8.3), whatever else applies."""
    is_challenge = f"METH_GET {{ path -m beg {CHALLENGES} }}"
    return f"""\
    http-request set-var-fmt(txn.asked) %[var(txn.host)]%[path] if {is_challenge}
    http-request set-var(txn.challenge) var(txn.asked),map_str({files.challenges})
    http-request return status 200 content-type application/octet-stream\
 lf-string %[var(txn.challenge)] if {{ var(txn.challenge) -m found }}
"""


def _unusual(settings: Settings) -> str:
    """Return rules that find requests with a field to remove, and remove our own fields.

    Most requests have none, so one expression spares them one for each field.
    """
    return (
        "    http-request set-var(txn.unusual) bool(true)"
        f" if {{ req.hdr_names -m reg '(?i){_untrusted(settings)}' }}\n"
        f"    http-request del-header x-p- -m beg if {_UNUSUAL}\n"
    )


def _untrusted(settings: Settings) -> str:
    """Return an expression of lists of names of fields: one may have to be removed.

    It compares the names' first words.
    """
    names = [*headers.UNTRUSTED, "x-p-", settings.client_ip_header or "x-p-"]
    words = "|".join(sorted({name.lower().partition("-")[0] for name in names}))
    return f"(?:^|,)(?:{words})(?:[-_,]|$)"


def _fields(settings: Settings) -> str:
    """Return rules that remove header fields which clients must not send."""
    respelled = [*headers.FORWARDED, *headers.ADDRESSES]
    own = [settings.client_ip_header] if settings.client_ip_header else []
    if settings.trusted_proxies:
        networks = " ".join(str(network) for network in settings.trusted_proxies)
        # Proxies use their own spelling only.
        never = [
            _any_of(headers.OVERRIDES, "[-_]"),
            _any_of(itertools.chain.from_iterable(map(headers.respellings, respelled))),
        ]
        rules = (
            f"    http-request set-var(txn.trusted) bool(true) if {{ src {networks} }}\n"
            f"    http-request del-header '{_any_of([*respelled, *own])}' -m reg"
            f" if {_UNUSUAL} !{{ var(txn.trusted) -m bool }}\n"
        )
    else:
        never = [_any_of([*headers.OVERRIDES, *respelled], "[-_]")]
        rules = ""
    rules += "".join(
        f"    http-request del-header '{names}' -m reg if {_UNUSUAL}\n" for names in never
    )
    if own:
        rules += (
            f"    http-request set-src req.hdr({own[0]}) if {{ var(txn.trusted) -m bool }}"
            f" {{ req.hdr({own[0]}) -m found }}\n"
        )
    return rules + (
        "    http-request set-header x-p-for %[src] if !{ req.hdr(X-Forwarded-For) -m found }\n"
        "    http-request set-header x-p-for %[req.fhdr(X-Forwarded-For)]"
        " if { req.hdr(X-Forwarded-For) -m found }\n"
        "    http-request del-header Upgrade if !{ req.hdr(Upgrade) -m str -i websocket }\n"
        "    http-request del-header Connection\n"
        "    http-request set-header Connection Upgrade if { req.hdr(Upgrade) -m found }\n"
    )


def _decision(settings: Settings) -> str:
    """Return rules that decide what happens to a request."""
    direct = [
        "!{ method GET HEAD }",
        "!is_cached",
        "{ req.hdr(Transfer-Encoding) -m found }",
        "{ req.hdr_val(Content-Length) gt 0 }",
        "{ req.body_len gt 0 }",
        "{ req.hdr(Authorization) -m found }",
        "{ req.hdr(Upgrade) -m found }",
    ]
    if not settings.strip_cookies:
        direct.append(f"{{ req.hdr(Cookie) -m found }} !{{ {cache_key.HAS_COOKIES} }}")
    return (
        signed_urls.CHECK
        + access_log.REQUEST_WITHOUT_TOKEN
        + answer(503, "Service Unavailable", "is_signed")
        + _KEPT
        + _policy(settings, "has_policy")
        + answer(503, "Service Unavailable", "has_policy")
        + answer(403, "Forbidden", "{ var(txn.entry) -m str refused }")
        + answer(410, "Gone", "{ var(txn.entry) -m str expired }")
        + changes.REQUEST_RULES
        + "".join(
            f"    http-request set-var(txn.direct) bool(true) if {condition}\n"
            for condition in direct
        )
        + _key()
        + error_pages.RULES
    )


def _key() -> str:
    """Return rules that bring requests into the form of the service's cache key."""
    return (
        lifetimes.request_rules()
        + cache_key.RULES
        + "".join(answer(503, "Service Unavailable", failed) for failed in cache_key.FAILED)
    )


def _any_of(names: Iterable[str], hyphen: str = "-") -> str:
    return f"(?i)^(?:{'|'.join(name.replace('-', hyphen) for name in names)})$"
