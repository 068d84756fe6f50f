# SPDX-License-Identifier: Apache-2.0
"""A version of a Fastly service as VCL for a real Varnish.

Fastly's VCL and Varnish's are dialects of one language. The driver writes only what they have in
common, except for a few names that are translated here. The code around it is Fastly's, in the
order of the VCL that Fastly generates: snippets first, the boilerplate last.

Facts of Fastly, with their pages at https://www.fastly.com/documentation:

* which statuses are cacheable: reference, ``beresp.cacheable``;
* clients don't get ``Surrogate-Key``: reference, "Surrogate-Key";
* the TTL is that of ``Surrogate-Control``, ``s-maxage``, ``max-age`` or ``Expires``, in this
  order: guides, "Cache freshness and TTLs";
* a cacheable answer of more than 20 MB gets 503 without Segmented Caching: guides, "Failure modes
  with large files". Varnish stands in for Segmented Caching by caching the whole;
* compression excludes Segmented Caching: guides, "Enabling automatic compression". The simulation
  answers 503 then;
* the boilerplate: guides, "About Fastly VCL" for custom VCL, and generated VCL as published by
  customers until 2024.
"""

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from poppy.provider.fastly import keys
from poppy.provider.fastly.configuration import Objects
from tests.real import fastly_crypto

COUNTRY = "req.http.X-Test-Country"

#: The end of ``vcl_fetch``, by name, in Fastly's VCL.
BOILERPLATES = {
    "custom VCL": """
        if (beresp.http.Set-Cookie) { return(pass); }
        if (beresp.http.Cache-Control ~ "(?:private|no-store)") { return(pass); }
        if (!beresp.http.Expires && beresp.http.Surrogate-Control !~ "max-age"
            && beresp.http.Cache-Control !~ "(?:s-maxage|max-age)") {
            set beresp.ttl = 3600s;
        }
        return(deliver);
    """,
    "generated VCL": """
        if ((beresp.status == 500 || beresp.status == 503) && req.restarts < 1
            && (req.method == "GET" || req.method == "HEAD")) { restart; }
        if (beresp.http.Set-Cookie) { return(pass); }
        if (beresp.http.Cache-Control ~ "private") { return(pass); }
        if (beresp.status == 500 || beresp.status == 503) {
            set beresp.ttl = 1s;
            set beresp.stale_if_error = 5s;
            return(deliver);
        }
        if (beresp.http.Expires || beresp.http.Surrogate-Control ~ "max-age"
            || beresp.http.Cache-Control ~ "(?:s-maxage|max-age)") {
        } else {
            set beresp.ttl = 3600s;
        }
        return(deliver);
    """,
}

