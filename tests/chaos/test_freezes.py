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

BEFORE, AFTER = Action.HOLD_BEFORE, Action.HOLD_AFTER


class Sleeper:
    """A worker that is frozen within a call of the double, and the worker beside it."""

    def __init__(self, site):
        self._site = site
        self._worker = site.start_worker()

    def fall_asleep(self, go_on=True):
        """Freeze it in the call that is held, and have that answered, or cut off."""
        self._hold = self._site.double.held()
        self._site.freeze(self._worker)
        self._site.double.release(self._hold, go_on)
        self._site.start_worker()

    def wake_up(self):
        """Let it go on; gives what it changed at the provider and in the zone since."""
        known = len(self._site.double.journal())
        self._site.thaw(self._worker)
        wait(lambda: self._gave_up_or_ended(known), 15)
        # It may think of something more to do.
        time.sleep(1.0)
        return [
            call["operation"]
            for call in self._site.double.journal()[known:]
            if call["caller"] == self._hold["caller"]
            and call["operation"] not in ("find", "resolve")
            and (call["status"] or 500) < 300
        ]

    def _gave_up_or_ended(self, _known):
        return f" {self._hold['caller']} " in "".join(
            line for line in self._site.log.read_text().splitlines() if "given up" in line
        )


@pytest.fixture
def sleeper(site):
    return Sleeper(site)


def test_asleep_before_it_creates_another_creates(site, client, sleeper):
    site.double.order(AFTER, "find")
    service = client.create()
    sleeper.fall_asleep()
    client.tenant.wait(service[1], "deployed")
    assert sleeper.wake_up() == []
    assert site.verdict() == []


@pytest.mark.parametrize("call", ["create", "set"])
def test_asleep_after_the_effect_another_goes_on(site, client, sleeper, call):
    site.double.order(AFTER, call)
    service = client.create()
    sleeper.fall_asleep()
    client.tenant.wait(service[1], "deployed")
    assert sleeper.wake_up() == []
    assert site.verdict() == []


def test_asleep_before_it_replaces_the_newest_document_stays(site, client, sleeper):
    service = client.deployed()
    site.double.order(AFTER, "find")
    client.update(service, 2)
    sleeper.fall_asleep()
    client.tenant.wait(service[1], "deployed")
    client.update(service, 3)
    client.tenant.wait(service[1], "deployed")
    assert sleeper.wake_up() == []
    assert site.verdict() == []


def test_asleep_before_it_creates_what_is_deleted_meanwhile_stays_so(site, client, sleeper):
    site.double.order(AFTER, "find")
    service = client.create()
    sleeper.fall_asleep()
    client.delete(service)
    client.tenant.wait(service[1], "gone")
    # What it could not be kept from doing, it has undone.
    assert sleeper.wake_up() in ([], ["create", "delete"])
    assert site.verdict() == []


def test_asleep_before_it_sets_names_what_is_deleted_meanwhile_stays_so(site, client, sleeper):
    site.double.order(BEFORE, "set")
    service = client.create()
    sleeper.fall_asleep(go_on=False)
    client.delete(service)
    client.tenant.wait(service[1], "gone")
    assert sleeper.wake_up() == []
    assert site.verdict() == []


def test_asleep_within_the_dns_driver_what_is_deleted_meanwhile_stays_so(site, client, sleeper):
    site.double.order(AFTER, "resolve")
    service = client.create()
    sleeper.fall_asleep()
    client.delete(service)
    client.tenant.wait(service[1], "gone")
    assert sleeper.wake_up() in ([], ["set", "unset"])
    assert site.verdict() == []


def test_asleep_before_it_deletes_another_deletes(site, client, sleeper):
    service = client.deployed()
    site.double.order(AFTER, "find")
    client.delete(service)
    sleeper.fall_asleep()
    client.tenant.wait(service[1], "gone")
    assert sleeper.wake_up() == []
    assert site.verdict() == []
