# SPDX-License-Identifier: Apache-2.0
"""The exceptions of the Cassandra driver, and the errors of Poppy that they become.

A conditional write has three outcomes: applied, not applied, and unknown (``Undecided``), because
Paxos may complete a write after its coordinator died or gave up. (Apache Cassandra docs,
"Guarantees" and "CQL: Data Manipulation"; native protocol v4, error code 0x1100.)
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import cassandra
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import (
    ConfigurationException,
    ErrorMessage,
    ProtocolException,
    SyntaxException,
)

from poppy.common import errors

COMMAND = "poppy-manage db sync"

_OUTAGES = (
    NoHostAvailable,
    cassandra.DriverException,
    ConnectionException,
    ErrorMessage,
    OSError,
)


class Undecided(errors.Unavailable):
    """It is unknown whether a conditional write was applied; a serial read decides it."""


class Answering:
    """Translates the driver's errors into Poppy's.

    It wraps every request. A class takes a third of the time of a generator.
    """

    __slots__ = ("_conditional", "_option")

    def __init__(self, option: str, conditional: bool) -> None:
        self._option = option
        self._conditional = conditional

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            translated = self._translate(error)
            if translated is not None:
                raise translated from error

    def _translate(self, error: BaseException) -> errors.PoppyError | None:
        """Return the error to raise instead; None if it is a bug rather than an outage."""
        causes = [error, *(_causes(error) if isinstance(error, NoHostAvailable) else [])]
        if any(
            isinstance(it, cassandra.AuthenticationFailed | ProtocolException) for it in causes
        ):
            return errors.ConfigError(f"{self._option}: {error}")
        if isinstance(error, ConfigurationException):
            return errors.ConfigError(f"{self._option}: Cassandra refuses ({error})")
        if isinstance(error, cassandra.InvalidRequest | cassandra.Unauthorized):
            return errors.ConfigError(
                f"{self._option}: Cassandra refuses ({error}); has '{COMMAND}' been run?"
            )
        if isinstance(error, _OUTAGES) and not isinstance(error, SyntaxException):
            return _outage(self._conditional and _is_undecided(error))
        return None


def _outage(undecided: bool) -> errors.Unavailable:
    kind = Undecided if undecided else errors.Unavailable
    return kind("The database does not answer")


def _is_undecided(exc: BaseException) -> bool:
    # "Unavailable" is reported before anything is done; a node that was not reached did nothing.
    if isinstance(exc, NoHostAvailable):
        return any(not isinstance(it, cassandra.Unavailable) for it in _causes(exc))
    return not isinstance(exc, cassandra.Unavailable)


def _causes(exc: Any) -> list[BaseException]:
    found = exc.errors
    return list(found.values() if isinstance(found, Mapping) else found or [])
