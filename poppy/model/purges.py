# SPDX-License-Identifier: Apache-2.0
"""Purges: which cached content of a service to remove."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from poppy.common import errors
from poppy.model import paths

MAX_PATHS = 20
"""Paths of a purge by joined requests, or at providers that take one path at a time. All of their
calls are one step, which has a time limit."""

MAX_TARGETS = 100
"""Paths or tags of a request."""

MAX_URL = 2048
"""Characters of a path with its query."""

MAX_TAG = 256
"""Characters of a tag. CloudFront has the lowest limit of the providers with tags."""

MAX_PREFIX, MAX_LEVELS = 255, 8
"""Characters and directories of a prefix. Edges mark each object with its directories, and this
limits how many."""

_PATH = re.compile(r"[\x21-\x7e]+")
_SCHEME = re.compile(r"/*[A-Za-z][A-Za-z0-9+.-]*://")
#: Fields of responses list tags with commas or spaces between them.
_TAG = re.compile(rf"[!-+\--~]{{1,{MAX_TAG}}}")


class Purge(NamedTuple):
    """The scope of a purge. It has paths, tags, a prefix, a host, or nothing of these.

    Attributes:
        url: a path that starts with ``/``; None for another scope, or for everything.
        hard: True evicts; False lets an edge serve the old content while it revalidates.
        more: further paths. Only drivers with the capability ``PURGE_MANY`` see any.
        reference: for drivers: the same whenever a purge is repeated, and different for every
            other purge; empty if unknown. It is not stored.
        tags: covers objects with any of these tags.
        prefix: covers objects below this directory, which begins and ends with ``/``.
        host: covers objects of this domain of the service.
    """

    url: str | None
    hard: bool
    more: tuple[str, ...] = ()
    reference: str = ""
    tags: tuple[str, ...] = ()
    prefix: str = ""
    host: str = ""

    @property
    def urls(self) -> tuple[str, ...]:
        """All paths."""
        return () if self.url is None else (self.url, *self.more)

    @property
    def covers_all(self) -> bool:
        """Whether it covers all content of the service."""
        return self.url is None and not (self.tags or self.prefix or self.host)

    def __str__(self) -> str:
        """Describe what it covers, for operators."""
        if self.covers_all:
            return "everything"
        if self.tags:
            return f"tags {' '.join(self.tags)}"
        return " ".join(self.urls) or (f"prefix {self.prefix}" if self.prefix else self.host)

    def joined(self, other: "Purge") -> "Purge | None":
        """One purge that does what both do; None if that is not possible.

        Hard and soft purges stay apart. A joined purge has :data:`MAX_PATHS` paths or
        :data:`MAX_TARGETS` tags at most.
        """
        if self.hard is not other.hard:
            return None
        if self.covers_all or other.covers_all:
            return Purge(None, self.hard)
        if self.tags and other.tags:
            tags = tuple(dict.fromkeys((*self.tags, *other.tags)))
            return self._replace(tags=tags) if len(tags) <= MAX_TARGETS else None
        if not (self.urls and other.urls):
            return self if self == other else None
        first, *more = dict.fromkeys((*self.urls, *other.urls))
        return None if len(more) >= MAX_PATHS else Purge(first, self.hard, tuple(more))

    def single(self, reference: str = "") -> "tuple[Purge, ...]":
        """The purges of one path each that it consists of, or itself if it has no paths.

        Args:
            reference: of the operation; see :attr:`.Operation.reference`.
        """
        parts = [Purge(url, self.hard) for url in self.urls] or [self]
        return tuple(
            part._replace(reference=f"{reference}-{number}" if reference else "")
            for number, part in enumerate(parts)
        )

    def to_dict(self) -> dict[str, Any]:
        """For storage.

        The previous release reads a purge by tag, prefix or host as one of everything, which
        covers it.
        """
        document: dict[str, Any] = {"url": self.url, "hard": self.hard}
        if self.more:
            document["more"] = list(self.more)
        return document | self.scope()

    def scope(self) -> dict[str, Any]:
        """Return ``tags``, ``prefix`` and ``host``, as far as it has them, as JSON values."""
        scope = {"tags": list(self.tags), "prefix": self.prefix, "host": self.host}
        return {name: value for name, value in scope.items() if value}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """From what :meth:`to_dict` gave."""
        return cls(
            document["url"],
            document["hard"],
            tuple(document.get("more", ())),
            tags=tuple(document.get("tags", ())),
            prefix=document.get("prefix", ""),
            host=document.get("host", ""),
        )


def requested(
    hard: bool,
    urls: Sequence[str] = (),
    tags: Sequence[str] = (),
    prefix: str | None = None,
    host: str | None = None,
) -> Purge:
    """Return the purge that a request asks for; repeated values count once.

    Args:
        urls: percent-encoded paths (RFC 3986, section 3.3), at most :data:`MAX_TARGETS`.
        tags: likewise; visible ASCII characters except commas.
        prefix: the path of a directory; ``/`` is everything.
        host: a domain.

    Raises:
        InvalidRequest: a value is invalid, or there are too many; names the parameter.
    """
    for name, values in (("url", urls), ("tag", tags)):
        if len(values) > MAX_TARGETS:
            raise errors.InvalidRequest(
                f"Query parameter '{name}' may be given up to {MAX_TARGETS} times"
            )
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise errors.InvalidRequest(
                f"The tag {tag[:80]!r} must have 1..{MAX_TAG} visible ASCII characters and no "
                "comma"
            )
    if urls:
        first, *more = dict.fromkeys(path(url, "url") for url in urls)
        return Purge(first, hard, tuple(more))
    if prefix is not None:
        directory = _directory(prefix)
        return Purge(None, hard, prefix="" if directory == "/" else directory)
    return Purge(None, hard, tags=tuple(dict.fromkeys(tags)), host=(host or "").lower())


def path(url: str, name: str) -> str:
    """Return a path with a leading slash.

    Args:
        name: of the parameter, for errors.

    Raises:
        InvalidRequest: it is no percent-encoded path.
    """
    if len(url) > MAX_URL or not _PATH.fullmatch(url):
        raise errors.InvalidRequest(
            f"The {name} must have 1..{MAX_URL} printable ASCII characters, others percent-encoded"
        )
    if _SCHEME.match(url):
        raise errors.InvalidRequest(f"The {name} must be a path such as /images/logo.png")
    return url if url.startswith("/") else f"/{url}"


def has_key(directory: str) -> bool:
    """Return whether edges mark objects with a directory, which begins and ends with ``/``."""
    return len(directory) <= MAX_PREFIX and directory.count("/") <= MAX_LEVELS + 1


def _directory(text: str) -> str:
    """Return the canonical form of a prefix.

    Raises:
        InvalidRequest: it is no path of a directory, or is too long or too deep.
    """
    if not text.endswith("/"):
        raise errors.InvalidRequest("The prefix must end with a slash: it covers a directory")
    directory = paths.canonical(path(text, "prefix"))
    problem = paths.problem(directory)
    if problem:
        raise errors.InvalidRequest(f"No request matches the prefix: {problem}")
    if "*" in directory or "?" in directory:
        raise errors.InvalidRequest("The prefix must have no wildcard and no query")
    if not has_key(directory):
        raise errors.InvalidRequest(
            f"The prefix must have at most {MAX_PREFIX} characters and {MAX_LEVELS} directories"
        )
    return directory
