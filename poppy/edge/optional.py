# SPDX-License-Identifier: Apache-2.0
"""The optional fields of a program, which are those of the service's document.

The document's schemas check them here too, by the few keywords that they use: a node has no
library for JSON Schema.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from poppy.common.errors import InvalidRequest
from poppy.model import secrets
from poppy.model.document import caching, codec, fields, origins
from poppy.model.document.caching import CacheOptions
from poppy.model.document.fields import EdgeFields
from poppy.model.document.origins import OriginOptions
from poppy.model.schema_parts import SECRETIVE, Schema

NAMES = tuple(it.name for it in codec.members(EdgeFields))

# A node checks thousands of programs when it starts.
_FIELDS = codec.schema(EdgeFields)["properties"]
_CACHE_OPTIONS = codec.schema(CacheOptions)
_ORIGIN_OPTIONS = codec.schema(OriginOptions)
_SEALED = {"fingerprint", "sealed"}
_TYPES = {"object": Mapping, "array": list, "string": str, "integer": int, "boolean": bool}


def read(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of :class:`EdgeFields` in a program.

    Raises:
        ValueError: a field is invalid; the message names it.
    """
    for name in NAMES:
        if name in document:
            _check(document[name], _FIELDS[name], name)
    values = codec.values(EdgeFields, document)
    try:
        # The API has checked the protocols of the domains.
        fields.check(EdgeFields(**values), http=(), https=("-",))
    except InvalidRequest as exc:
        raise ValueError(str(exc)) from exc
    return values


def write(program: EdgeFields) -> Mapping[str, Any]:
    """Return the optional fields of a program as JSON."""
    written: Mapping[str, Any] = codec.write(program, EdgeFields, secrets.Secret.carried)
    return written


def patterns(program: EdgeFields) -> Iterator[str]:
    """Yield the patterns of paths in the optional fields."""
    for redirect in program.redirects or ():
        yield redirect.request_url
    signed_urls = () if program.signed_urls is None else (program.signed_urls,)
    for entry in (*(program.headers or ()), *signed_urls):
        yield from (rule.request_url for rule in entry.rules or ())


def cache_options(document: Any) -> CacheOptions:
    """Return the options of a caching rule in a program.

    Raises:
        ValueError: they are invalid; the message names the field.
    """
    _check(document, _CACHE_OPTIONS, "options")
    options = codec.read(CacheOptions, document)
    try:
        caching.check([options])
    except InvalidRequest as exc:
        raise ValueError(str(exc)) from exc
    return options


def origin_options(document: Any) -> OriginOptions:
    """Return the options of an origin in a program.

    Raises:
        ValueError: they don't match the schema; the message names the field.
    """
    _check(document, _ORIGIN_OPTIONS, "options")
    return codec.read(OriginOptions, document)


def check_origins(options: Sequence[OriginOptions]) -> None:
    """Check the options of all origins of a program.

    Raises:
        ValueError: they are invalid; the message names the origin and the field.
    """
    try:
        origins.check(options)
    except InvalidRequest as exc:
        raise ValueError(str(exc)) from exc


def _check(value: Any, schema: Schema, place: str) -> None:
    if "anyOf" in schema:
        _check_any(value, schema, place)
        return
    if schema.get("type") == secrets.SCHEMA["type"]:
        _check_secret(value, schema, place)
        return
    kind = _TYPES.get(schema.get("type", ""), object)
    # In Python, but not in JSON, a boolean is an integer.
    is_other = isinstance(value, bool) and kind not in (bool, object)
    if not isinstance(value, kind) or is_other or value not in schema.get("enum", (value,)):
        raise ValueError(f"{place} is {_quoted(value, place)}")
    if isinstance(value, int):
        _check_range(value, schema, "minimum", "maximum", place)
    elif isinstance(value, str):
        _check_range(len(value), schema, "minLength", "maxLength", f"the length of {place}")
        if not re.search(schema.get("pattern", ""), value):
            raise ValueError(f"{place} is {_quoted(value, place)}")
    elif isinstance(value, list):
        _check_range(len(value), schema, "minItems", "maxItems", f"the length of {place}")
        for number, entry in enumerate(value):
            _check(entry, schema["items"], f"{place}[{number}]")
    elif isinstance(value, Mapping):
        _check_object(value, schema, place)


def _check_any(value: Any, schema: Schema, place: str) -> None:
    for choice in schema["anyOf"]:
        try:
            return _check(value, choice, place)
        except ValueError:
            continue
    raise ValueError(f"{place} is {_quoted(value, place)}")


def _check_secret(value: Any, schema: Schema, place: str) -> None:
    """Check a secret, which is text on a node, and sealed before that; don't quote it."""
    if isinstance(value, str):
        _check(value, {**schema, "type": "string"}, place)
    elif not isinstance(value, Mapping) or not (
        value.keys() == _SEALED and all(isinstance(it, str) for it in value.values())
    ):
        raise ValueError(f"{place} is no secret")


def _quoted(value: Any, place: str) -> str:
    is_secretive = not SECRETIVE.isdisjoint(re.split(r"[.\[]", place))
    return "not allowed" if is_secretive else f"{value!r:.80}"


def _check_object(value: Mapping[str, Any], schema: Schema, place: str) -> None:
    _check_range(len(value), schema, "minProperties", "maxProperties", f"the length of {place}")
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        raise ValueError(f"{place} has no {missing[0]}")
    for name, entry in value.items():
        found = schema.get("properties", {}).get(name, schema["additionalProperties"])
        if found is False:
            raise ValueError(f"{place} has the unknown field {name[:80]!r}")
        _check(entry, found, f"{place}.{name[:80]}")


def _check_range(number: int, schema: Schema, least: str, most: str, place: str) -> None:
    if not schema.get(least, number) <= number <= schema.get(most, number):
        raise ValueError(f"{place} is {number}")