#: Bytes of the largest cacheable object without Segmented Caching.
LARGE = 20_000_000
_CACHEABLE = "^(?:200|203|300|301|302|404|410)$"
#: Varnish can't look for a stale object in ``vcl_fetch``. So a fetch that fails is abandoned, and
#: the request restarts with the object's grace. If there is none, the next fetch is not abandoned.
_STALE = (
    (r"\bstale\.exists\b", "(bereq.is_bgfetch || !(bereq.uncacheable || bereq.http.X-Stale))"),
    (r"return ?\(deliver_stale\);", "return (abandon);"),
)
#: In ``vcl_fetch``, which still has the client's request.
_FETCH = (
    (r"set beresp\.cacheable = true;", 'set beresp.http.X-Cacheable = "1";'),
    (r"return ?\(deliver\);", "call fastly_delivered; return (deliver);"),
    (r"return ?\(pass\);", "call fastly_passed; return (deliver);"),
    (r"\brestart;", "return (retry);"),
    (r"\breq\.restarts\b", "bereq.retries"),
    (r"\breq\.method\b", "bereq.method"),
    (r"\breq\.http\.X-Poppy-Caching\b", "bereq.http.X-Kept-Caching"),
    (r"\bberesp\.cacheable\b", 'beresp.http.X-Cacheable == "1"'),
    # The longer one is the object's grace; the first one is each request's.
    (
        r"set beresp\.stale_while_revalidate = (\d+)s;",
        r'set beresp.grace = \1s; set beresp.http.X-Revalidate = "\1";',
    ),
    (
        r"set beresp\.stale_if_error = (\d+)s;",
        r"if (beresp.grace < \1s) { set beresp.grace = \1s; } "
        r'set beresp.http.X-If-Error = "\1";',
    ),
    *_STALE,
)
_URL_QUERY = r"set req\.url = querystring\."
_RECV = (
    (_URL_QUERY + r"remove\(req\.url\);", r'set req.url = regsub(req.url, "[?].*", "");'),
    (
        _URL_QUERY + r'regfilter\(req\.url, "\^(.*)\$"\);',
        r'set req.url = regsub(regsuball(req.url, "(?<=[?&])\1(?:=[^&]*)?(?:&|$)", ""), '
        r'"[?&]$", "");',
    ),
    (
        _URL_QUERY + r'regfilter_except\(req\.url, "\^(.*)\$"\);',
        r'set req.url = regsub(regsuball(req.url, "(?<=[?&])(?!\1(?:=|&|$))[^&]+(?:&|$)", ""), '
        r'"[?&]$", "");',
    ),
    (
        r"urlencode\(urldecode\(",
        "blob.transcode(decoding=URL, encoding=URL, case=UPPER, encoded=(",
    ),
    (r"urldecode\(", "blob.transcode(decoding=URL, encoding=IDENTITY, encoded="),
    (
        r"digest\.base64url_nopad_decode\(",
        "blob.transcode(decoding=BASE64URLNOPAD, encoding=IDENTITY, encoded=",
    ),
    (
        r"digest\.base64url_nopad\(client\.ip\)",
        'blob.transcode(decoding=IDENTITY, encoding=BASE64URLNOPAD, encoded="" + client.ip)',
    ),
    (r"digest\.secure_is_equal\(([\w.-]+), ([\w.-]+)\)", r"\1 == \2"),
    (
        r"!time\.is_after\(std\.integer2time\(std\.atoi\(([\w.-]+)\)\), now\)",
        r"now >= std.real2time(std.real(\1, 0.0), now)",
    ),
    (r"client\.geo\.country_code", COUNTRY),
    (r"set req\.enable_segmented_caching = true;", 'set req.http.X-Segmented = "1";'),
    (r"\berror (\d+);", r"return (synth(\1));"),
)
_ERROR = ((r"\bobj\.status\b", "beresp.status"), *_STALE)
#: Varnish does it in ``vcl_synth``.
_SYNTH = (
    (r"\bobj\.", "resp."),
    (r'synthetic \{""\};', 'synthetic("");'),
    (r"return ?\(deliver\);", "call fastly_deliver; return (deliver);"),
)
_DELIVER = (
    (r"\badd (resp\.http\.[\w-]+) = (.*);", r"header.append(\1, \2);"),
    (r"\brestart;", "return (restart);"),
    (r"std\.atoi\(([\w.-]+)\)", r"std.integer(\1, 0)"),
    (r"h3\.alt_svc\(\);", 'set resp.http.Alt-Svc = "h3";'),
)
_HASH = (
    (r"set req\.hash \+= (.*);", r"hash_data(\1);"),
    (r"urlencode\(", "blob.transcode(decoding=IDENTITY, encoding=URL, encoded="),
)


