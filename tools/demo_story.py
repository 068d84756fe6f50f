# SPDX-License-Identifier: Apache-2.0
"""Parts of all demos."""

import time
from collections.abc import Callable

#: Address of the origin; services use its ports 80 and 443.
ORIGIN = "127.7.7.7"
#: Seconds for a step, on a busy machine.
PATIENCE = 60.0


class DemoError(Exception):
    """A step failed."""


class Story:
    """Print numbered steps and their results."""

    def __init__(self) -> None:
        self._step = 0

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._step += 1
        print(f"\n{self._step}. {title}", flush=True)

    def tell(self, text: str) -> None:
        """Print a result of the current step."""
        print(f"   {text}", flush=True)


def wait(what: str, condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Wait until a condition holds, and return the seconds; a timeout ends the demo."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() > begun + seconds:
            raise DemoError(f"timed out after {seconds:.0f} s waiting until {what}")
        time.sleep(0.1)
    return time.monotonic() - begun
