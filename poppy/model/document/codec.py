# SPDX-License-Identifier: Apache-2.0
"""JSON, JSON Schemas and needed capabilities of dataclasses, by their annotations.

A field's annotation has its type and, with ``Annotated``, a part of its schema and the capability
that it needs::

    status: Annotated[Literal[301, 302] | None, {"description": "..."}, Capability.X] = None

Types are bool, int, str, Literal, Secret, other such dataclasses, mappings of strings, tuples of
these, and Any for JSON that the schema describes. A field without a default is required. A field
that is None is not set: it is missing in JSON. A capability is needed if the value is set and not
False; a mapping names it by value.
"""

import dataclasses
import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from poppy.model import secrets
from poppy.model.capabilities import Capability
from poppy.model.schema_parts import Schema, record
from poppy.model.secrets import Secret

T = TypeVar("T")


class Member(NamedTuple):
    """A field of a dataclass.

    Attributes:
        kind: its type, without None.
        schema: the JSON Schema of its values.
        needs: a capability, or capabilities by value.
    """

    name: str
    kind: Any
    schema: Schema
    required: bool
    needs: Capability | Mapping[Any, Capability]

    def needed(self, value: Any) -> Capability | None:
        """Return the capability that a value needs."""
        if isinstance(self.needs, Capability):
            return None if value is False else self.needs
        return self.needs.get(value) if self.needs else None


@functools.cache
def members(cls: type) -> tuple[Member, ...]:
    """Return the fields of a dataclass."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(_member(it, hints[it.name]) for it in dataclasses.fields(cls))


def schema(cls: type) -> Schema:
    """Return a new schema of a dataclass, with its name as the title."""
    found = members(cls)
    required = tuple(it.name for it in found if it.required)
    return record(cls.__name__, {it.name: it.schema for it in found}, required)


def read(cls: type[T], document: Mapping[str, Any]) -> T:
    """Return the dataclass of an object that matches the schema; unknown keys are ignored."""
    return cls(**values(cls, document))


def values(cls: type, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of a dataclass, as for :func:`read`."""
    return {
        it.name: _read(it.kind, document[it.name]) for it in members(cls) if it.name in document
    }


def write(
    value: Any, cls: type | None = None, secret: Callable[[Secret], Any] = Secret.shown
) -> Any:
    """Return JSON that :func:`read` reads.

    Args:
        value: a dataclass, or any value of a field.
        cls: the base class with the fields to write; by default, all fields are written.
        secret: how to write secrets; :func:`read` does not read them as they are shown.
    """
    if isinstance(value, Secret):
        return secret(value)
    if dataclasses.is_dataclass(value):
        return {
            it.name: write(getattr(value, it.name), secret=secret)
            for it in members(cls or type(value))
            if getattr(value, it.name) is not None
        }
    if isinstance(value, tuple):
        return [write(entry, secret=secret) for entry in value]
    return dict(value) if isinstance(value, Mapping) else value


def needs(value: Any, cls: type | None = None, path: str = "") -> Iterator[tuple[Capability, str]]:
    """Yield each capability that a dataclass needs, with the path of the field that needs it.

    Args:
        value: a dataclass, or any value of a field.
        cls: as for :func:`write`.
        path: the path of the value.
    """
    if dataclasses.is_dataclass(value):
        for it in members(cls or type(value)):
            field = getattr(value, it.name)
            if field is None:
                continue
            place = f"{path}.{it.name}" if path else it.name
            capability = it.needed(field)
            if capability is not None:
                yield capability, place
            yield from needs(field, path=place)
    elif isinstance(value, tuple):
        for number, entry in enumerate(value):
            yield from needs(entry, path=f"{path}[{number}]")


def _member(field: "dataclasses.Field[Any]", hint: Any) -> Member:
    parts: Schema = {}
    capability: Capability | Mapping[Any, Capability] = {}
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        for extra in extras:
            if isinstance(extra, Capability) or isinstance(next(iter(extra.values())), Capability):
                capability = extra
            else:
                parts = extra
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (it for it in get_args(hint) if it is not types.NoneType)
    is_required = field.default is dataclasses.MISSING
    return Member(field.name, hint, _schema(hint) | parts, is_required, capability)


_SCALARS = {bool: "boolean", int: "integer", str: "string"}


def _schema(kind: Any) -> Schema:
    if kind is Secret:
        return secrets.SCHEMA
    if dataclasses.is_dataclass(kind):
        return schema(kind)  # type: ignore[arg-type]
    if kind is Any:
        return {}
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0])}
    return {"type": "object"}


def _read(kind: Any, value: Any) -> Any:
    if kind is Secret:
        return Secret.read(value)
    if dataclasses.is_dataclass(kind):
        return read(kind, value)  # type: ignore[arg-type]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return next(it for it in arguments if it == value)
    if origin is tuple:
        return tuple(_read(arguments[0], entry) for entry in value)
    if origin is not None:
        return dict(value)
    # JSON's 1.0 is an integer.
    return int(value) if kind is int else value
