# SPDX-License-Identifier: Apache-2.0
"""Lists of a project's services, by the query of a request."""

from collections.abc import Sequence
from typing import NamedTuple

from poppy.common import errors
from poppy.manager import admin_search
from poppy.model.document.tags import MAX_TAG, MAX_TAGS
from poppy.storage import selection
from poppy.storage.base import Storage
from poppy.storage.selection import SORT_KEYS, Order, Selection, ServicePage


class Query(NamedTuple):
    """The query of a list as the client sent it; None: not given.

    Attributes:
        status, name, flavor_id: select services that have exactly this.
        domain: selects the service with this domain.
        tags: select services that have all of them.
        sort: keys, each perhaps with ``:asc`` or ``:desc``, separated by commas.
    """

    status: str | None = None
    domain: str | None = None
    name: str | None = None
    flavor_id: str | None = None
    sort: str | None = None
    tags: Sequence[str] = ()

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The parameters of the query."""
        named = zip(self._fields[:-1], self[:-1], strict=True)
        given = [(name, str(text)) for name, text in named if text is not None]
        return [*given, *(("tag", tag) for tag in self.tags)]


def services(
    storage: Storage, project_id: str, marker: str | None, limit: int, query: Query
) -> ServicePage:
    """Return a page of a project's services.

    Args:
        marker: the id in the link to the next page.
        limit: the maximum number of services.

    Raises:
        InvalidRequest: the status is unknown; the domain, a tag or a sort key is invalid; or see
            :func:`poppy.storage.selection.page`.
    """
    wanted = _selection(query)
    if query.domain is None:
        return selection.page(storage.services, project_id, marker, limit, wanted)
    try:
        found = storage.queries.by_claim(admin_search.host(query.domain, "domain"))
    except errors.NotFound:
        return ServicePage([], None)
    is_after = found.service_id > (marker or "")
    if found.project_id != project_id or not is_after or not wanted.matches(found):
        return ServicePage([], None)
    return selection.full([found], limit)


def _selection(query: Query) -> Selection:
    if len(query.tags) > MAX_TAGS:
        raise errors.InvalidRequest(f"'tag' may be given up to {MAX_TAGS} times")
    for tag in query.tags:
        if not 1 <= len(tag) <= MAX_TAG:
            raise errors.InvalidRequest(
                f"The tag {tag[:MAX_TAG]!r} has not 1..{MAX_TAG} characters"
            )
    status = None if query.status is None else admin_search.status_of(query.status)
    order = () if query.sort is None else _order(query.sort)
    return Selection(status, query.name, query.flavor_id, frozenset(query.tags), order)


def _order(text: str) -> tuple[Order, ...]:
    order: list[Order] = []
    for part in text.split(",", len(SORT_KEYS)):
        key, colon, direction = part.partition(":")
        if key not in SORT_KEYS or (colon and direction not in ("asc", "desc")):
            raise errors.InvalidRequest(
                f"The sort key {part[:40]!r} is none of {', '.join(SORT_KEYS)}, perhaps with :asc "
                "or :desc"
            )
        if key in (known.key for known in order):
            raise errors.InvalidRequest(f"The sort key {key!r} is given more than once")
        order.append(Order(key, direction == "desc"))
    # The order of ids is that of creation, and needs no sorting.
    return () if order[0] == Order("created_at") else tuple(order)
