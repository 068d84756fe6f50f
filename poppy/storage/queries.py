# SPDX-License-Identifier: Apache-2.0
"""The contract of operators' queries: project limits, services by status, and documents.

The cost of a call must not depend on how much is stored.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from poppy.common import errors
from poppy.model.services import Service


class Found(NamedTuple):
    """A service in a list by status."""

    project_id: str
    service_id: str


class Document(NamedTuple):
    """A stored document.

    Attributes:
        version: grows by one with each write; 0 if there is no document.
    """

    content: Any
    version: int


class ProjectStore(abc.ABC):
    """Store the projects that have a limit of their own."""

    @abc.abstractmethod
    def get_limit(self, project_id: str) -> int | None:
        """Return the project's limit of services; None if it uses the default."""

    @abc.abstractmethod
    def count(self, project_id: str) -> int:
        """Return how many services the project has, as its limit counts them."""

    @abc.abstractmethod
    def set_limit(self, project_id: str, limit: int) -> None:
        """Give a project a limit of its own. Services beyond the limit stay."""


class QueryStore(abc.ABC):
    """Find services by something other than their id."""

    @abc.abstractmethod
    def by_status(self, status_bucket: str, marker: str | None, limit: int) -> Sequence[Found]:
        """Return a page of all projects' services with a status, in the store's own order.

        Each had that status when it was read. A service that changes while pages are read may be
        missed or appear on two pages.

        Args:
            shelf: see :attr:`Service.status_bucket`.
            marker: the page starts after the service with this id, wherever that is now.
        """

    @abc.abstractmethod
    def count(self, status_bucket: str, limit: int) -> int:
        """Count the services with a status, up to ``limit``.

        Costs no more than reading ``limit`` ids. For display: a service that is changing, or
        with a change that was interrupted, may be missed or counted twice.

        Args:
            shelf: see :attr:`Service.status_bucket`.
        """

    @abc.abstractmethod
    def by_claim(self, claim: str) -> Service:
        """Return the service that claims a domain, or the order that claims a certificate.

        Raises:
            NotFound: the domain or certificate is not claimed.
        """

    @abc.abstractmethod
    def domains_at(self, provider_url: str, marker: str | None, limit: int) -> Sequence[str]:
        """Return a page of the domains served by this provider name, sorted.

        Args:
            marker: the page starts after this domain.
        """


#: How often :meth:`DocumentStore.change` tries.
_CONFLICTS = 10


class DocumentStore(abc.ABC):
    """Store small named documents that operators and drivers share."""

    @abc.abstractmethod
    def get(self, name: str) -> Document:
        """Return a document; its content is None and its version 0 if there is none."""

    @abc.abstractmethod
    def put(self, name: str, content: Any, version: int) -> None:
        """Create or replace a document, by compare and swap.

        Args:
            content: any JSON value.
            version: as read.

        Raises:
            Changed: the stored version differs.
        """

    def change(self, name: str, work: Callable[[Any], Any]) -> Any:
        """Change a document by compare and swap, and return its content.

        Args:
            work: returns the new content for the current one, which is None if there is none. It
                is called again if another process has changed the document; what it raises
                changes nothing.

        Raises:
            Unavailable: others keep changing it at the same time.
        """
        for _ in range(_CONFLICTS):
            known = self.get(name)
            content = work(known.content)
            try:
                self.put(name, content, known.version)
            except errors.Changed:
                continue
            return content
        raise errors.Unavailable(f"Too many concurrent changes of the document {name}")
