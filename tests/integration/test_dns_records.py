# SPDX-License-Identifier: Apache-2.0
"""A tenant creates the records that its service shows, at a real name server."""

import json
import os

import pytest

from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.model.services import Status
from poppy.provider.base import Deployment
from tests.functional.harness import Harness
from tests.real.bind import EMPTY_ZONE, Bind
from tests.real.client import run
from tests.real.poppy import PROJECT, Installation, wait

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")

pytestmark = pytest.mark.real

DOMAIN = "www.example.org"
TARGET = f"{DOMAIN}.cdn.example.net"


@pytest.fixture(scope="module")
def bind():
    with Bind(**{"example.org": EMPTY_ZONE}) as server:
        yield server


@pytest.fixture
def site(tmp_path, bind, monkeypatch):
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    resolver = {"nameservers": bind.address, "authoritative": "false", "check_records": "true"}
    made = Installation(
        tmp_path, {"DEFAULT": {"domain_ownership_interval": 0.2}, "resolver": resolver}
    )
    monkeypatch.setenv("POPPY_ENDPOINT", made.base)
    monkeypatch.setenv("POPPY_PROJECT_ID", PROJECT)
    with made.daemon("poppy-standalone"):
        made.wait_until_up()
        made.create_flavor()
        yield made
    bind.change("example.org", (DOMAIN, "CNAME"))
    made.session.close()


def listed(*options):
    shown = run("service", "dns", DOMAIN, "-f", "json", *options)
    return shown.code, json.loads(shown.out)


def test_traffic_record_is_shown_and_found_once_it_exists(site, bind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "service.json").write_text(
        json.dumps(
            {
                "name": "site",
                "flavor_id": "standard",
                "domains": [{"domain": DOMAIN}],
                "origins": [{"origin": "origin.example.net"}],
            }
        )
    )
    made = run("service", "create", "-f", "service.json", "--wait")
    assert made.code == 0, made.shown
    code, (record,) = listed()
    assert code == 0
    assert (record["Type"], record["Name"], record["Value"]) == ("CNAME", DOMAIN, TARGET)
    assert (record["Purpose"], record["Status"]) == ("traffic", "missing")
    code, (record,) = listed("--check", "--nameserver", bind.address)
    assert (code, record["Status"]) == (1, "missing")

    bind.change("example.org", (DOMAIN, "CNAME", "elsewhere.example.net."))
    wait(lambda: listed()[1][0]["Status"] == "wrong", 20)
    code, (record,) = listed("--check", "--nameserver", bind.address)
    assert (code, record["Status"]) == (1, "wrong")

    # Do exactly as the client says.
    printed = run("service", "dns", DOMAIN, "--zone-file")
    assert printed.out == f"{DOMAIN}. IN CNAME {TARGET}.\n"
    name, _, kind, value = printed.out.split()
    bind.change("example.org", (name.rstrip("."), kind))
    bind.change("example.org", (name.rstrip("."), kind, value))
    wait(lambda: listed()[1][0]["Status"] == "ok", 20)
    code, (record,) = listed("--check", "--nameserver", bind.address)
    assert (code, record["Status"]) == (0, "ok")


def test_operation_continues_soon_after_a_providers_record_exists(tmp_path, bind, monkeypatch):
    name, value = f"_acme-challenge.{DOMAIN}", "token.validations.example.net"
    record = DNSRecord(DOMAIN, Purpose.CERTIFICATE, RecordType.CNAME, name, value)
    resolver = {"nameservers": bind.address, "authoritative": "false", "check_records": "true"}
    groups = {"DEFAULT": {"domain_ownership_interval": 0.2}, "resolver": resolver}
    poppy = Harness(tmp_path, groups)

    def ensure(service, known):
        """Wait for the record, and look rarely."""
        return Deployment(
            "id-1",
            {DOMAIN: "edge.example.net"},
            in_progress=bind.resolve(name) != value,
            poll_after=600.0,
            records=(record,),
        )

    monkeypatch.setattr(poppy.cdn_a, "ensure", ensure)
    service_id = poppy.create(domain=DOMAIN)

    def shown():
        return {it.purpose: (it.provider, it.status) for it in poppy.get(service_id).dns_records}

    with poppy.working():
        poppy.wait(lambda: poppy.is_waiting(service_id))
        assert shown() == {"certificate": ("cdn-a", "missing")}
        bind.change("example.org", (name, "CNAME", f"{value}."))
        assert poppy.settle(service_id).status is Status.DEPLOYED
    assert shown() == {"certificate": ("cdn-a", "ok"), "traffic": (None, "missing")}
    bind.change("example.org", (name, "CNAME"))
    poppy.close()


@pytest.mark.parametrize("server", ["name.example.org", "127.0.0.1:0", "[::1]:x"])
def test_wrong_name_server_is_refused(site, server, tmp_path):
    refused = run("service", "dns", DOMAIN, "--check", "--nameserver", server)
    assert refused.code == 1
    assert "Traceback" not in refused.shown
