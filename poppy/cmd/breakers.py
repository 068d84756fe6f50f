# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage breakers``: show and reset the workers' shared circuit breakers."""

import argparse
import datetime
from collections.abc import Sequence
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import tables
from poppy.common import errors
from poppy.distributed_task.tasks import gate_of
from poppy.model.membership import Breaker, BreakerState

_COLUMNS = ("driver", "state", "until", "openings", "reason")
#: How often a reset is retried when workers change the breaker at the same time.
_TRIES = 10


def add(areas: Any) -> None:
    """Add the area to the parser of poppy-manage."""
    actions = areas.add_parser("breakers", help="circuit breakers of drivers").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    found = actions.add_parser("list", help="list the circuit breaker of each driver")
    found.set_defaults(run=_list)
    tables.add_format(found)
    reset = actions.add_parser(
        "reset", help="close breakers now; waiting operations keep their next attempt"
    )
    reset.add_argument(
        "driver",
        nargs="?",
        metavar="DRIVER",
        help="name as shown by 'list', with or without its kind; default: all open ones",
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
    """Return the breakers of all configured and all stored drivers, sorted by driver."""
    drivers = (*bootstrap.providers.values(), bootstrap.dns)
    found = {gate_of(it): Breaker(gate_of(it)) for it in drivers}
    found |= {it.driver: it for it in bootstrap.storage.membership.breakers()}
    return [found[driver] for driver in sorted(found)]


def _close(bootstrap: Bootstrap, breaker: Breaker) -> None:
    for _ in range(_TRIES):
        if bootstrap.storage.membership.swap(breaker.closed()):
            return
        stored = bootstrap.storage.membership.breakers()
        breaker = next(it for it in stored if it.driver == breaker.driver)
        if breaker.state is BreakerState.CLOSED:
            return
    raise errors.Changed(f"Workers keep changing the breaker of {breaker.driver}; try again")


def _document(breaker: Breaker) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    until = breaker.closes(now)
    return {
        "driver": breaker.driver,
        **breaker.to_dict(),
        # The stored time may be past or out of range; show when the next call is allowed.
        "until": until.isoformat() if until else None,
    }
