# SPDX-License-Identifier: Apache-2.0
"""The kinds of objects in a version and their fields, for :mod:`tests.real.fastly_account`.

Fields and values are those of the API reference and its official clients.
"""

import re
from collections.abc import Mapping
from typing import Any

from tests.real import fastly_logging

Fields = dict[str, str]

#: By kind: its name in a version's document, and the fields that a form may have.
KINDS: Mapping[str, tuple[str, str]] = {
    "dictionary": ("dictionaries", "name write_only"),
    "domain": ("domains", "name comment"),
    "condition": ("conditions", "name type statement priority comment"),
    "backend": (
        "backends",
        "name address port override_host request_condition auto_loadbalance weight comment "
        "connect_timeout first_byte_timeout between_bytes_timeout max_conn shield healthcheck "
        "use_ssl ssl_check_cert ssl_cert_hostname ssl_sni_hostname ssl_ca_cert ssl_ciphers "
        "min_tls_version max_tls_version",
    ),
    "cache_settings": ("cache_settings", "name action cache_condition ttl stale_ttl"),
    "response_object": (
        "response_objects",
        "name status response content content_type request_condition cache_condition",
    ),
    "snippet": ("snippets", "name type content dynamic priority"),
    "logging/s3": ("s3s", fastly_logging.FIELDS),
}
#: Kinds that are not in a version's document; see ``VersionDetail`` in the API reference.
LISTED = {"dictionary", "logging/s3"}
#: Further kinds in a version, made by other clients.
OTHER = ("acls", "headers", "gzips", "healthchecks", "request_settings", "vcls")

#: Bytes of a snippet, without an arrangement: guides, "About VCL snippets".
MAX_SNIPPET = 1_000_000
_DICTIONARY = re.compile(r"[A-Za-z]\w*", re.ASCII)
_BOOLEANS = {"write_only", "use_ssl", "ssl_check_cert", "auto_loadbalance"}
_NUMBERS = {"port", "connect_timeout", "first_byte_timeout", "between_bytes_timeout"}
_NUMERIC = _NUMBERS | {"ttl", "stale_ttl", "priority", "status"}
_NUMERIC |= {"period", "gzip_level", "file_max_bytes"}
_CHOICES = {
    ("condition", "type"): {"REQUEST", "CACHE", "RESPONSE", "PREFETCH"},
    ("cache_settings", "action"): {"", "pass", "cache", "restart"},
    ("snippet", "type"): {
        *("init", "recv", "hash", "hit", "miss", "pass", "fetch", "error", "deliver", "log"),
        "none",
    },
    ("snippet", "dynamic"): {"0", "1"},
    **{("logging/s3", name): values for name, values in fastly_logging.CHOICES.items()},
}
REQUIRED = {
    "dictionary": {"name"},
    "domain": {"name"},
    "condition": {"name", "type", "statement"},
    "backend": {"name", "address"},
    "cache_settings": {"name"},
    "response_object": {"name"},
    "snippet": {"name", "type", "dynamic", "content"},
    "logging/s3": {"name", "bucket_name"},
}
_IMMUTABLE = {("condition", "type"), ("snippet", "type"), ("snippet", "dynamic")}
_IMMUTABLE |= {("dictionary", "write_only")}
REFERENCES = {
    "backend": {"request_condition": "REQUEST"},
    "cache_settings": {"cache_condition": "CACHE"},
    "response_object": {"request_condition": "REQUEST", "cache_condition": "CACHE"},
    "logging/s3": {"response_condition": "RESPONSE"},
}


class Refused(Exception):
    """The account refuses a request.

    Attributes:
        status: of the answer.
        document: of the answer.
    """

    def __init__(self, status: int, msg: str, detail: str | None = None) -> None:
        super().__init__(f"{status} {msg}: {detail}")
        self.status = status
        self.document: dict[str, Any] = {"msg": msg, "detail": detail}


def object_document(kind: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """Return an object as the API does: booleans and numbers for backends, null for none."""
    _, names = KINDS[kind]
    if kind == "dictionary":
        names += " id"
    found: dict[str, Any] = {"created_at": "2030-01-02T03:04:05Z", "deleted_at": None}
    for name in names.split():
        value = fields.get(name)
        if kind == "logging/s3":
            value = value or fastly_logging.DEFAULTS.get(name)
        if name in _BOOLEANS:
            found[name] = value == "1"
        elif name in _NUMBERS and value is not None:
            found[name] = int(value)
        elif name in {"override_host", "action"}:
            found[name] = value or None
        else:
            found[name] = value
    return found


def only(form: Fields, allowed: str) -> None:
    """Refuse unknown fields."""
    unknown = set(form) - set(allowed.split())
    if unknown:
        raise Refused(400, "Bad request", f"Unknown parameters: {', '.join(sorted(unknown))}")


def check(kind: str, form: Fields, required: set[str]) -> None:
    """Refuse invalid values for a kind of object."""
    only(form, KINDS[kind][1])
    for option in required:
        if not form.get(option):
            raise Refused(400, "Bad request", f"{option} of a {kind} can't be blank")
    for option, value in form.items():
        _check_value(kind, option, value)
    if len(form.get("content", "").encode()) > MAX_SNIPPET:
        raise Refused(400, "Bad request", f"content of a {kind} is too long")
    if not 1 <= int(form.get("port") or 80) <= 65535:
        raise Refused(400, "Bad request", "port is out of range")
    wrong = fastly_logging.problem(form, new=bool(required)) if kind == "logging/s3" else None
    if wrong:
        raise Refused(400, wrong)


def _check_value(kind: str, option: str, value: str) -> None:
    if option in _NUMERIC and value and not value.isdigit():
        raise Refused(400, "Bad request", f"{option} is no number: {value!r}")
    if option in _BOOLEANS and value not in {"0", "1"}:
        raise Refused(400, "Bad request", f"{option} is no boolean: {value!r}")
    if (kind, option) == ("dictionary", "name") and not _DICTIONARY.fullmatch(value):
        raise Refused(400, "Bad request", f"a {kind} can't have the name {value!r}")
    choices = _CHOICES.get((kind, option))
    if choices is not None and value not in choices:
        raise Refused(400, "Bad request", f"{option} of a {kind} can't be {value!r}")


def check_change(kind: str, form: Fields, found: Mapping[str, str]) -> None:
    """Refuse invalid changes of an object."""
    check(kind, form, set())
    for option, value in form.items():
        if (kind, option) in _IMMUTABLE and found.get(option) != value:
            raise Refused(400, "Bad request", f"{option} of a {kind} can't be changed")
