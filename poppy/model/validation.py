# SPDX-License-Identifier: Apache-2.0
"""From a request body to typed values: schema first, then defaults, then the other rules."""

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import jsonschema

from poppy.common import errors
from poppy.model import names, rules, schemas
from poppy.model.flavors import Flavor
from poppy.model.limits import DocumentLimits
from poppy.model.services import Caching, Domain, Origin, Restriction, Rule, ServiceSpec

MAX_MESSAGES = 20
MAX_MESSAGE_LENGTH = 200

# Breaches that are looked at to list the first few of them in order.
_MAX_BREACHES = 500


def _unique_items(
    validator: object, wanted: bool, value: object, schema: schemas.Schema
) -> Iterator[jsonschema.ValidationError]:
    """``uniqueItems``; jsonschema's own compares each object with each other."""
    if wanted and isinstance(value, list):
        texts = {json.dumps(entry, sort_keys=True) for entry in value}
        if len(texts) < len(value):
            yield jsonschema.ValidationError("has an entry more than once")


def _items(
    validator: jsonschema.Draft202012Validator,
    items: schemas.Schema,
    value: object,
    schema: schemas.Schema,
) -> Iterator[jsonschema.ValidationError]:
    """``items``, but of no list with too many: what else is wrong with those does not matter."""
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
    """The service that a POST body, or the outcome of a PATCH, asks for.

    Every default is written out, and what can be said in several ways is said in one: paths
    begin with a slash; host names except domains are in lower case (a domain that is not is
    refused); addresses of origins are in their shortest form. So the spec's own document is
    accepted again and gives an equal spec.

    Args:
        document: any JSON value.
        default_ttl: seconds to cache for where the document does not say.
        shared: full names of shared domains that the service has already; they are taken as
            they are, while a new shared domain is a single label.
        limits: how many rules and bytes the document may have.

    Raises:
        SchemaInvalid: the schema is broken; all breaches are listed, up to a limit.
        InvalidRequest: a rule that no schema can express is broken; names the offender.
    """
    _check_counts(document, limits)
    body: Mapping[str, Any] = keeping_to(schemas.service(limits), document)
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
    )
    rules.check(spec, shared)
    _check_size(spec, limits)
    return spec


def flavor(document: object) -> Flavor:
    """The flavor that a POST body asks for; whether its providers are loaded is not known here.

    Raises:
        SchemaInvalid: the schema is broken; all breaches are listed, up to a limit.
        InvalidRequest: a provider is listed more than once; some have weights and others none,
            or all weigh nothing.
    """
    result = Flavor.from_dict(keeping_to(schemas.FLAVOR, document))
    seen: set[str] = set()
    for name in result.provider_names:
        if name in seen:
            raise errors.InvalidRequest(f"Provider {name[:100]!r} is listed more than once")
        seen.add(name)
    weights = [entry.weight for entry in result.providers]
    if None in weights and any(weight is not None for weight in weights):
        missing = result.provider_names[weights.index(None)]
        raise errors.InvalidRequest(f"Provider {missing[:100]!r} has no weight, but others have")
    if not any(weight is None or weight > 0 for weight in weights):
        raise errors.InvalidRequest("All providers have the weight 0")
    return result


def patch(document: object) -> list[dict[str, Any]]:
    """The operations of a JSON Patch document, without members that RFC 6902 does not know.

    Raises:
        SchemaInvalid: it is no JSON Patch; all breaches are listed, up to a limit.
    """
    operations: list[dict[str, Any]] = keeping_to(schemas.PATCH, document)
    return [
        {member: operation[member] for member in _PATCH_MEMBERS if member in operation}
        for operation in operations
    ]


def operation_action(document: object) -> Mapping[str, str]:
    """What an operator wants done about an operation: ``action``, and where it is.

    Raises:
        SchemaInvalid: the schema is broken; all breaches are listed.
    """
    found: Mapping[str, str] = keeping_to(schemas.OPERATION_ACTION, document)
    return found


def keeping_to(schema: schemas.Schema, document: object) -> Any:
    """A document that keeps to a schema.

    Raises:
        SchemaInvalid: it does not; all breaches are listed, up to a limit.
    """
    most = schema.get("maxItems")
    if isinstance(document, list) and most is not None and len(document) > most:
        # Nobody needs to know what else is wrong with that many.
        raise errors.SchemaInvalid([f"[document]-{_too_many(most, document)}"])
    return _valid(_validator(id(schema), schema), document)


