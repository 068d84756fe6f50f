# SPDX-License-Identifier: Apache-2.0
"""Start the double as a process and control it."""

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.chaos.orders import Action

_ROOT = Path(__file__).parents[2]


class Double:
    """The process of a double.

    ``with Double() as double:`` starts and ends it.

    Args:
        seed: the seed of random choices.

    Attributes:
        url: the base URL for the drivers.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.double", "--seed", str(self._seed)],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self._session = requests.Session()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._session.close()
        self._process.terminate()
        self._process.communicate(timeout=10)

    def order(self, action: Action, operation: str = "*", **details: Any) -> None:
        """Give an order; see :class:`tests.chaos.orders.Order`."""
        order = {"action": str(action), "operation": operation, **details}
        self._call("POST", "orders", json=order)

    def behave(self) -> None:
        """Remove all orders and continue held calls."""
        self._call("DELETE", "orders")
        for hold in self.holds():
            self.release(hold)

    def holds(self) -> list[dict[str, Any]]:
        """Return the held calls."""
        return list(self._call("GET", "holds"))

    def held(self, timeout: float = 20.0) -> dict[str, Any]:
        """Wait for a held call; its ``caller`` is a process id."""
        deadline = time.monotonic() + timeout
        while not (found := self.holds()):
            assert time.monotonic() < deadline, "no call was held in time"
            time.sleep(0.02)
        return found[0]

    def release(self, hold: dict[str, Any], go_on: bool = True) -> None:
        """Continue a held call or drop it."""
        self._call("POST", "holds", json={"number": hold["number"], "go_on": go_on})

    def journal(self) -> list[dict[str, Any]]:
        """Return all calls in order: ``operation``, ``subjects``, ``caller``, ``status`` ...

        ``status`` is that of the effect, or None without an effect.
        """
        return list(self._call("GET", "journal"))

    def tamper(self, which: int) -> None:
        """Change or delete an object or a name by hand.

        Args:
            which: chooses among them; any number.
        """
        self._call("POST", "tampered", json={"which": which})

    def tampered(self) -> set[str]:
        """Return the references of objects that were changed or deleted by hand."""
        return set(self._call("GET", "tampered"))

    def objects(self) -> list[dict[str, Any]]:
        """Return the provider's objects; see :mod:`tests.chaos.double`."""
        return list(self._call("GET", "objects"))

    def zone(self) -> dict[str, str]:
        """Return the CNAMEs."""
        return dict(self._call("GET", "zone"))

    def _call(self, method: str, what: str, json: Any = None) -> Any:
        url = f"{self.url}/control/{what}"
        answer = self._session.request(method, url, json=json, timeout=30)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None
