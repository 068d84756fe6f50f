# SPDX-License-Identifier: Apache-2.0
"""How HAProxy counts the traffic of domains: in a stick table, which costs a hit less than a log.

An entry has the domain, the service and the client's country as its key, responses by class (1xx
to 5xx), hits, and bytes that were sent to clients: bodies exactly, and header fields within some
50 bytes. A response counts when its head is sent, and its bytes when it ends. An entry is deleted
after a week without a request, and the one that is unused for longest if the table is full.
"""

import re

from poppy.common.errors import PermanentError
from poppy.edge.options import Settings
from poppy.edge.traffic import Sample
from poppy.model.edge_traffic import UNKNOWN, Counts, Domain

TABLE = "traffic"
_SEPARATOR = "|"
_CLASSES = 5
#: The indices of counters after those of the classes: 2xx from the cache, other hits.
_HITS, _OTHER_HITS = _CLASSES, _CLASSES + 1
_COUNTERS = _CLASSES + 2
#: A domain of 253 characters, a service ID of 64, a country of two, and separators.
_KEY = 253 + 64 + 2 + 2 * len(_SEPARATOR)

SECTION = f"""\
backend {TABLE}
    stick-table type string len {_KEY} size 64k expire 7d store gpc({_COUNTERS}),bytes_out_cnt
"""


def track(settings: Settings) -> str:
    """Return rules for requests, once Host is a domain of the service and the client is known.

    A request counts once, also if it meets them twice.
    """
    country, more = "", ""
    if settings.geography_database is not None:
        database = f"map_ip({settings.geography_database},{UNKNOWN})"
        country = f"    http-request set-var(txn.country) src,{database}\n"
        more = f",concat({_SEPARATOR},txn.country)"
    key = f"req.fhdr(host),concat({_SEPARATOR},txn.service){more}"
    return f"{country}    http-request track-sc0 {key} table {TABLE}\n"


def _count(number: int) -> str:
    return f"    http-after-response allow if {_is(number)} {_increase(number - 1)}\n"


def _is(number: int) -> str:
    return f"{{ status {number}00:{number}99 }}"


def _increase(index: int) -> str:
    return f"{{ sc_inc_gpc({index},0) ge 0 }}"


_HIT = "{ res.hdr(X-Cache) -m str HIT }"
#: The last rules for responses, those of HAProxy itself included. Frequent ones end them early.
RESPONSES = (
    f"    http-after-response allow if {_HIT} {_is(2)} {_increase(_HITS)}\n"
    + _count(2)
    + f"    http-after-response unset-var(txn.hit) if {_HIT} {_increase(_OTHER_HITS)}\n"
    + "".join(map(_count, (3, 4, 5, 1)))
)

_PROCESS = re.compile(r"^Pid: (\d+)$.*^Start_time_sec: (\d+)$", re.MULTILINE | re.DOTALL)
_PART = rf"([^ {_SEPARATOR}]+)"
_BAR = re.escape(_SEPARATOR)
_ENTRY = re.compile(rf" key={_PART}{_BAR}{_PART}(?:{_BAR}(.*?))? use=")
_COUNTER = re.compile(r" (gpc\d|bytes_out_cnt)=(\d+)")


def parse(reply: str) -> Sample:
    """Read the reply to ``show info`` and ``show table``.

    Raises:
        PermanentError: the process has no such table, because it runs with a configuration of an
            earlier release.
    """
    process = _PROCESS.search(reply)
    if process is None or f"# table: {TABLE}," not in reply:
        raise PermanentError("HAProxy does not count traffic: restart it")
    counts = {}
    for line in reply[process.end() :].splitlines():
        entry = _ENTRY.search(line)
        if entry is not None:
            found = {name: int(value) for name, value in _COUNTER.findall(line)}
            responses = [found.get(f"gpc{number}", 0) for number in range(_CLASSES)]
            hits = found.get(f"gpc{_HITS}", 0)
            responses[1] += hits
            hits += found.get(f"gpc{_OTHER_HITS}", 0)
            sent = found.get("bytes_out_cnt", 0)
            # A process with a configuration of an earlier release has no countries.
            domain = Domain(entry[2], entry[1], entry[3] or UNKNOWN)
            counts[domain] = Counts(*(*responses, hits, sent))
    return Sample("-".join(process.groups()), counts)
