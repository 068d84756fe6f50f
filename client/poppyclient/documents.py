# SPDX-License-Identifier: Apache-2.0
"""Service documents: load, normalize and compare them."""

import difflib
import ipaddress
import json
import sys
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from osc_lib import exceptions

Document = dict[str, Any]

#: Read-only fields that the server, or ``service show``, adds to a document.
_SHOWN = frozenset(
    {
        *("id", "project_id", "status", "created_at", "updated_at"),
        *("errors", "links", "access_urls", "dns_records", "drift"),
    }
)
#: The secrets of signing keys, of S3 and of secret headers.
_SECRETS = frozenset({"secret", "secret_key", "value"})
_EVERY_PATH = "/*"
_DEFAULT_RULES = [{"name": "default", "request_url": _EVERY_PATH}]
#: The server's key order, at every depth; other keys come last.
_ORDER = (
    *("name", "flavor_id", "domains", "origins", "caching", "restrictions", "log_delivery"),
    *("delivery", "redirects", "headers", "cors", "error_pages", "signed_urls"),
    *("waf", "tags"),
    *("domain", "protocol", "certificate"),
    *("origin", "port", "ssl", "hostheadertype", "hostheadervalue"),
    *("ttl", "access", "referrer", "client_ip", "geography", "request_url", "rules"),
)


