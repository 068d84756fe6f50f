# SPDX-License-Identifier: Apache-2.0
"""VCL that verifies tokens of signed URLs; ``doc/source/signed-urls.rst`` has their format.

The secrets are in a private dictionary (:mod:`poppy.provider.fastly.dictionaries`). See
https://www.fastly.com/documentation/reference/vcl/functions/cryptographic/.
"""

from collections.abc import Callable, Iterator, Sequence

from poppy.model.document.paths import PathRule
from poppy.model.document.signed_urls import DEFAULT_QUERY, SignedURLs
from poppy.model.specs import Rule
from poppy.provider import patterns
from poppy.provider.fastly.literals import expression

#: The fields of a request in which the check keeps what it has found.
FIELDS = (
    *("Token", "Cookie", "Payload", "Key", "Expiry", "Client", "Scope", "Signature", "Proof"),
    *("Signed", "Deep", "Prefix", *(f"Path-{number}" for number in range(6))),
)
_DECODINGS = 5  #: How often a path is decoded. One that is encoded more often is refused.
_TOKEN = (
    "^(?=.{1,4096}$)(([A-Za-z0-9_-]{1,64})[.]([0-9]{1,12})[.]([A-Za-z0-9_-]*)[.]([A-Za-z0-9_-]+))"
    "[.]([A-Za-z0-9_-]{43})$"
)
#: Of a path that was decoded: origins may read another path in it.
_UNCLEAR = r"(?i)\x5c|%(?:5c|00)|(?:/|%2f)(?:[.]|%2e){1,2}(?:/|%2f|;|$)"

Concerns = Callable[[Rule, str], str]


def check(signed_urls: SignedURLs | None, table: str, verdict: str, concerns: Concerns) -> str:
    """Return the statements of ``recv``; empty without the field.

    They remove the token from the request, and refuse one that needs a valid token.

    Args:
        signed_urls: the field.
        table: the name of the dictionary with the secrets, by the IDs of keys.
        verdict: the field that refuses a request: ``refused`` or ``expired``.
        concerns: returns a condition: the rule's path matches a variable.
    """
    if signed_urls is None:
        return ""
    return "\n".join(
        (
            *_take(patterns.encoded(signed_urls.query or DEFAULT_QUERY)),
            *_decode(),
            f"if ({_protected(signed_urls.rules or (), concerns)}) {{",
            f'set {verdict} = "refused";',
            *_parse(table),
            "if (req.http.X-Poppy-Signed) {",
            f"unset {verdict};",
            # A token is valid until its expiry.
            "if (!time.is_after(std.integer2time(std.atoi(req.http.X-Poppy-Expiry)), now)) {",
            f'set {verdict} = "expired";',
            "}\n}\n}",
        )
    )


def _take(name: str) -> Iterator[str]:
    """Yield statements that remove the token from query and cookies; the query's one counts."""
    of_query = expression(f"^[^?]*[?](?:[^&]*&)*?{name}=([^&]*)")
    of_cookie = expression(f"(?:^|;) *{name}=([^;]*)")
    pair = expression(f"(?:^|;) *{name}=[^;]*")
    yield f"if (req.url ~ {of_query}) {{\n  set req.http.X-Poppy-Token = re.group.1;\n}}"
    yield 'std.collect(req.http.Cookie, "; ");'
    yield f"if (req.http.Cookie ~ {of_cookie}) {{\n  set req.http.X-Poppy-Cookie = re.group.1;"
    yield f'set req.http.Cookie = regsuball(req.http.Cookie, {pair}, "");'
    yield 'set req.http.Cookie = regsub(req.http.Cookie, "^[; ]+", "");'
    yield 'if (req.http.Cookie == "") {\n  unset req.http.Cookie;\n}\n}'
    yield f"if (req.url !~ {of_query} && req.http.X-Poppy-Cookie) {{"
    yield "set req.http.X-Poppy-Token = req.http.X-Poppy-Cookie;\n}"
    yield f"set req.url = querystring.regfilter(req.url, {expression(f'^(?:{name})$')});"


