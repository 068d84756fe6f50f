# SPDX-License-Identifier: Apache-2.0
"""Bringing a service's active version to what it should be, from any half-made state.

A version that was activated is locked for good. So a change is made in a draft: a clone of the
active version, which is compared with what is wanted, edited, compared again, validated, and
activated at once. It is one loop of looking and doing the next thing, so that it goes on from
wherever an earlier run, or another worker, got to.

A draft says in its comment which objects it is for. A run uses a draft of its own comment only:
two workers with the same document help each other, and two with different ones don't mix theirs.
What another document left half made is never touched, nor activated.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from oslo_log import log

from poppy.common.errors import PermanentError, RetryableError
from poppy.provider.fastly.api import API, Document
from poppy.provider.fastly.configuration import Objects, digest

LOG = log.getLogger(__name__)

#: Where a version's document has the objects of a kind.
_PLURALS = {
    "domain": "domains",
    "condition": "conditions",
    "backend": "backends",
    "cache_settings": "cache_settings",
    "response_object": "response_objects",
    "snippet": "snippets",
}
#: A run without interference needs three.
_ROUNDS = 10
_AGAIN = 5.0  # Seconds.


class Change(NamedTuple):
    """One difference between a version and what it should be.

    Attributes:
        fields: None for an object that should not be there.
        new: whether there is no such object yet.
    """

    kind: str
    name: str
    fields: Mapping[str, str] | None
    new: bool = False


def changes(version: Document, objects: Objects) -> list[Change]:
    """What makes a version have just these objects, in an order in which it can be done."""
    surplus, lacking = [], []
    for kind, wanted in objects.items():
        there = {entry["name"]: entry for entry in version.get(_PLURALS[kind]) or ()}
        surplus += [Change(kind, name, None) for name in there if name not in wanted]
        for name, fields in wanted.items():
            if name not in there:
                lacking.append(Change(kind, name, fields, new=True))
            elif any(_text(there[name].get(field)) != fields[field] for field in fields):
                lacking.append(Change(kind, name, fields))
    # What refers to a condition goes before it.
    return [*reversed(surplus), *lacking]


class Versions:
    """The versions of services, through the API."""

    def __init__(self, api: API) -> None:
        self._api = api

    def converge(self, service: str, objects: Objects) -> None:
        """Have these objects serve; nothing is written where they do.

        Raises:
            RetryableError: also when others keep changing the service meanwhile.
            PermanentError: Fastly refuses something; what served goes on serving.
        """
        mark = f"poppy {digest(objects)}"
        done: tuple[int, list[Change]] | None = None
        for _ in range(_ROUNDS):
            details = self._details(service)
            active = details.get("active_version")
            if active and not changes(active, objects):
                return
            number = self._draft(service, details, mark)
            if number is None:
                continue
            draft = self._details(service, number)["version"]
            todo = changes(draft, objects)
            if done == (number, todo) and todo:
                raise RetryableError(_unstable(todo[0], draft))
            if todo:
                self._edit(service, number, todo)
                done = (number, todo)
            else:
                self._activate(service, number)
        raise RetryableError(
            f"Fastly's service {service} was changed by others meanwhile", retry_after=_AGAIN
        )

    def serves(self, service: str, objects: Objects) -> bool:
        """Whether the active version has just these objects."""
        active = (self._api.details(service) or {}).get("active_version")
        return active is not None and not changes(active, objects)

    def stop(self, service: str) -> None:
        """Have nothing served, so that the service can be deleted; fine if there is none."""
        active = self._serving(service)
        if active is None:
            return
        try:
            self._api.deactivate(service, active)
        except PermanentError:
            # Fine if another worker was faster.
            if self._serving(service) == active:
                raise

    def _serving(self, service: str) -> int | None:
        """The number of the active version; None if there is none, or no service."""
        active = (self._api.details(service) or {}).get("active_version")
        return int(active["number"]) if active else None

    def _details(self, service: str, version: int | None = None) -> Document:
        details = self._api.details(service, version)
        if details is None:
            raise RetryableError(f"Fastly's service {service} went away", retry_after=_AGAIN)
        return details

    def _draft(self, service: str, details: Document, mark: str) -> int | None:
        """A version that can be edited and is for these objects; None to look again."""
        there = list(_living(details))
        if not there:
            raise PermanentError(f"Fastly's service {service} has no version left")
        open_ones = [entry for entry in there if not entry["locked"]]
        mine = [entry for entry in open_ones if entry["comment"] == mark]
        if mine:
            return max(int(entry["number"]) for entry in mine)
        if len(there) == 1 and open_ones and not open_ones[0]["comment"]:
            number = int(there[0]["number"])  # What a new service has.
        else:
            active = details.get("active_version")
            base = active or max(there, key=lambda entry: int(entry["number"]))
            number = self._api.clone(service, int(base["number"]))
        try:
            self._api.comment(service, number, mark)
        except PermanentError:
            if self._api.is_locked(service, number):
                return None
            raise
        return number

    def _edit(self, service: str, number: int, todo: list[Change]) -> None:
        """Do the changes, or those that are left until somebody else activates the draft."""
        for change in todo:
            LOG.debug("fastly: %s/%s: %s '%s'", service, number, change.kind, change.name)
            try:
                self._do(service, number, change)
            except PermanentError as exc:
                if self._api.is_locked(service, number):
                    return
                raise _readable(change, exc) from exc

    def _do(self, service: str, number: int, change: Change) -> None:
        if change.fields is None:
            self._api.delete(service, number, change.kind, change.name)
        elif change.new:
            self._api.create(service, number, change.kind, change.fields)
        else:
            self._api.update(service, number, change.kind, change.name, change.fields)

    def _activate(self, service: str, number: int) -> None:
        wrong = self._api.validate(service, number)
        if wrong is not None:
            raise PermanentError(f"Fastly refuses the service: {wrong}")
        try:
            self._api.activate(service, number)
        except PermanentError:
            # Another worker was faster; else the refusal is about what the draft says.
            if self._serving(service) != number:
                raise


def _living(details: Document) -> Iterator[Document]:
    for entry in details["versions"]:
        if not entry.get("deleted_at"):
            yield {**entry, "comment": entry.get("comment") or ""}


def _text(value: object) -> str:
    """A value as it is written in a form, however the API gives it back."""
    if value is None or isinstance(value, bool):
        return "1" if value else ("0" if value is False else "")
    return str(value).replace("\r\n", "\n")


def _readable(change: Change, refusal: PermanentError) -> PermanentError:
    if change.kind == "domain" and "another customer" in str(refusal):
        return PermanentError(
            f"Domain {change.name} belongs to another customer of Fastly: its owner has to remove "
            "it there, or to show Fastly's support whose it is"
        )
    return refusal


def _unstable(change: Change, draft: Document) -> str:
    """For an operator: the API gives back another value than it was given."""
    there = {entry["name"]: entry for entry in draft.get(_PLURALS[change.kind]) or ()}
    fields = change.fields or {}
    differing = [
        field for field in fields if _text(there.get(change.name, {}).get(field)) != fields[field]
    ]
    return f"Fastly does not keep {change.kind} '{change.name}' as it was written" + (
        f" ({', '.join(differing)})" if differing else ""
    )
