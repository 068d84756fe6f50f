# SPDX-License-Identifier: Apache-2.0
"""Conformance suite of DNS drivers; see :mod:`poppy.testing.provider` for its use."""

import abc
import time
from collections.abc import Callable, Mapping, Sequence

import pytest

from poppy.common.errors import InProgressError, PermanentError, RetryableError, Unauthorized
from poppy.dns.base import DNSDriver, Sighting
from poppy.dns.steering import AddressPool, Policy, Steering, Target
from poppy.model.names import MAX_NAME

#: A provider's name.
EDGE = "edge.example.com"
#: The time limit of a call that is in progress, in seconds.
_PATIENCE = 120.0
#: How many of its calls may fail.
_FAILURES = 3


class DNSContract(abc.ABC):
    """Tests of every DNS driver. The fixture ``driver`` has a zone without CNAMEs."""

    MANY = 50
    """The number of names in one call, at most."""

    @abc.abstractmethod
    def resolve(self, driver: DNSDriver, name: str) -> str | None:
        """Return the target of the CNAME ``name`` without the trailing dot, or None."""

    def name(self, driver: DNSDriver, label: str) -> str:
        """Return an operator name that the driver can create."""
        return driver.operator_name(f"{label}.example.org", None)

    def ensure(self, driver: DNSDriver, cnames: Mapping[str, str]) -> None:
        """Call ``ensure`` until it is done."""
        until_done(lambda: driver.ensure(cnames))

    def remove(self, driver: DNSDriver, names: Sequence[str]) -> None:
        """Call ``remove`` until it is done."""
        until_done(lambda: driver.remove(names))

    def other(self, driver: DNSDriver) -> DNSDriver:
        """Return another driver for the same server, as another process has it."""
        return type(driver)(driver.conf, driver.name)

    def stranger(self, driver: DNSDriver) -> DNSDriver:
        """Return a driver for the same server with invalid credentials."""
        pytest.skip("there are no credentials")

    def taken(self, driver: DNSDriver) -> str:
        """Return an operator name with an A record, which Poppy did not create."""
        pytest.skip("the server has only CNAMEs")

    def test_refused_credentials_are_unauthorized(self, driver: DNSDriver) -> None:
        name, stranger = self.name(driver, "www"), self.stranger(driver)
        assert stranger.health() is False
        with pytest.raises(Unauthorized):
            stranger.ensure({name: EDGE})
        with pytest.raises(Unauthorized):
            stranger.remove([name])
        with pytest.raises(Unauthorized):
            stranger.inspect({name: [Target(EDGE)]})

    def test_health_is_a_bool(self, driver: DNSDriver) -> None:
        assert driver.health() is True

    def test_a_name_is_under_the_suffix_unless_shared(self, driver: DNSDriver) -> None:
        suffix = driver.options.suffix
        assert driver.operator_name("www.a.example.org", None) == f"www.a.example.org.{suffix}"
        assert driver.operator_name("shop.scdn0.example.net", "shared") == "shop.scdn0.example.net"

    def test_ensure_makes_cnames(self, driver: DNSDriver) -> None:
        one, other = self.name(driver, "one"), self.name(driver, "other")

        self.ensure(driver, {one: EDGE, other: "edge2.example.com"})

        assert self.resolve(driver, one) == EDGE
        assert self.resolve(driver, other) == "edge2.example.com"

    def test_ensure_can_be_repeated(self, driver: DNSDriver) -> None:
        name = self.name(driver, "www")
        self.ensure(driver, {name: EDGE})
        self.ensure(driver, {name: EDGE})
        assert self.resolve(driver, name) == EDGE

    def test_ensure_changes_a_target_and_nothing_else(self, driver: DNSDriver) -> None:
        name, other = self.name(driver, "www"), self.name(driver, "other")
        self.ensure(driver, {name: EDGE, other: EDGE})

        self.ensure(driver, {name: "changed.example.com"})

        assert self.resolve(driver, name) == "changed.example.com"
        assert self.resolve(driver, other) == EDGE

    def test_ensure_repairs_what_others_have_changed(self, driver: DNSDriver) -> None:
        deleted, changed = self.name(driver, "deleted"), self.name(driver, "changed")
        wanted = {deleted: EDGE, changed: EDGE}
        self.ensure(driver, wanted)
        other = self.other(driver)
        self.remove(other, [deleted])
        self.ensure(other, {changed: "changed.example.com"})
        assert self.resolve(driver, deleted) is None
        assert self.resolve(driver, changed) == "changed.example.com"

        self.ensure(driver, wanted)

        assert [self.resolve(driver, name) for name in wanted] == [EDGE, EDGE]

    def test_an_inspection_finds_what_others_have_changed_and_changes_nothing(
        self, driver: DNSDriver
    ) -> None:
        kept, deleted, changed = (self.name(driver, it) for it in ("kept", "deleted", "changed"))
        policies = {name: [Target(EDGE)] for name in (kept, deleted, changed)}
        self.ensure(driver, dict.fromkeys(policies, EDGE))
        assert driver.inspect(policies) == Sighting()
        other = self.other(driver)
        self.remove(other, [deleted])
        self.ensure(other, {changed: "changed.example.com"})

        found = {name: driver.inspect({name: policies[name]}) for name in policies}
        differences = {name: it.differences for name, it in found.items()}

        assert all(it.repairable for it in found.values())
        assert not differences[kept]
        assert [deleted in text for text in differences[deleted]] == [True]
        assert [changed in text for text in differences[changed]] == [True]
        assert driver.inspect(policies).differences
        assert self.resolve(driver, deleted) is None
        assert self.resolve(driver, changed) == "changed.example.com"
        until_done(lambda: driver.lead(policies))
        assert driver.inspect(policies) == Sighting()

    def test_an_inspection_calls_for_no_repair_of_a_name_with_other_records(
        self, driver: DNSDriver
    ) -> None:
        """An update would fail, and the service with it."""
        taken, missing = self.taken(driver), self.name(driver, "missing")

        for names in ([taken], [missing, taken], [taken, missing]):
            found = driver.inspect({name: [Target(EDGE)] for name in names})

            assert taken in " ".join(found.differences)
            assert not found.repairable

    def test_remove_deletes_the_given_names_only(self, driver: DNSDriver) -> None:
        name, other = self.name(driver, "www"), self.name(driver, "other")
        self.ensure(driver, {name: EDGE, other: EDGE})

        self.remove(driver, [name])

        assert self.resolve(driver, name) is None
        assert self.resolve(driver, other) == EDGE

    def test_remove_can_be_repeated(self, driver: DNSDriver) -> None:
        name = self.name(driver, "www")
        self.ensure(driver, {name: EDGE})

        self.remove(driver, [name])
        self.remove(driver, [name])

        assert self.resolve(driver, name) is None

    def test_remove_of_something_that_never_existed_succeeds(self, driver: DNSDriver) -> None:
        self.remove(driver, [self.name(driver, "never")])

        assert self.resolve(driver, self.name(driver, "never")) is None

    def test_remove_of_invalid_names_succeeds(self, driver: DNSDriver) -> None:
        """Otherwise a service that could not be created could not be deleted either."""
        name, long_label = self.name(driver, "www"), self.name(driver, "a" * 64)
        too_long = self.name(driver, ".".join(["a" * 60] * 4))
        assert len(too_long) > MAX_NAME
        self.ensure(driver, {name: EDGE})

        self.remove(driver, [too_long])
        self.remove(driver, [long_label, name, too_long, self.name(driver, "a..b")])

        assert self.resolve(driver, name) is None

    def test_operator_name_is_among_the_created_names(self, driver: DNSDriver) -> None:
        name = self.name(driver, "www")
        for by_geography in (False, True):
            assert name in driver.names_made(name, by_geography)

    def test_edge_is_refused_unless_declared(self, driver: DNSDriver) -> None:
        if driver.KEEPS_EDGE:
            pytest.skip("the driver keeps the edge's name")
        with pytest.raises(PermanentError, match="can't keep"):
            driver.ensure_edge(
                self.name(driver, "edge"), [AddressPool("a", addresses=("192.0.2.1",))], 30
            )

    def test_empty_calls_succeed(self, driver: DNSDriver) -> None:
        self.ensure(driver, {})
        self.remove(driver, [])

    def test_names_below_each_other_are_independent(self, driver: DNSDriver) -> None:
        upper, lower = self.name(driver, "shop"), self.name(driver, "www.shop")

        self.ensure(driver, {lower: EDGE})
        self.ensure(driver, {upper: "upper.example.com"})

        assert self.resolve(driver, upper) == "upper.example.com"
        assert self.resolve(driver, lower) == EDGE
        self.remove(driver, [upper])
        assert self.resolve(driver, upper) is None
        assert self.resolve(driver, lower) == EDGE

    def test_some_names_may_already_exist(self, driver: DNSDriver) -> None:
        old, new = self.name(driver, "old"), self.name(driver, "new")
        self.ensure(driver, {old: EDGE})

        self.ensure(driver, {old: EDGE, new: EDGE})
        assert [self.resolve(driver, name) for name in (old, new)] == [EDGE, EDGE]

        self.remove(driver, [old, self.name(driver, "never"), new])
        assert [self.resolve(driver, name) for name in (old, new)] == [None, None]

    def test_removed_name_can_be_recreated(self, driver: DNSDriver) -> None:
        name = self.name(driver, "www")
        self.ensure(driver, {name: EDGE})
        self.remove(driver, [name])

        self.ensure(driver, {name: EDGE})

        assert self.resolve(driver, name) == EDGE

    def test_many_names_at_once(self, driver: DNSDriver) -> None:
        names = [self.name(driver, f"www{number}") for number in range(self.MANY)]

        self.ensure(driver, {name: f"edge{n}.example.com" for n, name in enumerate(names)})

        found = [self.resolve(driver, name) for name in names]
        assert found == [f"edge{number}.example.com" for number in range(self.MANY)]
        self.remove(driver, names)
        assert {self.resolve(driver, name) for name in names} == {None}