def simulated(
    objects: Objects,
    resolve: Callable[[str], str],
    boilerplate: str,
    tables: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Return a version of a service as VCL for Varnish.

    Responses show the decisions: ``X-Origin``, the backend; ``X-TTL``, seconds or ``pass``;
    ``X-Revalidate`` and ``X-If-Error``, the seconds that the object may be served stale.

    Args:
        resolve: returns the address of an origin. Port 80 stands for every port.
        boilerplate: a name in :data:`BOILERPLATES`.
        tables: the items of dictionaries, by name.
    """
    statements = {name: entry["statement"] for name, entry in objects["condition"].items()}
    refusals = "".join(
        f"if ({statements[entry['request_condition']]}) {{ return (synth({entry['status']})); }}\n"
        for entry in objects["response_object"].values()
    )
    backends = list(objects["backend"].values())
    origins = "".join(
        f'if ({statements[entry["request_condition"]]}) {{ set req.http.X-Origin = "{name}"; }}\n'
        for name, entry in objects["backend"].items()
        if entry["request_condition"]
    )
    synthetic = "\n".join(
        entry["content"]
        for name, entry in objects["snippet"].items()
        if entry["type"] == "error" and name != "poppy error"
    )
    marking = keys.marking()
    fetch = _snippets(objects, "fetch").replace(marking, _marking(marking))
    fetch = _translated(f"{fetch}\n{BOILERPLATES[boilerplate]}", _FETCH)
    return f"""vcl 4.1;
import blob;
import header;
import std;
{fastly_crypto.DECLARATIONS if tables else ""}
{"".join(_backend(number, entry, resolve) for number, entry in enumerate(backends))}
{_snippets(objects, "init")}
sub vcl_recv {{
unset req.http.X-Segmented;
if (req.restarts == 0) {{
unset req.http.X-Stale;
unset req.http.X-Expired;
}}
if (req.http.X-Stale) {{
set req.grace = 1y;
}} else if (req.http.X-Expired) {{
set req.grace = 0s;
}}
{_translated(fastly_crypto.translated(_snippets(objects, "recv"), tables or {}), _RECV)}
{refusals}
set req.http.X-Origin = "poppy origin 0";
{origins}
if (req.method == "FASTLYPURGE") {{ return (synth(200)); }}
if (req.method != "GET" && req.method != "HEAD") {{ return (pass); }}
return (hash);
}}
sub vcl_hash {{
{_translated(_snippets(objects, "hash"), _HASH)}
}}
sub vcl_hit {{
if (obj.ttl < 0s && !req.http.X-Stale && !req.http.X-Expired
&& obj.ttl + std.duration(obj.http.X-Revalidate + "s", 0s) <= 0s) {{
set req.http.X-Expired = "1";
return (restart);
}}
}}
sub vcl_backend_fetch {{
if (bereq.http.X-Poppy-Caching) {{ set bereq.http.X-Kept-Caching = bereq.http.X-Poppy-Caching; }}
if (bereq.retries > 0) {{
# The request is as it was.
}} else if (bereq.uncacheable) {{
set bereq.http.X-Test-URL = bereq.url;
{_to_origin(_snippets(objects, "pass"), tables or {})}
}} else {{
set bereq.http.X-Test-URL = bereq.url;
{_to_origin(_snippets(objects, "miss"), tables or {})}
}}
{"".join(map(_choice, range(len(backends)), backends))}
}}
sub fastly_passed {{
set beresp.uncacheable = true;
set beresp.http.X-TTL = "pass";
}}
sub fastly_delivered {{
if (beresp.http.X-Cacheable == "1") {{
if (!bereq.http.X-Segmented && std.integer(beresp.http.Content-Length, 0) > {LARGE}) {{
return (error(503, "Response object too large"));
}}
set beresp.http.X-TTL = regsub("" + beresp.ttl, "[.]0+$", "");
}} else {{
call fastly_passed;
}}
}}
sub vcl_backend_response {{
set beresp.http.X-Cacheable = "0";
if ("" + beresp.status ~ "{_CACHEABLE}") {{ set beresp.http.X-Cacheable = "1"; }}
if (beresp.http.Surrogate-Control ~ "max-age=[0-9]+") {{
set beresp.ttl = std.duration(
regsub(beresp.http.Surrogate-Control, "^.*max-age=([0-9]+).*$", "\\1") + "s", 0s);
}}
{fetch}
}}
sub vcl_backend_error {{
{_translated(objects["snippet"]["poppy error"]["content"], _ERROR)}
return (deliver);
}}
sub vcl_synth {{
{_translated(synthetic, _SYNTH)}
if (resp.status == 503 && !req.http.X-Stale) {{
set req.http.X-Stale = "1";
return (restart);
}}
call fastly_deliver;
set resp.http.X-Requires-Auth = req.http.Fastly-Purge-Requires-Auth;
}}
sub fastly_deliver {{
{_translated(_snippets(objects, "deliver"), _DELIVER)}
}}
sub vcl_deliver {{
call fastly_deliver;
if (req.http.X-Segmented && resp.http.X-Compress-Hint) {{ return (synth(503, "Segments")); }}
unset resp.http.Surrogate-Key;
set resp.http.X-Origin = req.http.X-Origin;
if (obj.hits > 0) {{ set resp.http.X-Cache = "HIT"; }} else {{ set resp.http.X-Cache = "MISS"; }}
}}
"""


def _backend(number: int, fields: Mapping[str, str], resolve: Callable[[str], str]) -> str:
    timeout = int(fields["first_byte_timeout"]) / 1000
    return (
        f'backend origin_{number} {{ .host = "{resolve(fields["address"])}"; '
        f'.port = "80"; .first_byte_timeout = {timeout:.3f}s; }}\n'
    )


def _choice(number: int, fields: Mapping[str, str]) -> str:
    host = f'set bereq.http.Host = "{fields["override_host"]}";' * bool(fields["override_host"])
    return (
        f'if (bereq.http.X-Origin == "{fields["name"]}") '
        f"{{ set bereq.backend = origin_{number}; {host} }}\n"
    )


def _marking(text: str) -> str:
    """Return the code that adds keys; Varnish has no digests, so keys have the texts themselves.

    Varnish concatenates strings with ``+``, and has no groups of the last match.
    """
    lines = []
    group = ""
    for line in text.splitlines():
        if match := re.search(r'req[.]url[.]path ~ ("[^"]*)"', line):
            group = f'regsub(req.url, {match[1]}.*$", "\\1")'
        match = re.match(r"(\s*set [\w.-]+ =) (.*);", line)
        if match and "regsuball" not in line:
            values = re.findall(r'"[^"]*"|[^\s"]+', match[2])
            line = f"{match[1]} {' + '.join(values)};"
        lines.append(re.sub(r"digest[.]hash_sha256\(([^)]*)\)", r"\1", line))
        lines[-1] = lines[-1].replace("re.group.1", group)
    path = 'regsub(req.url, "[?].*$", "")'
    text = "\n".join(lines).replace("req.url.path", path)
    # The path of an origin is not part of req.url.
    return re.sub(
        r"\breq\.url\b", "bereq.http.X-Test-URL", re.sub(r"\breq\.(?!url)", "bereq.", text)
    )


def _to_origin(text: str, tables: Mapping[str, Mapping[str, str]]) -> str:
    """Return the code of ``miss`` or ``pass`` for a fetch, which Varnish may repeat."""
    text = re.sub(r"(?<![\w.])req\.", "bereq.", text)
    return re.sub(
        r'table\.lookup\((\w+), "([^"]+)", ""\)',
        lambda found: f'{{"{tables[found[1]][found[2]]}"}}',
        _translated(text, ()),
    )


def _snippets(objects: Objects, kind: str) -> str:
    return "\n".join(
        entry["content"] for entry in objects["snippet"].values() if entry["type"] == kind
    )


def _translated(text: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return re.sub(r'"[^"\n]*%[^"\n]*"', _unescaped, _grouped(text))


def _unescaped(string: re.Match[str]) -> str:
    """Return a string with escapes, of which Varnish has none, as a long string."""
    return f"{{{unquote(string[0])}}}"


def _grouped(text: str) -> str:
    """Return text in which the groups of the last match are replacements."""
    lines = []
    subject = regex = ""
    for line in text.splitlines():
        if match := re.search(r'(req[.][\w.-]+) ~ "([^"]*)"', line):
            regex = match[2] if match[2].startswith("^") else f"^.*?{match[2]}"
            subject = match[1]
        start = f'regsub({subject}, "{regex}.*$", "'
        lines.append(
            re.sub(r"re\.group\.(\d)", lambda it, start=start: f'{start}\\{it[1]}")', line)
        )
    return "\n".join(lines)
