# SPDX-License-Identifier: Apache-2.0
"""What every DNS driver has to fulfil, as tests; see :mod:`poppy.testing.provider`."""

import abc

from poppy.dns.base import DNSDriver

_EDGE = "edge.example.com"


class DNSContract(abc.ABC):
    """The tests. They need a fixture ``driver``: one whose zone has no CNAMEs."""

    MANY = 50
    """How many names a service's worth of tests makes at once."""

    @abc.abstractmethod
    def resolve(self, driver: DNSDriver, name: str) -> str | None:
        """What ``name`` is a CNAME to, without the trailing dot, or None."""

    def name(self, driver: DNSDriver, label: str) -> str:
        """An operator's name that the driver may make."""
        return driver.operator_name(f"{label}.example.org", None)

    def test_health_is_a_truth_value(self, driver: DNSDriver) -> None:
        assert driver.health() is True

    def test_a_name_is_under_the_suffix_unless_shared(self, driver: DNSDriver) -> None:
        suffix = driver.options.suffix
        assert driver.operator_name("www.a.example.org", None) == f"www.a.example.org.{suffix}"
        assert driver.operator_name("shop.scdn0.example.net", "shared") == "shop.scdn0.example.net"

    def test_ensure_makes_cnames(self, driver: DNSDriver) -> None:
        one, other = self.name(driver, "one"), self.name(driver, "other")

        driver.ensure({one: _EDGE, other: "edge2.example.com"})

        assert self.resolve(driver, one) == _EDGE
        assert self.resolve(driver, other) == "edge2.example.com"

    def test_ensure_can_be_repeated(self, driver: DNSDriver) -> None:
        name = self.name(driver, "www")

        driver.ensure({name: _EDGE})
        driver.ensure({name: _EDGE})

        assert self.resolve(driver, name) == _EDGE

    def test_ensure_changes_a_target_and_nothing_else(self, driver: DNSDriver) -> None:
        name, other = self.name(driver, "www"), self.name(driver, "other")
        driver.ensure({name: _EDGE, other: _EDGE})

        driver.ensure({name: "changed.example.com"})

        assert self.resolve(driver, name) == "changed.example.com"
        assert self.resolve(driver, other) == _EDGE

    def test_remove_takes_these_names_only(self, driver: DNSDriver) -> None:
        name, other = self.name(driver, "www"), self.name(driver, "other")
        driver.ensure({name: _EDGE, other: _EDGE})

        driver.remove([name])

        assert self.resolve(driver, name) is None
        assert self.resolve(driver, other) == _EDGE

    def test_remove_can_be_repeated(self, driver: DNSDriver) -> None:
        name = self.name(driver, "www")
        driver.ensure({name: _EDGE})

        driver.remove([name])
        driver.remove([name])

        assert self.resolve(driver, name) is None

    def test_remove_of_what_never_was_is_fine(self, driver: DNSDriver) -> None:
        driver.remove([self.name(driver, "never")])

        assert self.resolve(driver, self.name(driver, "never")) is None

    def test_nothing_to_do_is_fine(self, driver: DNSDriver) -> None:
        driver.ensure({})
        driver.remove([])

    def test_names_below_each_other_do_not_meet(self, driver: DNSDriver) -> None:
        upper, lower = self.name(driver, "shop"), self.name(driver, "www.shop")

        driver.ensure({lower: _EDGE})
        driver.ensure({upper: "upper.example.com"})

        assert self.resolve(driver, upper) == "upper.example.com"
        assert self.resolve(driver, lower) == _EDGE
        driver.remove([upper])
        assert self.resolve(driver, upper) is None
        assert self.resolve(driver, lower) == _EDGE

    def test_the_names_of_a_call_may_be_partly_there(self, driver: DNSDriver) -> None:
        old, new = self.name(driver, "old"), self.name(driver, "new")
        driver.ensure({old: _EDGE})

        driver.ensure({old: _EDGE, new: _EDGE})
        assert [self.resolve(driver, name) for name in (old, new)] == [_EDGE, _EDGE]

        driver.remove([old, self.name(driver, "never"), new])
        assert [self.resolve(driver, name) for name in (old, new)] == [None, None]

    def test_a_removed_name_can_be_made_again(self, driver: DNSDriver) -> None:
        name = self.name(driver, "www")
        driver.ensure({name: _EDGE})
        driver.remove([name])

        driver.ensure({name: _EDGE})

        assert self.resolve(driver, name) == _EDGE

    def test_many_names_at_once(self, driver: DNSDriver) -> None:
        names = [self.name(driver, f"www{number}") for number in range(self.MANY)]

        driver.ensure({name: f"edge{n}.example.com" for n, name in enumerate(names)})

        found = [self.resolve(driver, name) for name in names]
        assert found == [f"edge{number}.example.com" for number in range(self.MANY)]
        driver.remove(names)
        assert {self.resolve(driver, name) for name in names} == {None}
