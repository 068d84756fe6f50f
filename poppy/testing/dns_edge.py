# SPDX-License-Identifier: Apache-2.0
"""Conformance suite of DNS drivers that keep the name of the operator's own edge."""

import abc
from typing import Any

from poppy.dns.base import DNSDriver
from poppy.dns.steering import AddressPool
from poppy.testing.dns import EDGE, SteeringContract, until_done


class EdgeNameContract(SteeringContract):
    """Tests of a driver that keeps the name of the operator's own edge, with all of STEERING."""

    @abc.abstractmethod
    def addresses(
        self, driver: DNSDriver, name: str, rdtype: str = "A", country: str = "DE"
    ) -> set[str]:
        """Return the addresses of ``name`` that a client in DE, AT, US or JP gets.

        Args:
            rdtype: ``A`` or ``AAAA``.
        """

    @abc.abstractmethod
    def edge_ttl(self, driver: DNSDriver, name: str) -> int:
        """Return the TTL of the A records of ``name``."""

    def keep(self, driver: DNSDriver, name: str, *pools: AddressPool) -> None:
        """Call ``ensure_edge`` until it is done, with a TTL of 30 seconds."""
        until_done(lambda: driver.ensure_edge(name, pools, 30))

    def test_edge_has_the_addresses_of_a_pool(self, driver: DNSDriver) -> None:
        assert driver.KEEPS_EDGE
        name = self.name(driver, "one-pool")
        assert self.addresses(driver, name) == set()

        self.keep(driver, name, _pool("a", "192.0.2.1", "192.0.2.2", "2001:db8::1"))

        assert self.addresses(driver, name) == {"192.0.2.1", "192.0.2.2"}
        assert self.addresses(driver, name, "AAAA") == {"2001:db8::1"}
        assert self.edge_ttl(driver, name) == 30
        for _ in range(2):
            self.keep(driver, name, _pool("a", "192.0.2.2"))
            assert self.addresses(driver, name) == {"192.0.2.2"}
            assert self.addresses(driver, name, "AAAA") == set()

    def test_client_gets_the_addresses_for_its_place(self, driver: DNSDriver) -> None:
        name = self.name(driver, "places")

        self.keep(
            driver,
            name,
            _pool("everywhere", "192.0.2.1", "2001:db8::1"),
            _pool("europe", "192.0.2.2", "192.0.2.3", continents=("EU",)),
            _pool("germany", "192.0.2.4", countries=("DE", "CH")),
        )

        found = {code: self.addresses(driver, name, "A", code) for code in ("DE", "AT", "US")}
        assert found == {
            "DE": {"192.0.2.4"},
            "AT": {"192.0.2.2", "192.0.2.3"},
            "US": {"192.0.2.1"},
        }
        assert self.addresses(driver, name, "AAAA", "DE") == {"2001:db8::1"}

    def test_client_gets_the_addresses_of_one_pool_by_weight(self, driver: DNSDriver) -> None:
        name = self.name(driver, "weights")
        nothing = _pool("nothing", "192.0.2.9", weight=0, countries=("DE",))
        one = _pool("one", "192.0.2.1", "192.0.2.2", weight=2, countries=("DE",))
        other = _pool("other", "192.0.2.3", weight=3, countries=("DE",))

        self.keep(driver, name, nothing, one, other, _pool("rest", "198.51.100.1"))

        assert self.addresses(driver, name) in ({"192.0.2.1", "192.0.2.2"}, {"192.0.2.3"})
        assert self.addresses(driver, name, "A", "US") == {"198.51.100.1"}

    def test_any_pools_replace_any_others(self, driver: DNSDriver) -> None:
        name = self.name(driver, "changing")
        one, other = _pool("one", "192.0.2.1"), _pool("other", "192.0.2.2", weight=0)
        german, local = (
            _pool(it, address, countries=("DE",))
            for it, address in (("german", "192.0.2.3"), ("local", "192.0.2.3"))
        )
        wanted = [
            ([one], "192.0.2.1"),
            ([one, other], "192.0.2.1"),
            ([one, german], "192.0.2.3"),
            ([one, german, local], "192.0.2.3"),
            ([_pool("a", "192.0.2.7"), _pool("b", "192.0.2.7")], "192.0.2.7"),
        ]
        self.ensure(driver, {name: EDGE})
        # Each of them follows each other one.
        for step in range(1, len(wanted) + 1):
            for index in range(len(wanted)):
                pools, address = wanted[index * step % len(wanted)]
                self.keep(driver, name, *pools)
                assert self.addresses(driver, name) == {address}
        assert self.resolve(driver, name) is None

    def test_edge_is_independent_of_other_names(self, driver: DNSDriver) -> None:
        name, other = self.name(driver, "beside"), self.name(driver, "www")
        self.ensure(driver, {other: EDGE})

        self.keep(
            driver, name, _pool("a", "192.0.2.1", countries=("DE",)), _pool("b", "192.0.2.2")
        )
        self.remove(driver, [other])

        assert self.addresses(driver, name) == {"192.0.2.1"}
        assert self.resolve(driver, other) is None


def _pool(name: str, *addresses: str, **fields: Any) -> AddressPool:
    return AddressPool(name, addresses=addresses, **fields)
