# SPDX-License-Identifier: Apache-2.0
"""The contract of what operators ask of a store: limits, look-ups, and documents of drivers.

As everywhere in the contract, the cost of a call must not depend on how much is stored.
"""

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

from poppy.model.services import Service


class Found(NamedTuple):
    """A service that stands in a list by status."""

    project_id: str
    service_id: str


class Document(NamedTuple):
    """A document as it is stored.

    Attributes:
        version: grows by one with each write; 0 while there is none.
    """

    content: Any
    version: int


class ProjectStore(abc.ABC):
    """Projects that have a limit of their own."""

    @abc.abstractmethod
    def get_limit(self, project_id: str) -> int | None:
        """How many services the project may have; None if the default is for it."""

    @abc.abstractmethod
    def set_limit(self, project_id: str, limit: int) -> None:
        """Give a project a limit of its own. Services that it has beyond that stay."""


class LookupStore(abc.ABC):
    """Services by other things than their id."""

    @abc.abstractmethod
    def by_status(self, shelf: str, marker: str | None, limit: int) -> Sequence[Found]:
        """A page of all services of a status, over all projects, in an order of the store's own.

        Each is of that status when it is read. One that changes while pages are read may be
        missed, or seen on two of them.

        Args:
            shelf: see :attr:`Service.shelf`.
            marker: the page begins behind the service of this id, wherever that is by now.
        """

    @abc.abstractmethod
    def count(self, shelf: str, limit: int) -> int:
        """How many services are of a status; ``limit`` if there are as many, or more.

        Costs no more than to read ``limit`` ids. For people to look at: one that changes at the
        moment, or whose change was cut short, may be missed or counted twice.

        Args:
            shelf: see :attr:`Service.shelf`.
        """

    @abc.abstractmethod
    def by_claim(self, claim: str) -> Service:
        """The service that has claimed a domain, or the order that has claimed a certificate.

        Raises:
            NotFound: nobody has.
        """

    @abc.abstractmethod
    def domains_at(self, provider_url: str, marker: str | None, limit: int) -> Sequence[str]:
        """A page of the domains that are served by this name of a provider, in order.

        Args:
            marker: the page begins behind this domain.
        """


class DocumentStore(abc.ABC):
    """Small documents that operators and drivers share, by name."""

    @abc.abstractmethod
    def get(self, name: str) -> Document:
        """Read a document; if there is none, its content is None and its version 0."""

    @abc.abstractmethod
    def put(self, name: str, content: Any, version: int) -> None:
        """Replace a document, or make it: compare and swap.

        Args:
            content: any JSON value.
            version: as it was read.

        Raises:
            Changed: it has another version by now.
        """
