# SPDX-License-Identifier: Apache-2.0
"""Read the records of several names with few requests.

An account may send only some requests per second to Route 53. A request lists up to 300 records
from a name on, so one request reads all names that are close to each other, such as those of one
tenant's domain. See ListResourceRecordSets in
https://docs.aws.amazon.com/Route53/latest/APIReference/ for the order.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from poppy.dns.route53.records import Record
from poppy.dns.zones import canonical

#: Maximum records of a request.
PAGE = 300
#: Greater than the position of every name.
_END = "\uffff"

#: A response of ListResourceRecordSets.
Page = Mapping[str, Any]


class Listing:
    """The records of a hosted zone, read as needed.

    Names should be read in the order of their positions; others cost more requests.

    Args:
        pages: returns the pages of all records from a name on, in Route 53's order.
        types: the types of the records to return.
    """

    def __init__(
        self, pages: Callable[[str], Iterator[Page]], types: Collection[str] = ("CNAME",)
    ) -> None:
        self._pages = pages
        self._types = types
        self._more: Iterator[Page] = iter(())
        self._records: list[Record] = []
        # The positions of the first and the last name that the records cover.
        self._first = self._last = ""

    def at(self, name: str) -> list[Record]:
        """Return the records of a name."""
        start = position(name)
        return self._read(name, lambda it: it == start)

    def below(self, name: str) -> list[Record]:
        """Return the records of all names below a name."""
        start = position(name)
        return self._read(name, lambda it: it != start and it.startswith(start))

    def _read(self, name: str, ours: Callable[[str], bool]) -> list[Record]:
        """Return the records at ``ours``, a contiguous range of positions from a name on."""
        start = position(name)
        if not self._first <= start <= self._last:
            self._more, self._records = self._pages(name), []
            self._first = self._last = start
            self._read_page()
        # Ours may continue on the next page.
        while self._last != _END and (self._last == start or ours(self._last)):
            self._read_page()
        found = [it for it in self._records if ours(position(it["Name"]))]
        return [it for it in found if it["Type"] in self._types]

    def _read_page(self) -> None:
        page = next(self._more, None)
        if page is None:
            self._last = _END
            return
        self._records += page["ResourceRecordSets"]
        if not page["IsTruncated"]:
            self._last = _END
            return
        # It is not documented how names with escaped characters sort.
        plain = (it["Name"] for it in reversed(self._records) if "\\" not in it["Name"])
        last = next(plain, None)
        if last is not None:
            self._last = position(last)


def position(name: str) -> str:
    """Return the sort key of a name: its labels in reverse order, each with a dot."""
    return ".".join(reversed(canonical(name).split("."))) + "."
