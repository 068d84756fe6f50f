# SPDX-License-Identifier: Apache-2.0
"""Converge a service's active version to the wanted objects, from any intermediate state.

An activated version is locked permanently. So a change is made in a draft, a clone of the active
version, which is compared with the wanted objects, edited, compared again, validated and
activated. One loop reads the state and takes the next step, so it continues where an earlier run
or another worker stopped.

The comment of a draft identifies its wanted objects. A run uses only drafts with its own comment:
workers with the same document cooperate, and workers with different documents do not interfere.
Unfinished drafts of other documents are never changed or activated.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from oslo_log import log

from poppy.common import inspection
from poppy.common.errors import PermanentError, RetryableError
from poppy.provider.fastly import dictionaries, logging
from poppy.provider.fastly.api import API, Document
from poppy.provider.fastly.configuration import Objects, digest

LOG = log.getLogger(__name__)

#: Keys of the objects of each kind in a version's document.
_PLURALS = {
    dictionaries.KIND: "dictionaries",
    "domain": "domains",
    "condition": "conditions",
    "backend": "backends",
    "cache_settings": "cache_settings",
    "response_object": "response_objects",
    "snippet": "snippets",
    logging.KIND: "s3s",
}
#: Kinds that a version's document does not have, so they are listed separately.
_LISTED = (dictionaries.KIND, logging.KIND)
#: Fields that Fastly does not change: https://www.fastly.com/documentation/reference/api/vcl-services.
_FIXED = {
    dictionaries.KIND: ("write_only",),
    "condition": ("type",),
    "snippet": ("type", "dynamic"),
}
#: Objects to name in a message.
_SHOWN = 5
#: Maximum rounds; a run without interference needs three.
_ROUNDS = 10
_AGAIN = 5.0  # Seconds.


class Change(NamedTuple):
    """A change of one object of a version.

    Attributes:
        fields: the wanted fields; None to delete the object.
        new: whether to create the object.
    """

    kind: str
    name: str
    fields: Mapping[str, str] | None
    new: bool = False


def changes(version: Document, objects: Objects) -> list[Change]:
    """Return the changes that give a version exactly these objects, in a valid order."""
    surplus, lacking = [], []
    for kind, wanted in objects.items():
        there = {entry["name"]: entry for entry in version.get(_PLURALS[kind]) or ()}
        own = (name for name in there if _is_own(kind, name))
        surplus += [Change(kind, name, None) for name in own if name not in wanted]
        for name, fields in wanted.items():
            if name not in there:
                lacking.append(Change(kind, name, fields, new=True))
                continue
            differing = _differing(there[name], fields)
            if any(field in _FIXED.get(kind, ()) for field in differing):
                surplus.append(Change(kind, name, None))
                lacking.append(Change(kind, name, fields, new=True))
            elif differing:
                lacking.append(Change(kind, name, fields))
    # Delete objects before the conditions that they refer to.
    return [*reversed(surplus), *lacking]


def _is_own(kind: str, name: str) -> bool:
    """Return whether Poppy made an object; the operator may have made others of some kinds."""
    if kind == logging.KIND:
        return name == logging.NAME
    return kind != dictionaries.KIND or name.startswith(dictionaries.PREFIX)


class Versions:
    """The versions of Fastly services."""

    def __init__(self, api: API) -> None:
        self._api = api

    def converge(
        self, service: str, objects: Objects, items: Mapping[str, str] | None = None
    ) -> None:
        """Activate a version with these objects; write nothing if one is active.

        Args:
            service: the id of the Fastly service.
            objects: the wanted objects.
            items: the items of the dictionary in ``objects``.

        Raises:
            RetryableError: also if other workers keep changing the service.
            PermanentError: Fastly refuses an object; the previous version stays active.
        """
        mark = f"poppy {digest(objects)}"
        done: tuple[int, list[Change]] | None = None
        for _ in range(_ROUNDS):
            details = self._details(service)
            active = self._whole(service, details.get("active_version"))
            differing = changes(active or {}, objects)
            if active and not differing:
                return
            inspection.differs(_told(differing))
            number = self._draft(service, details, mark)
            if number is None:
                continue
            draft = self._whole(service, self._details(service, number)["version"]) or {}
            todo = changes(draft, objects)
            if done == (number, todo) and todo:
                raise RetryableError(_unstable(todo[0], draft))
            if todo:
                self._edit(service, number, todo)
                done = (number, todo)
            else:
                self._fill(service, draft, objects, items or {})
                self._activate(service, number)
        raise RetryableError(
            f"Fastly's service {service} was changed concurrently", retry_after=_AGAIN
        )

    def serves(self, service: str, objects: Objects) -> bool:
        """Return whether the active version has exactly these objects."""
        active = (self._api.details(service) or {}).get("active_version")
        whole = self._whole(service, active)
        return whole is not None and not changes(whole, objects)

    def stop(self, service: str) -> None:
        """Deactivate the service, so that it can be deleted. Ignore a missing one."""
        active = self._serving(service)
        if active is None:
            return
        try:
            self._api.deactivate(service, active)
        except PermanentError:
            # Another worker may have been faster.
            if self._serving(service) == active:
                raise

    def _serving(self, service: str) -> int | None:
        """Return the number of the active version; None without one, or without the service."""
        active = (self._api.details(service) or {}).get("active_version")
        return int(active["number"]) if active else None

    def _whole(self, service: str, version: Document | None) -> Document | None:
        """Return a version with the objects that Fastly lists separately."""
        if version is None:
            return None
        number = int(version["number"])
        return version | {
            _PLURALS[kind]: self._api.listed(service, number, kind) for kind in _LISTED
        }

    def _fill(
        self, service: str, draft: Document, objects: Objects, items: Mapping[str, str]
    ) -> None:
        """Write the items of the dictionary, before a version with it is activated."""
        for entry in draft[_PLURALS[dictionaries.KIND]]:
            if entry["name"] in objects[dictionaries.KIND]:
                self._api.put_items(service, str(entry["id"]), items)

    def _details(self, service: str, version: int | None = None) -> Document:
        details = self._api.details(service, version)
        if details is None:
            raise RetryableError(f"Fastly's service {service} disappeared", retry_after=_AGAIN)
        return details

    def _draft(self, service: str, details: Document, mark: str) -> int | None:
        """Return an editable version for these objects; None to read the state again."""
        there = list(_living(details))
        if not there:
            raise PermanentError(f"Fastly's service {service} has no version left")
        open_ones = [entry for entry in there if not entry["locked"]]
        mine = [entry for entry in open_ones if entry["comment"] == mark]
        if mine:
            return max(int(entry["number"]) for entry in mine)
        if len(there) == 1 and open_ones and not open_ones[0]["comment"]:
            number = int(there[0]["number"])  # The empty version of a new service.
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
        """Make the changes; stop if another worker activates the draft."""
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
            # Ignore the refusal if another worker has activated the draft.
            if self._serving(service) != number:
                raise


def _told(differing: list[Change]) -> str:
    """Return the words for an active version that differs, such as after a manual change."""
    names = ", ".join(f"{it.kind} '{it.name}'" for it in differing[:_SHOWN])
    more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    return f"the active version differs in {names}{more}"


def _living(details: Document) -> Iterator[Document]:
    for entry in details["versions"]:
        if not entry.get("deleted_at"):
            yield {**entry, "comment": entry.get("comment") or ""}


def _text(value: object) -> str:
    """Return a value of the API in the format in which it is sent."""
    if value is None or isinstance(value, bool):
        return "1" if value else ("0" if value is False else "")
    return str(value).replace("\r\n", "\n")


def _differing(there: Document, fields: Mapping[str, str]) -> list[str]:
    return [field for field in fields if _text(there.get(field)) != fields[field]]


def _readable(change: Change, refusal: PermanentError) -> PermanentError:
    if change.kind == "domain" and "another customer" in str(refusal):
        return PermanentError(
            f"Domain {change.name} belongs to another customer of Fastly: its owner must remove "
            "it there, or prove ownership to Fastly's support"
        )
    return refusal


def _unstable(change: Change, draft: Document) -> str:
    """Return the operator's message: the API returns another value than was written."""
    there = {entry["name"]: entry for entry in draft.get(_PLURALS[change.kind]) or ()}
    differing = _differing(there.get(change.name, {}), change.fields or {})
    return f"Fastly does not store {change.kind} '{change.name}' as written" + (
        f" ({', '.join(differing)})" if differing else ""
    )