class TextContract(abc.ABC):
    """Tests of a driver with ``TEXTS``, besides :class:`DNSContract`."""

    @abc.abstractmethod
    def texts(self, driver: DNSDriver, name: str) -> set[str]:
        """Return the values of the TXT records of a name."""

    @abc.abstractmethod
    def text_name(self, driver: DNSDriver) -> str:
        """Return a name for TXT records below the suffix of the shards."""

    def test_texts_are_declared(self, driver: DNSDriver) -> None:
        assert driver.TEXTS

    def test_texts_are_replaced_and_removed(self, driver: DNSDriver) -> None:
        name = self.text_name(driver)
        for values in ({"a-_1" * 10}, {"b" * 255, "c"}, {"d"}, set[str](), set[str]()):
            until_done(lambda: driver.set_texts(name, sorted(values)))  # noqa: B023
            assert self.texts(driver, name) == values

    def test_texts_leave_operator_names_alone(self, driver: DNSDriver) -> None:
        name = self.text_name(driver)
        shared = name.replace("_acme-challenge", "shop")
        until_done(lambda: driver.ensure({shared: EDGE}))
        until_done(lambda: driver.set_texts(name, ["a"]))
        until_done(lambda: driver.remove([shared]))
        assert self.texts(driver, name) == {"a"}
        until_done(lambda: driver.ensure({shared: EDGE}))
        until_done(lambda: driver.set_texts(name, []))
        with pytest.raises((PermanentError, RetryableError), match="elsewhere.test"):
            driver.set_texts("_acme-challenge.elsewhere.test", ["a"])


