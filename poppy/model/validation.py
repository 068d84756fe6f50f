# SPDX-License-Identifier: Apache-2.0
"""Validate request bodies: first the schema, then defaults, then the other rules."""

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import jsonschema

from poppy.common import errors
from poppy.model import names, rules, schemas
from poppy.model.document import codec
from poppy.model.document.fields import OptionalFields
from poppy.model.flavors import Flavor
from poppy.model.limits import DocumentLimits
from poppy.model.schema_parts import PATTERNS, SECRETIVE, Schema
from poppy.model.specs import (
    Caching,
    Domain,
    Origin,
    Restriction,
    Rule,
    ServiceSpec,
)

MAX_MESSAGES = 20
MAX_MESSAGE_LENGTH = 200

# Maximum violations to collect before sorting them and listing the first few.
_MAX_BREACHES = 500


def _unique_items(
    validator: object, wanted: bool, value: object, schema: Schema
) -> Iterator[jsonschema.ValidationError]:
    """Check ``uniqueItems`` in linear time; jsonschema's own compares all pairs."""
    if wanted and isinstance(value, list):
        texts = {json.dumps(entry, sort_keys=True) for entry in value}
        if len(texts) < len(value):
            yield jsonschema.ValidationError("has an entry more than once")


def _items(
    validator: jsonschema.Draft202012Validator,
    items: Schema,
    value: object,
    schema: Schema,
) -> Iterator[jsonschema.ValidationError]:
    """Check ``items``, but skip lists that exceed ``maxItems``, which fail anyway."""
    if isinstance(value, list) and len(value) <= schema.get("maxItems", len(value)):
        for index, entry in enumerate(value):
            yield from validator.descend(entry, items, path=index)


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"uniqueItems": _unique_items, "items": _items}
)

_VALIDATORS: dict[int, jsonschema.Draft202012Validator] = {}

_PATCH_MEMBERS = ("op", "path", "from", "value")
_PLURALS = {"character": "characters", "entry": "entries", "rule": "rules"}
_EVERY_PATH = "/*"
_DEFAULT_LIMITS = DocumentLimits()
_DEFAULT_RULES = (Rule(name="default", request_url=_EVERY_PATH),)


def service(
    document: object,
    default_ttl: int,
    shared: Collection[str] = (),
    limits: DocumentLimits = _DEFAULT_LIMITS,
) -> ServiceSpec:
    """Validate the document of a POST body or a PATCH result.

    All defaults are filled in and values are normalized: paths start with a slash, host names
    except domains are in lower case (an upper-case domain is refused), and origins' addresses are
    in their shortest form. The spec's own document is valid again and gives an equal spec.

    Args:
        document: any JSON value.
        default_ttl: the TTL in seconds if the document has no caching.
        shared: full names of the service's existing shared domains, which are accepted unchanged;
            a new shared domain is a single label.
        limits: the limits on rules and bytes of the document.

    Raises:
        SchemaInvalid: the schema is violated; all violations are listed, up to a limit.
        InvalidRequest: a rule that no schema can express is violated; names the value.
    """
    _check_counts(document, limits)
    body: Mapping[str, Any] = validate(schemas.service(limits), document)
    spec = ServiceSpec(
        name=body["name"],
        flavor_id=body["flavor_id"],
        domains=tuple(Domain.from_dict(entry) for entry in body["domains"]),
        origins=tuple(
            _origin(entry, _DEFAULT_RULES if index == 0 else ())
            for index, entry in enumerate(body["origins"])
        ),
        caching=tuple(_caching(entry) for entry in body.get("caching", ()))
        or (Caching("default", default_ttl, _DEFAULT_RULES),),
        restrictions=tuple(_restriction(entry) for entry in body.get("restrictions", ())),
        log_delivery=body.get("log_delivery", {}).get("enabled", False),
        **codec.values(OptionalFields, body),
    )
    rules.check(spec, shared)
    _check_size(spec, limits)
    return spec


