# SPDX-License-Identifier: Apache-2.0
"""The edge contract fails if a data plane declares what is not true."""

from concurrent.futures import Future
from typing import Any

import pytest

from poppy.model.services import Service
from poppy.provider.base import Capability
from poppy.testing.edge import PROMISES, Answer, DataPlane, EdgeContract, NotShown, Request

PROMISE = PROMISES[0]
STATES = ("kept", "not kept", "not shown")
#: What the check of a promise in each state raises.
RAISES = {"kept": None, "not kept": AssertionError("shared"), "not shown": NotShown("HEAD")}


class Plane(DataPlane):
    provider = "example"
    supports = frozenset(Capability)

    def deploy(self, service: Service) -> None:
        raise NotImplementedError

    def send(self, request: Request) -> Answer:
        raise NotImplementedError


def plane_that_declares(state: str) -> DataPlane:
    reasons = {PROMISE.id: "a reason"}
    fields: dict[str, Any] = {
        "not kept": {"not_kept": reasons},
        "not shown": {"not_shown": reasons},
    }.get(state, {})
    return type("Declaring", (Plane,), fields)()


@pytest.mark.parametrize("found", STATES)
@pytest.mark.parametrize("declared", STATES)
def test_only_true_declarations_pass(declared: str, found: str) -> None:
    outcome: Future[None] = Future()
    if (error := RAISES[found]) is None:
        outcome.set_result(None)
    else:
        outcome.set_exception(error)
    recorded: list[tuple[str, object]] = []

    def check() -> None:
        EdgeContract().test_promise(
            plane_that_declares(declared),
            PROMISE,
            {PROMISE.id: outcome},
            lambda *it: recorded.append(it),
        )

    if declared == found:
        check()
        assert recorded == [("promise", ("example", PROMISE.id, found))]
    else:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check()
        assert recorded == []


def test_declarations_must_name_promises() -> None:
    plane = type("Declaring", (Plane,), {"not_kept": {"no-such-promise": "a reason"}})()

    with pytest.raises(AssertionError):
        EdgeContract().test_declarations_name_promises(plane)
