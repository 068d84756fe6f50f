# SPDX-License-Identifier: Apache-2.0
"""Tools of others on the name servers that the DNS drivers have changed: dig and pdnsutil."""

import contextlib
import shutil
import sqlite3
import subprocess

import pytest

from poppy.dns import powerdns
from poppy.dns.base import DNSDriver
from poppy.dns.rfc2136.driver import RFC2136
from tests.real import unavailable
from tests.real.bind import Bind
from tests.real.knot import Knot
from tests.real.nameserver import SUFFIX, NameServer
from tests.real.powerdns import PowerDNS
from tests.unit.dns.making import make_driver

pytestmark = pytest.mark.real

_BESIDE_THE_CNAME = """
    INSERT INTO records (domain_id, name, type, content, ttl)
    SELECT domain_id, name, 'A', '192.0.2.1', 60 FROM records WHERE type = 'CNAME'
"""
EDGE = "edge.example.com"
NAME = f"www.example.org.{SUFFIX}"
WILDCARD = f"*.example.org.{SUFFIX}"


def dig(server: NameServer, *arguments: str) -> list[str]:
    """Return the lines of dig's short answer."""
    program = shutil.which("dig")
    if program is None:
        unavailable("there is no dig", "apt-get install bind9-dnsutils")
    where = [f"@{server.host}", "-p", str(server.port)]
    command = [program, *where, "+short", "+norecurse", "+time=5", *arguments]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    return run.stdout.splitlines()


def driver_for(server: NameServer) -> DNSDriver:
    if isinstance(server, PowerDNS):
        return make_driver(
            powerdns.PowerDNS, urls=[server.url], api_key=server.secret, suffix=SUFFIX
        )
    return make_driver(
        RFC2136,
        servers=[server.address],
        suffix=SUFFIX,
        tsig_key_name=server.key_name,
        tsig_key_secret=server.secret,
    )


@pytest.mark.parametrize("kind", [PowerDNS, Bind, Knot])
def test_dig_sees_the_names_of_the_driver(kind: type[NameServer]) -> None:
    with kind() as server:
        driver = driver_for(server)
        driver.ensure({NAME: EDGE, WILDCARD: EDGE})
        assert dig(server, NAME, "CNAME") == [f"{EDGE}."]
        assert dig(server, NAME, "AAAA") == [f"{EDGE}."]
        assert dig(server, NAME.upper(), "A") == [f"{EDGE}."]
        assert dig(server, f"any.example.org.{SUFFIX}", "A") == [f"{EDGE}."]
        assert dig(server, f"taken.{SUFFIX}", "A") == ["192.0.2.1"]
        driver.remove([NAME, WILDCARD])
        assert dig(server, NAME, "CNAME") == []


def test_pdnsutil_finds_no_error_in_a_zone_of_the_driver() -> None:
    with PowerDNS() as server:
        driver = driver_for(server)
        driver.ensure({NAME: EDGE, WILDCARD: EDGE})
        server.pdnsutil("check-zone", SUFFIX)
        driver.remove([WILDCARD])
        server.pdnsutil("check-zone", SUFFIX)
        with contextlib.closing(sqlite3.connect(server.directory / "pdns.sqlite3")) as database:
            database.execute(_BESIDE_THE_CNAME)
            database.commit()
        with pytest.raises(subprocess.CalledProcessError):
            server.pdnsutil("check-zone", SUFFIX)
