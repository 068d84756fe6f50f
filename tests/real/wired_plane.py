# SPDX-License-Identifier: Apache-2.0
"""Data planes of the edge contract with origins that listen on loopback."""

import contextlib
import random
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from poppy.testing.edge import DataPlane
from poppy.testing.edge.promises import FIRST, HALF, NONE, SECOND, SECURE, STOPS
from poppy.testing.edge.wire import OriginServer
from tests.real import unavailable

TIMEOUT = 3.0  # Seconds for the first byte of an origin.


class WiredPlane(DataPlane):
    """A data plane with origins that listen on loopback.

    Attributes:
        addresses: of each origin.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        net = f"127.{random.randint(100, 250)}.{random.randint(1, 250)}"
        self.addresses: dict[str, Sequence[str]] = {
            FIRST: (f"{net}.1",),
            SECOND: (f"{net}.2",),
            STOPS: (f"{net}.3",),
            NONE: (f"{net}.4",),
            SECURE: (f"{net}.5",),
            HALF: (f"{net}.4", f"{net}.1"),
        }

    def __enter__(self) -> Self:
        for name in (FIRST, SECOND, STOPS):
            (address,) = self.addresses[name]
            try:
                server = OriginServer(self.origins, name, address)
            except OSError as exc:
                unavailable(f"port 80 of {address} can't be had ({exc})", "run as root on Linux")
            self.stack.enter_context(server)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stack.close()