def flavor(document: object) -> Flavor:
    """Validate the body of a flavor. Whether its providers are loaded is not checked here.

    Raises:
        SchemaInvalid: the schema is violated; all violations are listed, up to a limit.
        InvalidRequest: a provider is listed more than once, only some providers have weights, or
            all weights are 0.
    """
    result = Flavor.from_dict(validate(schemas.FLAVOR, document))
    seen: set[str] = set()
    for name in result.provider_names:
        if name in seen:
            raise errors.InvalidRequest(f"Provider {name[:100]!r} is listed more than once")
        seen.add(name)
    weights = [entry.weight for entry in result.providers]
    if None in weights and any(weight is not None for weight in weights):
        missing = result.provider_names[weights.index(None)]
        raise errors.InvalidRequest(f"Provider {missing[:100]!r} has no weight, but others do")
    if not any(weight is None or weight > 0 for weight in weights):
        raise errors.InvalidRequest("All providers have the weight 0")
    return result


def patch(document: object) -> list[dict[str, Any]]:
    """Validate a JSON Patch and return its operations, without members unknown to RFC 6902.

    Raises:
        SchemaInvalid: it is not a JSON Patch; all violations are listed, up to a limit.
    """
    operations: list[dict[str, Any]] = validate(schemas.PATCH, document)
    return [
        {member: operation[member] for member in _PATCH_MEMBERS if member in operation}
        for operation in operations
    ]


def operation_action(document: object) -> Mapping[str, str]:
    """Validate an operator's action on an operation: ``action`` and the operation's key.

    Raises:
        SchemaInvalid: the schema is violated; all violations are listed.
    """
    found: Mapping[str, str] = validate(schemas.OPERATION_ACTION, document)
    return found


def validate(schema: Schema, document: object) -> Any:
    """Validate a document against a schema and return it.

    Raises:
        SchemaInvalid: it is invalid; all violations are listed, up to a limit.
    """
    most = schema.get("maxItems")
    if isinstance(document, list) and most is not None and len(document) > most:
        # Do not validate the entries of a list that is too long.
        raise errors.SchemaInvalid([f"[document]-{_too_many(most, document)}"])
    return _valid(_validator(id(schema), schema), document)


def _validator(key: int, schema: Schema) -> jsonschema.Draft202012Validator:
    # Schemas are constants, so their ids are stable keys. Creating a validator is slow.
    if key not in _VALIDATORS:
        _VALIDATORS[key] = _Validator(schema)
    return _VALIDATORS[key]


def _check_counts(document: object, limits: DocumentLimits) -> None:
    """Check the number of rules first, because the other checks take time for each rule.

    An entry without rules counts as one, for its default rule.
    """
    most_by_list = limits.by_list | limits.by_optional_list | limits.by_object
    counts = dict.fromkeys(most_by_list, 0)
    for name in counts if isinstance(document, Mapping) else ():
        entries = document.get(name)  # type: ignore[attr-defined]
        if isinstance(entries, Mapping):
            entries = [entries]
        for entry in entries if isinstance(entries, list) else ():
            given = entry.get("rules") if isinstance(entry, Mapping) else None
            counts[name] += max(1, len(given)) if isinstance(given, list) else 1
    messages = [
        f"[{name}]-may have {_count(most, 'rule')} or fewer in all entries together, has"
        f" {counts[name]}"
        for name, most in most_by_list.items()
        if counts[name] > most
    ]
    total = sum(counts.values())
    if not messages and total > limits.rules:
        messages = [f"[document]-may have {_count(limits.rules, 'rule')} or fewer, has {total}"]
    if messages:
        raise errors.SchemaInvalid(messages)


