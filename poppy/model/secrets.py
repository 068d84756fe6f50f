# SPDX-License-Identifier: Apache-2.0
"""Secrets in documents, which tenants can write but not read."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from poppy.model.schema_parts import FINGERPRINT, Schema, text

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret of a service. Two are equal if they have the same fingerprint.

    Attributes:
        fingerprint: what GET shows, 8 hexadecimal digits; empty if the secret is not sealed yet.
            A request may have it in place of a secret that is stored.
        sealed: the secret as :class:`poppy.common.vault.Vault` encrypts it, for the purpose
            :func:`purpose`; empty in a request.
        text: a new secret of a request, which is sealed before anything else happens.
    """

    fingerprint: str = ""
    sealed: str = field(default="", repr=False, compare=False)
    text: str = field(default="", repr=False)

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read a secret of a request, or one that :meth:`stored` has written."""
        if isinstance(value, Mapping):
            return cls(value["fingerprint"], value.get("sealed", ""))
        return cls(text=value)

    def shown(self) -> dict[str, Any]:
        """Return what GET shows."""
        return {"set": True, "fingerprint": self.fingerprint}

    def stored(self) -> dict[str, Any]:
        """Return what the store has.

        Raises:
            ValueError: it is not sealed.
        """
        if not self.sealed:
            raise ValueError("A secret that is not sealed can't be stored")
        return {"fingerprint": self.fingerprint, "sealed": self.sealed}

    def carried(self) -> Any:
        """Return what a program has: the text for nodes, and what is stored before that."""
        return self.text or self.stored()


#: The schema of a secret in a request.
SCHEMA: Schema = {
    **text("A secret; or, to keep the stored one, what GET shows.", 1, 4096),
    "type": ["string", "object"],
    "properties": {
        "set": {"description": "Whether it is set.", "const": True},
        "fingerprint": {
            "type": "string",
            "description": "Tells the secrets of a service apart.",
            "pattern": FINGERPRINT,
        },
    },
    "required": ["set", "fingerprint"],
    "additionalProperties": False,
}


def purpose(service_id: str) -> str:
    """Return the purpose for which the secrets of a service are sealed."""
    return f"service {service_id}"


def secrets_of(value: Any) -> Iterator[Secret]:
    """Yield the secrets of a dataclass, such as a service document."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, tuple):
        for entry in value:
            yield from secrets_of(entry)
    elif dataclasses.is_dataclass(value):
        for it in dataclasses.fields(value):
            yield from secrets_of(getattr(value, it.name))


def with_secrets(value: T, change: Callable[[Secret], Secret]) -> T:
    """Return a copy of a dataclass with other secrets."""
    changed: Any = value
    if isinstance(value, Secret):
        changed = change(value)
    elif isinstance(value, tuple):
        changed = tuple(with_secrets(entry, change) for entry in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [it.name for it in dataclasses.fields(value) if it.init]
        values = {name: with_secrets(getattr(value, name), change) for name in names}
        changed = dataclasses.replace(value, **values)
    return changed  # type: ignore[no-any-return]
