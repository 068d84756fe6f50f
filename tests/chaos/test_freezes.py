# SPDX-License-Identifier: Apache-2.0
"""A worker is frozen for longer than its session and its lease, overtaken, and wakes up.

It wakes up in the middle of a driver: what it read before is no longer so. Poppy can't keep it
from the call it makes next, and honest drivers make that on the condition that nothing has
changed; but it must end there, and what it does must not outlast it.
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
    """A worker that is frozen within calls of the double, and the worker beside it."""

    def __init__(self, site):
        self._site = site
        self._worker = site.start_worker()
        self._holds = {}

    def hold(self, action, call, ask, go_on=True):
        """Ask for something of which a call is held; it will be answered, or cut off."""
        self._site.double.order(action, call)
        asked = ask()
        numbers = lambda: {hold["number"] for hold in self._site.double.holds()}  # noqa: E731
        wait(lambda: numbers() - self._holds.keys())
        (number,) = numbers() - self._holds.keys()
        self._holds[number] = go_on
        return asked

    def fall_asleep(self):
        """Freeze it in all these calls, and have those end."""
        self._site.freeze(self._worker)
        for hold in self._site.double.holds():
            self._pid = hold["caller"]
            self._site.double.release(hold, self._holds[hold["number"]])
        self._site.start_worker()

    def wake_up(self):
        """Let it go on; gives what it changed at the provider and in the zone since."""
        known = len(self._site.double.journal())
        self._site.thaw(self._worker)
        wait(lambda: self._given_up() >= len(self._holds), 30)
        # What was under way ends, and is seen to, after that.
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


def test_another_worker_has_done_it_all_meanwhile(site, client, sleeper):
    old, older, leaving = client.create(), client.create(), client.create()
    for service in (old, older, leaving):
        client.tenant.wait(service[1], "deployed")
    creates = [
        sleeper.hold(AFTER, call, client.create) for call in ("find", "create", "resolve", "set")
    ]
    # What it read before it changes the object is no longer so.
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

    # Names that it had found missing it sets once more, to the same.
    assert set(sleeper.wake_up()) <= {"set"}
    assert site.verdict() == []


def test_the_services_are_deleted_meanwhile(site, client, sleeper):
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

    # What it could not be kept from doing it has undone.
    changes = sleeper.wake_up()
    assert changes.count("create") <= changes.count("delete")
    assert changes.count("set") <= changes.count("unset")
    assert site.verdict() == []
