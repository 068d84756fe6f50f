# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``mock``, in memory and in a file."""

import json
import threading
from pathlib import Path

import pytest

from poppy.common import config
from poppy.common.errors import ConfigError, PermanentError, RetryableError
from poppy.dns.base import DNSDriver
from poppy.dns.mock import MockDNS
from poppy.testing.dns import DNSContract
from tests.unit.dns.making import make_driver as make_driver_with


def make_driver(**options: object) -> MockDNS:
    conf = config.new()
    conf([])
    driver = MockDNS(conf, "mock")
    for name, value in options.items():
        conf.set_override(name, value, group="drivers:dns:mock")
    return driver


class TestInMemory(DNSContract):
    @pytest.fixture
    def driver(self) -> MockDNS:
        return make_driver()

    def resolve(self, driver: DNSDriver, name: str) -> str | None:
        assert isinstance(driver, MockDNS)
        return driver.resolve(name)

    def other(self, driver: DNSDriver) -> DNSDriver:
        """No other process can see the CNAMEs."""
        return driver


class TestInAFile(DNSContract):
    @pytest.fixture
    def driver(self, tmp_path: Path) -> MockDNS:
        return make_driver(file=str(tmp_path / "dns" / "zone.json"))

    def resolve(self, driver: DNSDriver, name: str) -> str | None:
        assert isinstance(driver, MockDNS)
        return driver.resolve(name)


def test_another_process_sees_the_file(tmp_path: Path) -> None:
    path = tmp_path / "zone.json"

    make_driver(file=str(path)).ensure({"www.a.test": "edge.test"})

    assert json.loads(path.read_text()) == {"www.a.test": "edge.test"}
    assert make_driver(file=str(path)).resolve("www.a.test") == "edge.test"


def test_concurrent_writers_lose_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "zone.json")

    def write(number: int) -> None:
        driver = make_driver(file=path)
        for part in range(20):
            driver.ensure({f"w{number}-{part}.test": "edge.test"})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    names = {f"w{number}-{part}.test" for number in range(4) for part in range(20)}
    assert set(json.loads(Path(path).read_text())) == names


def test_a_broken_file_is_retryable(tmp_path: Path) -> None:
    (tmp_path / "zone.json").write_text("{")
    driver = make_driver(file=str(tmp_path / "zone.json"))

    with pytest.raises(RetryableError):
        driver.ensure({"www.a.test": "edge.test"})
    assert driver.health() is False


def test_there_is_one_shared_name_per_shard() -> None:
    driver = make_driver(shared_ssl_num_shards=2)

    assert driver.shared_domains("shop") == [
        "shop.scdn0.secure.example.net",
        "shop.scdn1.secure.example.net",
    ]


@pytest.mark.parametrize("option", ["suffix", "shared_ssl_domain_suffix"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("cdn.example.net.", "empty label"),
        (".example.net", "empty label"),
        ("", "empty label"),
        (f"{'a' * 64}.net", "more than 63 characters"),
        (".".join(["a" * 60] * 5), "at most 253"),
    ],
)
def test_suffix_that_makes_all_names_impossible_is_a_configuration_error(
    option: str, value: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=rf"\[drivers:dns:tested\] {option} .*{reason}"):
        make_driver_with(MockDNS, shared_ssl_num_shards=1, **{option: value})


def test_suffix_that_is_not_in_use_may_be_empty() -> None:
    make_driver_with(MockDNS, shared_ssl_domain_suffix="")


def test_impossible_names_are_refused() -> None:
    driver = make_driver()
    too_long = ".".join(["a" * 60] * 4) + ".com.cdn.example.net"
    for cnames in ({too_long: "edge.example.com"}, {"www.example.com": too_long}):
        with pytest.raises(PermanentError, match="can't be in DNS"):
            driver.ensure(cnames)
    driver.remove([too_long])
