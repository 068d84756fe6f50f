# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage breakers``: circuit breakers, which all workers share."""

import argparse
import datetime
from collections.abc import Sequence
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import tables
from poppy.common import errors
from poppy.distributed_task.tasks import gate_of
from poppy.model.fleet import Breaker, BreakerState

_COLUMNS = ("driver", "state", "until", "openings", "reason")
#: How often a reset is repeated when a worker changes the breaker at the same moment.
_TRIES = 10


def add(areas: Any) -> None:
    """Add the area to the parser of poppy-manage."""
    actions = areas.add_parser("breakers", help="which drivers are not called").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    found = actions.add_parser("list", help="the circuit breaker of each driver")
    found.set_defaults(run=_list)
    tables.add_format(found)
    reset = actions.add_parser(
        "reset", help="have drivers called again at once; what waits keeps its time"
    )
    reset.add_argument(
        "driver",
        nargs="?",
        metavar="DRIVER",
        help="as 'list' names it, or without its kind; default: all that are not closed",
    )
    reset.set_defaults(run=_reset)


def _list(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    tables.show([_document(it) for it in _breakers(bootstrap)], _COLUMNS, arguments.format)


def _reset(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    breakers = _breakers(bootstrap)
    if arguments.driver is not None:
        breakers = [it for it in breakers if _is_called(it.driver, arguments.driver)]
        if not breakers:
            raise errors.InvalidRequest(f"There is no driver '{arguments.driver}'")
    for breaker in breakers:
        if breaker.state is not BreakerState.CLOSED:
            _close(bootstrap, breaker)
            print(f"The breaker of {breaker.driver} is closed.")


def _is_called(driver: str, name: str) -> bool:
    return name in (driver, driver.partition(":")[2])


def _breakers(bootstrap: Bootstrap) -> Sequence[Breaker]:
    """Those of all configured drivers, and of others that were ever stored; by driver."""
    drivers = (*bootstrap.providers.values(), bootstrap.dns)
    found = {gate_of(it): Breaker(gate_of(it)) for it in drivers}
    found |= {it.driver: it for it in bootstrap.storage.fleet.breakers()}
    return [found[driver] for driver in sorted(found)]


def _close(bootstrap: Bootstrap, breaker: Breaker) -> None:
    for _ in range(_TRIES):
        if bootstrap.storage.fleet.swap(breaker.closed()):
            return
        stored = bootstrap.storage.fleet.breakers()
        breaker = next(it for it in stored if it.driver == breaker.driver)
        if breaker.state is BreakerState.CLOSED:
            return
    raise errors.Changed(f"The breaker of {breaker.driver} keeps being changed by workers")


def _document(breaker: Breaker) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    until = breaker.closes(now)
    return {
        "driver": breaker.driver,
        **breaker.to_dict(),
        # What is stored may be past, or absurd; this is when the next call is let through.
        "until": until.isoformat() if until else None,
    }
