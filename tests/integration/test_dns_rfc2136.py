# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``rfc2136`` on real servers; results are resolved."""

import logging
import time
from collections.abc import Iterator

import pytest

from poppy.common.errors import PermanentError, RetryableError
from poppy.dns.base import DNSDriver
from poppy.dns.rfc2136.driver import RFC2136
from poppy.testing.dns import DNSContract, TextContract
from tests.real.bind import Bind
from tests.real.knot import Knot
from tests.real.nameserver import SHARED_SUFFIX, SUFFIX, NameServer, free_port
from tests.unit.dns.making import make_driver

pytestmark = pytest.mark.real

EDGE = "edge.example.com"
NAME = f"www.example.org.{SUFFIX}"
SHARED = f"shop.scdn0.{SHARED_SUFFIX}"


def driver_for(server: NameServer, **options: object) -> RFC2136:
    given = {
        "servers": [server.address],
        "suffix": SUFFIX,
        "shared_ssl_domain_suffix": SHARED_SUFFIX,
        "tsig_key_name": server.key_name,
        "tsig_key_secret": server.secret,
        "timeout": 2.0,
        **options,
    }
    return make_driver(RFC2136, **given)


class OnAServer(DNSContract, TextContract):
    """The contract, and the tests of this driver alone."""

    SERVER: type[NameServer]

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls) -> Iterator[NameServer]:
        with cls.SERVER() as running:
            yield running

    @pytest.fixture
    def server(self, running: NameServer) -> NameServer:
        running.clear()
        return running

    @pytest.fixture
    def driver(self, server: NameServer) -> RFC2136:
        self.looked_at = server
        return driver_for(server)

    def resolve(self, driver: DNSDriver, name: str) -> str | None:
        return self.looked_at.resolve(name)

    def taken(self, driver: DNSDriver) -> str:
        return f"taken.{SUFFIX}"

    def stranger(self, driver: DNSDriver) -> RFC2136:
        return driver_for(
            self.looked_at, tsig_key_secret="d3JvbmcgYnV0IGxvbmcgZW5vdWdoIHNlY3JldA=="
        )

    def texts(self, driver: DNSDriver, name: str) -> set[str]:
        return self.looked_at.values(name, "TXT")

    def text_name(self, driver: DNSDriver) -> str:
        return f"_acme-challenge.scdn0.{SHARED_SUFFIX}"

    def test_records_have_the_configured_ttl(self, server: NameServer) -> None:
        driver_for(server, ttl=77).ensure({NAME: EDGE})
        assert server.ttl(NAME) == 77
        driver_for(server, ttl=99).ensure({NAME: EDGE})
        assert server.ttl(NAME) == 99

    def test_one_message_per_zone(self, server: NameServer) -> None:
        before = {zone: server.serial(zone) for zone in (SUFFIX, SHARED_SUFFIX)}
        driver_for(server).ensure({NAME: EDGE, f"other.{SUFFIX}": EDGE, SHARED: EDGE})
        for zone, number in before.items():
            assert server.serial(zone) == number + 1
        assert server.resolve(SHARED) == EDGE

    def test_configured_zones_are_not_looked_up(self, server: NameServer) -> None:
        zones = ["example.net", f"{SUFFIX}."]
        driver_for(server, zones=zones).ensure({NAME: EDGE})
        assert server.resolve(NAME) == EDGE
        with pytest.raises(PermanentError, match="no zone for www.other.org"):
            driver_for(server, zones=zones).ensure({"www.other.org": EDGE})

    def test_missing_zone_is_reported(self, server: NameServer) -> None:
        with pytest.raises((PermanentError, RetryableError), match="other.test"):
            driver_for(server, suffix="other.test").ensure({"www.a.test.other.test": EDGE})

    @pytest.mark.parametrize(("label", "rdtype"), [("taken", "A"), ("odd", "HINFO")])
    def test_a_name_with_other_records_is_refused(
        self, server: NameServer, label: str, rdtype: str
    ) -> None:
        before = server.records()
        name = f"{label}.{SUFFIX}"
        with pytest.raises(
            PermanentError, match=rf"{name} can't be .* other records \({rdtype}\)"
        ):
            driver_for(server).ensure({name: EDGE})
        driver_for(server).remove([name])
        assert server.records() == before

    def test_refused_message_changes_nothing(self, server: NameServer) -> None:
        before = server.records()
        with pytest.raises(PermanentError):
            driver_for(server).ensure({NAME: EDGE, f"taken.{SUFFIX}": EDGE})
        assert server.records() == before

    def test_name_below_a_wildcard(self, server: NameServer) -> None:
        server.change(SUFFIX, (f"*.{SUFFIX}", "CNAME", "wild.example.com."))
        driver = driver_for(server)
        driver.ensure({NAME: EDGE})
        assert server.resolve(NAME) == EDGE
        driver.remove([NAME])
        assert server.records()[f"*.{SUFFIX}", "CNAME"] == ["wild.example.com."]

    def test_unknown_key_is_reported(self, server: NameServer) -> None:
        driver = driver_for(server, tsig_key_name="nobody")
        with pytest.raises(RetryableError, match="does not know the TSIG key"):
            driver.ensure({NAME: EDGE})
        assert server.resolve(NAME) is None

    def test_wrong_secret_is_reported_but_not_shown(self, server: NameServer) -> None:
        wrong = server.secret[::-1].lstrip("=") + "="
        driver = driver_for(server, tsig_key_secret=wrong)
        with pytest.raises(RetryableError, match="another secret") as caught:
            driver.ensure({NAME: EDGE})
        assert wrong not in str(caught.value)

    def test_update_without_a_key_is_refused(self, server: NameServer) -> None:
        driver = driver_for(server, tsig_key_name=None, tsig_key_secret=None)
        with pytest.raises(RetryableError, match="REFUSED|NOTAUTH"):
            driver.ensure({NAME: EDGE})

    def test_clock_skew_is_reported(
        self, server: NameServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        driver = driver_for(server)
        driver.ensure({NAME: EDGE})
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() - 3600)
        with pytest.raises(RetryableError, match="clock"):
            driver.remove([NAME])

    def test_next_server_is_tried_and_kept(
        self, server: NameServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        nobody = f"127.0.0.1:{free_port()}"
        driver = driver_for(server, servers=[nobody, server.address], timeout=1.0)
        with caplog.at_level(logging.WARNING):
            driver.ensure({NAME: EDGE})
            assert nobody in caplog.text
            caplog.clear()
            driver.remove([NAME])
        assert not caplog.text, "the one that answered is asked first from then on"
        assert server.resolve(NAME) is None
        assert driver.health() is True

    def test_hanging_server_is_retryable(self, server: NameServer) -> None:
        driver = driver_for(server, timeout=1.0)
        driver.ensure({NAME: EDGE})
        server.pause()
        try:
            begun = time.monotonic()
            with pytest.raises(RetryableError, match="did not answer .* in time"):
                driver.ensure({NAME: "other.example.com"})
            assert driver.health() is False
            assert time.monotonic() - begun < 8
        finally:
            server.resume()
        driver.ensure({NAME: "other.example.com"})
        assert server.resolve(NAME) == "other.example.com"


class TestBind(OnAServer):
    SERVER = Bind

    def test_key_without_permission_is_reported(self, server: NameServer) -> None:
        with pytest.raises(RetryableError, match="REFUSED.*key may lack permission"):
            driver_for(server, tsig_key_name="stranger").ensure({NAME: EDGE})


class TestKnot(OnAServer):
    SERVER = Knot


def test_updates_continue_after_a_server_restart() -> None:
    with Bind() as server:
        driver = driver_for(server, timeout=1.0)
        driver.ensure({NAME: EDGE})
        server.stop()
        assert driver.health() is False
        with pytest.raises(RetryableError, match="did not answer"):
            driver.ensure({NAME: "other.example.com"})
        server.start()
        assert server.resolve(NAME) == EDGE
        assert driver.health() is True
        driver.ensure({NAME: "other.example.com"})
        assert server.resolve(NAME) == "other.example.com"
