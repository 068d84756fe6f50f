# SPDX-License-Identifier: Apache-2.0
"""The changes that the nodes' API answers with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from poppy.common import errors
from poppy.edge.program import Program
from poppy.model.purges import MAX_TAG, MAX_TARGETS, MAX_URL, Purge

MAX_REVISION = 2**63 - 1

#: Maximum characters of a purge's URL, and of an ETag.
_MAX_URL = 8192
_MAX_ETAG = 512
_MAX_SERVICE_ID = 64


#: Fields of a purge with another scope than ``url``.
_SCOPES = {"urls", "tags", "prefix", "host"}


def read_purge(document: Any) -> Purge:
    """Check a JSON object and return its purge.

    Raises:
        ValueError: it is no purge, or one of a newer version; the message names the field.
    """
    if not isinstance(document, dict):
        raise ValueError("the purge is no JSON object")
    url, hard = document.get("url"), document.get("hard")
    if not (url is None or _is_path(url, _MAX_URL)):
        raise ValueError(f"the purge's url is {url!r:.80}")
    if not isinstance(hard, bool):
        raise ValueError(f"the purge's hard is {hard!r:.80}")
    unknown = document.keys() - _SCOPES - {"url", "hard"}
    if unknown:
        raise ValueError(f"the purge has the unknown field {min(unknown)!r:.80}")
    scope = {name: _scope(name, document[name]) for name in _SCOPES if name in document}
    if len(scope) > 1 or (scope and url is not None):
        raise ValueError("the purge has several scopes")
    if "urls" in scope:
        first, *more = scope["urls"]
        return Purge(first, hard, tuple(more))
    return Purge.from_dict({"url": url, "hard": hard, **scope})


def _scope(name: str, value: Any) -> Any:
    """Check the scope of a purge or prewarm, and return it."""
    words = value if name in ("urls", "tags") else [value]
    if not isinstance(words, list) or not 0 < len(words) <= MAX_TARGETS:
        raise ValueError(f"the {name} is {value!r:.80}")
    is_valid = _is_path if name in ("urls", "prefix") else _is_word
    for word in words:
        if not is_valid(word):
            raise ValueError(f"the {name} is {word!r:.80}")
    return value


def _is_path(value: Any, most: int = MAX_URL + 1) -> bool:
    return isinstance(value, str) and value[:1] == "/" and len(value) <= most


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TAG


class Prewarm(NamedTuple):
    """Paths of a service to fetch."""

    paths: tuple[str, ...]

    @classmethod
    def read(cls, document: Any) -> Self:
        """Check a JSON object and return its prewarm.

        Raises:
            ValueError: it is no prewarm, or one of a newer version.
        """
        if not isinstance(document, dict) or document.keys() != {"urls"}:
            raise ValueError("the prewarm has not just the field urls")
        return cls(tuple(_scope("urls", document["urls"])))


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a service. Only :meth:`body` checks its content, so that it fails alone."""

    revision: int
    service_id: str
    document: Mapping[str, Any]

    def body(self) -> Program | Purge | Prewarm | None:
        """Return the new program, the purge, the prewarm, or None if the service was withdrawn.

        Raises:
            ValueError: the change is invalid, or of a newer version.
        """
        if "purge" in self.document:
            return read_purge(self.document["purge"])
        if "prewarm" in self.document:
            return Prewarm.read(self.document["prewarm"])
        if "program" not in self.document:
            raise ValueError("the change has neither a program nor a purge")
        document = self.document["program"]
        if document is None:
            return None
        program = Program.from_dict(document)
        if program.service_id != self.service_id:
            raise ValueError(f"the program belongs to the service {program.service_id}")
        return program


class Page(NamedTuple):
    """Changes in order.

    Attributes:
        revision: the revision that a node has reached once it has applied the page.
        head: the newest revision.
        changes: those after the node's revision and up to this one.
        etag: for the next request; None unless the page ends at the head.
    """

    revision: int
    head: int
    changes: tuple[Change, ...]
    etag: str | None

    @classmethod
    def read(cls, after: int, document: Mapping[str, Any], etag: str | None) -> Self:
        """Check the response to a request for the changes after a revision.

        Raises:
            Gone: the newest revision is older than ``after``.
            Unavailable: the response is invalid.
        """
        head = _number(document, "head", 0)
        if head < after:
            # The API's store was restored from a backup, or is another one.
            raise errors.Gone(f"the newest revision is {head}, before {after}")
        revision = _number(document, "revision", after, head)
        if revision == after < head:
            raise errors.Unavailable("the response leaves out the newer changes")
        entries = document.get("changes")
        if not isinstance(entries, list):
            raise unexpected("changes")
        changes: list[Change] = []
        for entry in entries:
            changes.append(_change(entry, changes[-1].revision if changes else after, revision))
        if revision != head or (etag and len(etag) > _MAX_ETAG):
            etag = None
        return cls(revision, head, tuple(changes), etag)


def unexpected(field: str) -> errors.Unavailable:
    """Return the error for a response with an invalid or missing field."""
    return errors.Unavailable(f"the response has no valid {field}")


def _change(entry: Any, previous: int, last: int) -> Change:
    if not isinstance(entry, dict):
        raise unexpected("changes")
    service = entry.get("service_id")
    if not isinstance(service, str) or not 0 < len(service) <= _MAX_SERVICE_ID:
        raise unexpected("service_id")
    return Change(_number(entry, "revision", previous + 1, last), service, entry)


def _number(document: Mapping[str, Any], name: str, least: int, most: int = MAX_REVISION) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise unexpected(name)
    return value