def _decode() -> Iterator[str]:
    """Yield statements that decode the path up to five times."""
    yield 'set req.http.X-Poppy-Path-0 = regsub(req.url, "[?].*", "");'
    for number in range(_DECODINGS):
        before = f"req.http.X-Poppy-Path-{number}"
        yield f"set req.http.X-Poppy-Path-{number + 1} = {decoded(before)};"
        unclear = expression(_UNCLEAR)
        yield f'if ({before} ~ {unclear}) {{\n  set req.http.X-Poppy-Deep = "1";\n}}'
    last = f"req.http.X-Poppy-Path-{_DECODINGS}"
    # A question mark stays encoded, see decoded().
    rest = expression(f"{_UNCLEAR}|%(?!3f)[0-9a-f]{{2}}")
    yield f'if ({last} ~ {rest}) {{\n  set req.http.X-Poppy-Deep = "1";\n}}'


def decoded(variable: str) -> str:
    """Return an expression for a percent-decoded path in which runs of slashes are one.

    ``urldecode`` reads ``+`` as a space, and ends at a NUL. Escapes that it can't read become
    those of ``%``. Question marks stay encoded, because a path has none.
    """
    plain = f'regsuball({variable}, "[+]", "%252B")'
    valid = rf'regsuball({plain}, "\x25(?:00|(?![0-9A-Fa-f]{{2}}))", "%2525")'
    return f'regsuball(regsuball(urldecode({valid}), "[?]", "%253F"), "/+", "/")'


def _protected(rules: Sequence[PathRule], concerns: Concerns) -> str:
    """Return a condition: the path needs a token, however often an origin decodes it."""
    if not rules:
        return "req.url"
    paths = [f"req.http.X-Poppy-Path-{number}" for number in range(_DECODINGS)]
    matches = [
        concerns(Rule(rule.name, rule.request_url), path) for path in paths for rule in rules
    ]
    return "\n || ".join(["req.http.X-Poppy-Deep", *matches])


def _parse(table: str) -> Iterator[str]:
    """Yield statements that set X-Poppy-Signed if the token is one for the request."""
    yield f"if (req.http.X-Poppy-Token ~ {expression(_TOKEN)}) {{"
    for number, name in enumerate(FIELDS[2:8], 1):
        yield f"  set req.http.X-Poppy-{name} = re.group.{number};"
    yield (
        "  set req.http.X-Poppy-Proof = digest.hmac_sha256_base64("
        f'table.lookup({table}, req.http.X-Poppy-Key, ""), req.http.X-Poppy-Payload);'
    )
    for character, other in (("[+]", "-"), ("/", "_"), ("=", "")):
        yield (
            "  set req.http.X-Poppy-Proof = "
            f'regsuball(req.http.X-Poppy-Proof, "{character}", "{other}");'
        )
    yield ("  set req.http.X-Poppy-Scope = digest.base64url_nopad_decode(req.http.X-Poppy-Scope);")
    yield '  set req.http.X-Poppy-Prefix = regsub(req.http.X-Poppy-Scope, "[*]$", "");'
    yield f"  set req.http.X-Poppy-Prefix = {decoded('req.http.X-Poppy-Prefix')};"
    begins = " && ".join(
        f"std.strstr({path}, req.http.X-Poppy-Prefix) == {path}" for path in _readings()
    )
    yield (
        # Without the key, there is no proof.
        "  if (req.http.X-Poppy-Proof\n"
        "      && digest.secure_is_equal(req.http.X-Poppy-Proof, req.http.X-Poppy-Signature)\n"
        '      && (req.http.X-Poppy-Client == ""\n'
        "        || digest.base64url_nopad(client.ip) == req.http.X-Poppy-Client)\n"
        '      && req.http.X-Poppy-Scope ~ "^/"\n'
        '      && ((req.http.X-Poppy-Scope !~ "[*]$"\n'
        "        && req.http.X-Poppy-Prefix == req.http.X-Poppy-Path-1)\n"
        '      || (req.http.X-Poppy-Scope ~ "[*]$" && !req.http.X-Poppy-Deep\n'
        f"        && {begins}))) {{\n"
        '    set req.http.X-Poppy-Signed = "1";\n  }'
    )
    yield "}"


def _readings() -> Iterator[str]:
    """Yield the paths that origins may read, with and without the parameters of segments."""
    for number in range(1, _DECODINGS + 1):
        path = f"req.http.X-Poppy-Path-{number}"
        yield path
        yield f'regsuball({path}, ";[^/]*", "")'
