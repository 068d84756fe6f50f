# SPDX-License-Identifier: Apache-2.0
"""Read-only mode of drivers: the calls of a block may read, but must not change anything.

A driver's ``ensure`` reads the state of its provider, and makes the changes that are needed. In
this mode it stops at the first one, which is then the result of an inspection.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oslo_config import cfg

#: Options of every provider and DNS driver.
OPTS: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "audit",
        default="repair",
        choices=[
            ("repair", "deploy services that differ again"),
            ("report", "only report differences"),
            ("off", "do not compare"),
        ],
        mutable=True,
        help="What workers do with deployed services that differ from what this driver's server "
        "has, because others changed it there. See audit_interval of the task driver.",
    ),
)

_read_only: contextvars.ContextVar[bool] = contextvars.ContextVar("read_only", default=False)


@dataclass(frozen=True, slots=True)
class Sighting:
    """The result of an inspection.

    Attributes:
        differences: how the actual state differs from the wanted state, for tenants and
            operators; empty if it does not.
        repairable: whether deploying the service again may repair it.
    """

    differences: tuple[str, ...] = ()
    repairable: bool = True


class Differs(Exception):  # noqa: N818 - a finding, and no error
    """The actual state differs from the wanted state; the message says how.

    Raised in read-only mode only. It is not a driver error, so that handlers of driver errors do
    not catch it.
    """


@contextlib.contextmanager
def read_only() -> Iterator[None]:
    """Refuse all changes in this block.

    Raises:
        Differs: the block was about to change something.
    """
    token = _read_only.set(True)
    try:
        yield
    finally:
        _read_only.reset(token)


def differs(message: str) -> None:
    """Report a difference in read-only mode; otherwise do nothing.

    Drivers call it before a change, with a message that tenants may see. Clients of vendors' APIs
    call it before each request that may change something, so that no change is missed.

    Raises:
        Differs: in read-only mode.
    """
    if _read_only.get():
        raise Differs(message)