class SteeringContract(DNSContract):
    """Tests of a driver that supports all of ``STEERING``."""

    @abc.abstractmethod
    def ask(self, driver: DNSDriver, name: str, country: str) -> str | None:
        """Return the CNAME target of ``name`` for a client in DE, AT, US or JP."""

    def steer(self, driver: DNSDriver, policies: Mapping[str, Policy]) -> None:
        """Call ``steer`` until it is done."""
        until_done(lambda: driver.steer(policies))

    def test_all_steering_capabilities_are_declared(self, driver: DNSDriver) -> None:
        assert driver.steering == frozenset(Steering)

    def test_client_gets_the_target_for_its_place(self, driver: DNSDriver) -> None:
        name = self.name(driver, "www")

        self.steer(
            driver,
            {
                name: [
                    Target("everywhere.example.com"),
                    Target("europe.example.com", continents=("EU",)),
                    Target("germany.example.com", countries=("DE", "CH")),
                ]
            },
        )

        answers = {code: self.ask(driver, name, code) for code in ("DE", "AT", "US", "JP")}
        assert answers == {
            "DE": "germany.example.com",
            "AT": "europe.example.com",
            "US": "everywhere.example.com",
            "JP": "everywhere.example.com",
        }

    def test_clients_without_a_matching_place_get_the_first_target(
        self, driver: DNSDriver
    ) -> None:
        name = self.name(driver, "www")

        policy = [Target("a.example.com", 1, ("DE",)), Target("b.example.com", 1, ("US",))]
        self.steer(driver, {name: policy})

        answers = [self.ask(driver, name, code) for code in ("DE", "US", "JP")]
        assert answers == ["a.example.com", "b.example.com", "a.example.com"]

    def test_target_with_weight_zero_gets_no_clients(self, driver: DNSDriver) -> None:
        names = [self.name(driver, f"www{number}") for number in range(10)]

        policy = [Target("a.example.com", 0), Target("b.example.com", 5)]
        self.steer(driver, dict.fromkeys(names, policy))

        assert {self.ask(driver, name, "DE") for name in names} == {"b.example.com"}

    def test_weights_apply_among_the_targets_of_a_place(self, driver: DNSDriver) -> None:
        names = [self.name(driver, f"www{number}") for number in range(10)]
        german = [
            Target(f"{it}.example.com", weight, ("DE",)) for it, weight in (("a", 2), ("b", 3))
        ]
        nobody = Target("nobody.example.com", 0, ("DE",))

        self.steer(driver, dict.fromkeys(names, [nobody, *german, Target("c.example.com", 1)]))

        assert {self.ask(driver, name, "DE") for name in names} <= {it.name for it in german}
        assert {self.ask(driver, name, "US") for name in names} == {"c.example.com"}
        self.remove(driver, names)
        assert {self.ask(driver, name, "DE") for name in names} == {None}

    def test_steer_repairs_what_others_have_changed(self, driver: DNSDriver) -> None:
        deleted, changed = self.name(driver, "deleted"), self.name(driver, "changed")
        policy = [Target("a.example.com", 1, ("DE",)), Target("b.example.com")]
        policies = {deleted: policy, changed: policy}
        self.steer(driver, policies)
        other = self.other(driver)
        self.remove(other, [deleted])
        self.ensure(other, {changed: EDGE})
        assert self.ask(driver, changed, "DE") == EDGE

        self.steer(driver, policies)

        for name in policies:
            answers = [self.ask(driver, name, code) for code in ("DE", "US")]
            assert answers == ["a.example.com", "b.example.com"]

    def test_steering_can_be_repeated_changed_ended_and_removed(self, driver: DNSDriver) -> None:
        name, other = self.name(driver, "www"), self.name(driver, "other")
        self.ensure(driver, {name: EDGE, other: EDGE})
        policy = [Target("a.example.com", 1, ("DE",)), Target("b.example.com")]

        self.steer(driver, {name: policy})
        self.steer(driver, {name: policy})
        assert self.ask(driver, name, "DE") == "a.example.com"

        self.steer(driver, {name: [Target("c.example.com", 1, ("DE",)), Target("b.example.com")]})
        assert self.ask(driver, name, "DE") == "c.example.com"

        self.ensure(driver, {name: EDGE})
        assert [self.ask(driver, name, code) for code in ("DE", "US")] == [EDGE, EDGE]

        self.steer(driver, {name: policy})
        self.remove(driver, [name])
        assert self.ask(driver, name, "DE") is None
        assert self.resolve(driver, other) == EDGE


def until_done(work: Callable[[], None]) -> None:
    """Repeat a call of a driver while it is in progress, for two minutes at most.

    A server that is busy may fail some calls; workers repeat these.
    """
    deadline = time.monotonic() + _PATIENCE
    failures = 0
    while True:
        try:
            work()
        except InProgressError as exc:
            assert time.monotonic() < deadline, exc
            time.sleep(min(exc.poll_after, 0.5))
        except RetryableError:
            failures += 1
            if failures > _FAILURES:
                raise
            time.sleep(0.5)
        else:
            return