def _validator(key: int, schema: schemas.Schema) -> jsonschema.Draft202012Validator:
    # Schemas are constants, and so are their ids; to make a validator takes a while.
    if key not in _VALIDATORS:
        _VALIDATORS[key] = _Validator(schema)
    return _VALIDATORS[key]


def _check_counts(document: object, limits: DocumentLimits) -> None:
    """Count the rules before anything else is looked at, which takes time for each of them.

    An entry without rules has the default rule.
    """
    counts = dict.fromkeys(limits.by_list, 0)
    for name in counts if isinstance(document, Mapping) else ():
        entries = document.get(name)  # type: ignore[attr-defined]
        for entry in entries if isinstance(entries, list) else ():
            given = entry.get("rules") if isinstance(entry, Mapping) else None
            counts[name] += max(1, len(given)) if isinstance(given, list) else 1
    messages = [
        f"[{name}]-may have {_count(most, 'rule')} or fewer in all entries together, has"
        f" {counts[name]}"
        for name, most in limits.by_list.items()
        if counts[name] > most
    ]
    total = sum(counts.values())
    if not messages and total > limits.rules:
        messages = [f"[document]-may have {_count(limits.rules, 'rule')} or fewer, has {total}"]
    if messages:
        raise errors.SchemaInvalid(messages)


def compact(document: object) -> str:
    """A document as the shortest JSON text."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _check_size(spec: ServiceSpec, limits: DocumentLimits) -> None:
    size = len(compact(spec.to_dict()).encode("utf-8", "surrogatepass"))
    if size > limits.size:
        raise errors.InvalidRequest(
            f"The document has {size} bytes as compact JSON with every default written out; it may"
            f" have {limits.size}"
        )


def _origin(entry: Mapping[str, Any], default_rules: tuple[Rule, ...]) -> Origin:
    origin = Origin.from_dict(entry)
    value = origin.hostheadervalue
    return replace(
        origin,
        origin=names.address(origin.origin) or names.canonical(origin.origin),
        port=int(origin.port),
        hostheadervalue=None if value is None else names.canonical(value),
        rules=_rules(origin.rules) or default_rules,
    )


def _caching(entry: Mapping[str, Any]) -> Caching:
    caching = Caching.from_dict(entry)
    return replace(caching, ttl=int(caching.ttl), rules=_rules(caching.rules) or _DEFAULT_RULES)


def _restriction(entry: Mapping[str, Any]) -> Restriction:
    """Older clients say ``type`` for ``access``, or say neither and mean a whitelist."""
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
    """The document, which keeps to the schema."""
    try:
        breaches = list(itertools.islice(validator.iter_errors(document), _MAX_BREACHES))
    except (ValueError, RecursionError) as exc:
        # Messages quote what is wrong, and Python prints neither integers of more than 4,300
        # digits nor lists within lists without end.
        message = "[document]-has a number too long, or nesting too deep, for any field"
        raise errors.SchemaInvalid([message]) from exc
    texts = (_message(breach) for breach in sorted(breaches, key=_position))
    messages = [text for text in texts if text is not None]
    if messages:
        raise errors.SchemaInvalid(messages[:MAX_MESSAGES])
    return document


def _position(breach: jsonschema.ValidationError) -> tuple[list[str], str]:
    """Orders breaches by path, with list indices as numbers, then by message."""
    path = [f"{part:06}" if isinstance(part, int) else str(part) for part in breach.absolute_path]
    return path, breach.message


def _message(breach: jsonschema.ValidationError) -> str | None:
    """``[path]-what is wrong``; None for what another message says better."""
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
    match breach.validator:
        case "minLength":
            return f"{value!r} is shorter than {_count(limit, 'character')}"
        case "maxLength":
            return f"{value!r} is longer than {_count(limit, 'character')}"
        case "minItems":
            return f"needs {_count(limit, 'entry')} or more, has {len(value)}"
        case "maxItems":
            return _too_many(limit, value)
        case "pattern":
            return f"{value!r} {schemas.PATTERNS[limit]}"
        case "oneOf" if isinstance(value, Mapping):
            choices = ", ".join(choice["required"][0] for choice in limit)
            return f"needs exactly one of {choices}"
        case "oneOf":
            return None
        case _:
            return breach.message


def _too_many(limit: int, value: Collection[object]) -> str:
    return f"may have {_count(limit, 'entry')} or fewer, has {len(value)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {_PLURALS[noun]}"
