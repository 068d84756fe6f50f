# SPDX-License-Identifier: Apache-2.0
"""A worker freezes for longer than its session and lease, is overtaken, and wakes up.

It wakes up in the middle of a driver call, so that its reads are stale. Poppy can't prevent its
next call; correct drivers make that call conditional on an unchanged object. The worker must then
give up, and the effect of the call must be undone.
"""

import time

import pytest

from tests.chaos.orders import Action
from tests.chaos.site import wait

pytestmark = pytest.mark.real

#: Half seconds.
_QUIET = 5
_GIVEN_UP = ": given up: "
BEFORE, AFTER = Action.HOLD_BEFORE, Action.HOLD_AFTER


class Sleeper:
    """A worker that freezes during calls of the double, and a second worker."""

    def __init__(self, site):
        self._site = site
        self._worker = site.start_worker()
        self._holds = {}

    def hold(self, action, call, ask, go_on=True):
        """Make a request and hold one of its calls, to be continued or dropped later."""
        self._site.double.order(action, call)
        asked = ask()
        numbers = lambda: {hold["number"] for hold in self._site.double.holds()}  # noqa: E731
        wait(lambda: numbers() - self._holds.keys())
        (number,) = numbers() - self._holds.keys()
        self._holds[number] = go_on
        return asked

    def fall_asleep(self):
        """Freeze the worker in all held calls, and then end these calls."""
        self._site.freeze(self._worker)
        for hold in self._site.double.holds():
            self._pid = hold["caller"]
            self._site.double.release(hold, self._holds[hold["number"]])
        self._site.start_worker()

    def wake_up(self):
        """Resume the worker and return its later changes at the provider and in the zone."""
        known = len(self._site.double.journal())
        self._site.thaw(self._worker)
        wait(lambda: self._given_up() >= len(self._holds), 30)
        # Running calls and their compensation end after that.
        quiet = 0
        while quiet < _QUIET:
            before = len(self._calls(known))
            time.sleep(0.5)
            quiet = quiet + 1 if len(self._calls(known)) == before else 0
        return sorted(
            call["operation"]
            for call in self._calls(known)
            if call["operation"] not in ("find", "resolve") and (call["status"] or 500) < 300
        )

    def _calls(self, known):
        journal = self._site.double.journal()[known:]
        return [call for call in journal if call["caller"] == self._pid]

    def _given_up(self):
        lines = self._site.log.read_text().splitlines()
        return len(
            {line[-200:] for line in lines if f" {self._pid} " in line and _GIVEN_UP in line}
        )


@pytest.fixture
def sleeper(site):
    return Sleeper(site)


def test_frozen_worker_wakes_up_after_a_takeover(site, client, sleeper):
    old, older, leaving = client.create(), client.create(), client.create()
    for service in (old, older, leaving):
        client.tenant.wait(service[1], "deployed")
    creates = [
        sleeper.hold(AFTER, call, client.create) for call in ("find", "create", "resolve", "set")
    ]
    # The object changes after the worker has read it.
    sleeper.hold(AFTER, "find", lambda: client.update(old, 2))
    sleeper.hold(BEFORE, "replace", lambda: client.update(older, 2), go_on=False)
    sleeper.hold(AFTER, "find", lambda: client.delete(leaving))
    sleeper.fall_asleep()
    for service in (*creates, old, older):
        client.tenant.wait(service[1], "deployed")
    client.tenant.wait(leaving[1], "gone")
    for service in (old, older):
        client.update(service, 3)
        client.tenant.wait(service[1], "deployed")

    # The worker may set names again that it had found missing, to the same targets.
    assert set(sleeper.wake_up()) <= {"set"}
    assert site.verdict() == []


def test_frozen_worker_wakes_up_after_deletes(site, client, sleeper):
    services = [
        sleeper.hold(AFTER, "find", client.create),
        sleeper.hold(BEFORE, "create", client.create, go_on=False),
        sleeper.hold(AFTER, "resolve", client.create),
        sleeper.hold(BEFORE, "set", client.create, go_on=False),
    ]
    sleeper.fall_asleep()
    for service in services:
        client.delete(service)
    for service in services:
        client.tenant.wait(service[1], "gone")

    # The effects of its late calls are undone.
    changes = sleeper.wake_up()
    assert changes.count("create") <= changes.count("delete")
    assert changes.count("set") <= changes.count("unset")
    assert site.verdict() == []