def compact(document: object) -> str:
    """Return a document as compact JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _check_size(spec: ServiceSpec, limits: DocumentLimits) -> None:
    size = len(compact(spec.to_dict()).encode("utf-8", "surrogatepass"))
    if size > limits.size:
        raise errors.InvalidRequest(
            f"The document has {size} bytes as compact JSON with all defaults filled in; the limit"
            f" is {limits.size}"
        )


def _origin(entry: Mapping[str, Any], default_rules: tuple[Rule, ...]) -> Origin:
    origin = Origin.from_dict(entry)
    value = origin.hostheadervalue
    return replace(
        origin,
        origin=names.address(origin.origin) or names.canonical(origin.origin),
        port=int(origin.port),
        hostheadervalue=None if value is None else names.canonical(value),
        verify_name=origin.verify_name and names.canonical(origin.verify_name),
        rules=_rules(origin.rules) or default_rules,
    )


def _caching(entry: Mapping[str, Any]) -> Caching:
    caching = Caching.from_dict(entry)
    return replace(caching, ttl=int(caching.ttl), rules=_rules(caching.rules) or _DEFAULT_RULES)


def _restriction(entry: Mapping[str, Any]) -> Restriction:
    """Read a restriction. Older clients send ``type`` for ``access``, or neither (whitelist)."""
    access = entry.get("access", entry.get("type", "whitelist"))
    restriction = Restriction.from_dict({**entry, "access": access})
    return replace(restriction, rules=_rules(restriction.rules))


def _rules(given: Iterable[Rule]) -> tuple[Rule, ...]:
    return tuple(_rule(rule) for rule in given)


def _rule(rule: Rule) -> Rule:
    path = rule.request_url
    if path is None:
        path = _EVERY_PATH
    elif not path.startswith("/"):
        path = f"/{path}"
    referrer = rule.referrer
    if referrer is not None:
        referrer = names.canonical(referrer)
    return replace(rule, request_url=path, referrer=referrer)


def _valid(validator: jsonschema.Draft202012Validator, document: object) -> object:
    """Return the document if it is valid, otherwise raise SchemaInvalid."""
    try:
        breaches = list(itertools.islice(validator.iter_errors(document), _MAX_BREACHES))
    except (ValueError, RecursionError) as exc:
        # Messages quote the value, and Python can't print integers of more than 4,300 digits or
        # deeply nested lists.
        message = "[document]-has a number too long, or nesting too deep, for any field"
        raise errors.SchemaInvalid([message]) from exc
    texts = (_message(breach) for breach in sorted(breaches, key=_position))
    messages = [text for text in texts if text is not None]
    if messages:
        raise errors.SchemaInvalid(messages[:MAX_MESSAGES])
    return document


def _position(breach: jsonschema.ValidationError) -> tuple[list[str], str]:
    """Sort key of violations: by path, with list indices as numbers, then by message."""
    path = [f"{part:06}" if isinstance(part, int) else str(part) for part in breach.absolute_path]
    return path, breach.message


def _message(breach: jsonschema.ValidationError) -> str | None:
    """Return ``[path]-what is wrong``; None if another message covers the violation."""
    reason = _reason(breach)
    if reason is None:
        return None
    if len(reason) > MAX_MESSAGE_LENGTH:
        reason = f"{reason[:100]}...{reason[103 - MAX_MESSAGE_LENGTH :]}"
    path = "".join(f"[{part}]" for part in breach.absolute_path) or "[document]"
    return f"{path}-{reason}"


def _reason(breach: jsonschema.ValidationError) -> str | None:
    value: Any = breach.instance
    limit: Any = breach.validator_value
    quoted = _quoted(breach)
    match breach.validator:
        case "minLength":
            return f"{quoted} is shorter than {_count(limit, 'character')}"
        case "maxLength":
            return f"{quoted} is longer than {_count(limit, 'character')}"
        case "minItems":
            return f"needs {_count(limit, 'entry')} or more, has {len(value)}"
        case "maxItems":
            return _too_many(limit, value)
        case "pattern":
            return f"{quoted} {PATTERNS[limit]}"
        case "oneOf" if isinstance(value, Mapping):
            choices = ", ".join(choice["required"][0] for choice in limit)
            return f"needs exactly one of {choices}"
        case "oneOf":
            return None
        case _:
            return breach.message.replace(repr(value), quoted, 1)


def _quoted(breach: jsonschema.ValidationError) -> str:
    """Return the value for a message, or what it is if it may be or contain a secret."""
    value, text = breach.instance, repr(breach.instance)
    secretive = bool(SECRETIVE & set(breach.absolute_path))
    if isinstance(value, dict | list) and (secretive or ("{" in text and value)):
        return "an object" if isinstance(value, dict) else "a list"
    return "the value" if secretive else text


def _too_many(limit: int, value: Collection[object]) -> str:
    return f"may have {_count(limit, 'entry')} or fewer, has {len(value)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {_PLURALS[noun]}"