def load(path: str) -> Document:
    """Load the document in a YAML or JSON file; ``-`` is standard input.

    Fields that ``service show`` adds are removed, so its edited output is valid input.

    Raises:
        CommandError: the file can't be read, or does not hold one document.
    """
    name = "standard input" if path == "-" else path
    try:
        if path == "-":
            found = yaml.safe_load(sys.stdin)
        else:
            with open(path, encoding="utf-8") as file:
                found = yaml.safe_load(file)
        # Refuse YAML values without a JSON form, such as dates, binary data and NaN.
        found = json.loads(json.dumps(found, allow_nan=False))
    except OSError as exc:
        raise exceptions.CommandError(f"{name}: {exc.strerror or exc}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise exceptions.CommandError(f"{name} is not valid YAML: {exc}") from exc
    except (TypeError, ValueError, RecursionError) as exc:
        raise exceptions.CommandError(f"{name} has a value that JSON can't hold: {exc}") from exc
    if not isinstance(found, dict):
        raise exceptions.CommandError(f"{name} must hold one document, with a key for each field")
    return writable(found)


def simple(
    domains: Sequence[str],
    origin: str,
    flavor: str,
    name: str | None = None,
    certificate: str | None = None,
) -> Document:
    """Return the document of a service with one origin.

    Args:
        origin: a host name or address, or a URL with it: ``https://origin.example.net``.
        name: by default the first domain.
        certificate: the kind of certificate of all domains; without it they are served by HTTP.

    Raises:
        CommandError: the origin is invalid.
    """
    secure = {"protocol": "https", "certificate": certificate} if certificate else {}
    return {
        "name": name or domains[0],
        "flavor_id": flavor,
        "domains": [{"domain": domain, **secure} for domain in domains],
        "origins": [_parsed(origin)],
    }


def _parsed(text: str) -> Document:
    refusal = exceptions.CommandError(
        f"{text!r} is not an origin; examples: origin.example.net, 192.0.2.1:80, "
        "https://origin.example.net"
    )
    try:
        parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as exc:
        raise refusal from exc
    rest = (parts.path.strip("/"), parts.query, parts.fragment, parts.username)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(rest):
        raise refusal
    found: Document = {"origin": parts.hostname}
    if parts.scheme == "https":
        found |= {"ssl": True, "port": port or 443}
    elif port is not None:
        found["port"] = port
    return found


def writable(document: Mapping[str, Any]) -> Document:
    """Return a shown document without its read-only fields."""
    result = {key: value for key, value in document.items() if key not in _SHOWN}
    if "domains" in result:
        result["domains"] = _each(result["domains"], lambda entry, _: _without_status(entry))
    return result


def written_out(document: Mapping[str, Any], current: Mapping[str, Any] | None = None) -> Document:
    """Return the document in the server's normal form, with defaults filled in.

    The result is unspecified for a document that the server refuses. A missing ``caching`` stays
    missing, because the operator sets its default.

    Args:
        current: the current service; it has the full names of shared domains.
    """
    known = (current or {}).get("domains", ())
    result = dict(document)
    for field, change in _FIELDS.items():
        if field in result:
            result[field] = _each(result[field], change)
    if "domains" in result:
        result["domains"] = _each(result["domains"], lambda entry, _: _shared(entry, known))
    if result.get("caching") == []:
        del result["caching"]
    result.setdefault("restrictions", [])
    logs = result.setdefault("log_delivery", {})
    if isinstance(logs, dict):
        result["log_delivery"] = {"enabled": False, **logs}
    return _ordered(result)


def patch(current: Mapping[str, Any], desired: Mapping[str, Any]) -> list[Document]:
    """Return the JSON Patch (RFC 6902) between two normalized documents; empty if equal.

    Each changed field is replaced as a whole. The patch is sent with ``If-Match``, so this can't
    overwrite a concurrent change.
    """
    changes: list[Document] = []
    for field in dict.fromkeys((*current, *desired)):
        path = "/" + field.replace("~", "~0").replace("/", "~1")
        if field not in desired:
            if not (field == "caching" and _is_default_caching(current[field])):
                changes.append({"op": "remove", "path": path})
        elif field not in current:
            changes.append({"op": "add", "path": path, "value": desired[field]})
        elif not _same(current[field], desired[field]):
            changes.append({"op": "replace", "path": path, "value": desired[field]})
    return changes


def diff(current: Mapping[str, Any], desired: Mapping[str, Any]) -> list[str]:
    """Return a unified diff of two documents as YAML lines.

    Fields that the server will fill in are not shown as removed, and secrets are hidden.
    """
    desired = _without_secrets(desired)
    if "caching" in current and "caching" not in desired:
        caching = current["caching"]
        desired = dict(desired) | {
            "caching": caching if _is_default_caching(caching) else "(the operator's default)"
        }
    ordered = [field for field in current if field in desired]
    then = {field: desired[field] for field in dict.fromkeys((*ordered, *desired))}
    lines = difflib.unified_diff(_lines(current), _lines(then), "now", "then", lineterm="", n=3)
    return list(lines)


def dump(document: Any) -> str:
    """Return a document as YAML for display."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


class _Dumper(yaml.SafeDumper):
    """A dumper without anchors: it writes repeated values in full."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(entry) for entry in value]
    if not isinstance(value, Mapping):
        return value
    # The value of another header field is no secret.
    names = _SECRETS if value.keys() == {"name", "value"} else _SECRETS - {"value"}
    return {
        key: "(a secret)" if key in names and isinstance(entry, str) else _without_secrets(entry)
        for key, entry in value.items()
    }


def _ordered(value: Any) -> Any:
    if isinstance(value, list):
        return [_ordered(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    known = [key for key in _ORDER if key in value]
    return {key: _ordered(value[key]) for key in dict.fromkeys((*known, *value))}


def _lines(document: Mapping[str, Any]) -> list[str]:
    return dump(dict(document)).splitlines() if document else []


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON values: 1.0 equals 1, but true does not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _is_default_caching(caching: Any) -> bool:
    """Whether ``caching`` is the server's default, with any TTL."""
    if not isinstance(caching, list) or len(caching) != 1:
        return False
    entry = caching[0] if isinstance(caching[0], dict) else {}
    return {**entry, "ttl": 0} == {"name": "default", "ttl": 0, "rules": _DEFAULT_RULES}


def _each(entries: Any, change: Callable[[Document, int], Document]) -> Any:
    if not isinstance(entries, list):
        return entries
    return [
        change(entry, index) if isinstance(entry, dict) else entry
        for index, entry in enumerate(entries)
    ]


def _without_status(domain: Document) -> Document:
    return {key: value for key, value in domain.items() if key != "certificate_status"}


def _domain(entry: Document, index: int) -> Document:
    domain = {"protocol": "http", **entry}
    if domain.get("certificate", "") is None:
        del domain["certificate"]
    return domain


def _shared(entry: Document, known: Any) -> Document:
    """Expand the label of a shared domain to the full name that the operator gave it."""
    name = entry.get("domain")
    if entry.get("certificate") != "shared" or not isinstance(name, str) or "." in name:
        return entry
    for domain in known:
        if domain.get("certificate") == "shared" and domain["domain"].split(".")[0] == name:
            return {**entry, "domain": domain["domain"]}
    return entry


def _origin(entry: Document, index: int) -> Document:
    port = 443 if entry.get("ssl") is True else 80
    host = "origin" if "auth" in entry else "domain"
    origin = {"port": port, "ssl": False, "hostheadertype": host, "rules": [], **entry}
    origin["rules"] = _each(origin["rules"], _rule)
    if index == 0 and not origin["rules"]:
        origin["rules"] = _DEFAULT_RULES
    if origin.get("hostheadervalue", "") is None:
        del origin["hostheadervalue"]
    for key in ("origin", "hostheadervalue", "verify_name"):
        if isinstance(origin.get(key), str):
            origin[key] = _host(origin[key])
    return origin


def _caching(entry: Document, index: int) -> Document:
    return {**entry, "rules": _each(entry.get("rules"), _rule) or _DEFAULT_RULES}


def _restriction(entry: Document, index: int) -> Document:
    """Fill in defaults; ``type`` is the old name of ``access``."""
    access = entry.get("access", entry.get("type", "whitelist"))
    kept = {key: value for key, value in entry.items() if key != "type"}
    return {**kept, "access": access, "rules": _each(entry.get("rules"), _rule)}


def _rule(entry: Document, index: int) -> Document:
    rule = {"request_url": _EVERY_PATH, **entry}
    path = rule["request_url"]
    if isinstance(path, str) and not path.startswith("/"):
        rule["request_url"] = f"/{path}"
    if isinstance(rule.get("referrer"), str):
        rule["referrer"] = _lower(rule["referrer"])
    return rule


_FIELDS: Mapping[str, Callable[[Document, int], Document]] = {
    "domains": _domain,
    "origins": _origin,
    "caching": _caching,
    "restrictions": _restriction,
}


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return _lower(text)
