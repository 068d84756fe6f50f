# SPDX-License-Identifier: Apache-2.0
"""HTTPS of services at the own edge: API, worker, store, Pebble, HAProxy and Varnish."""

import base64
import datetime
import hashlib
import itertools
import json
import os
import re
import socket
import ssl
import threading
import time
from dataclasses import replace

import pytest
import webtest
from cryptography.hazmat.primitives import serialization

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.manager.edge_keys import EdgeKeys
from poppy.model import specs as model
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.provider.edge import acme_renewal
from poppy.provider.edge import certificates as driver_certificates
from poppy.provider.edge.acme_options import Limits
from poppy.provider.edge.driver import EdgeProvider
from poppy.testing.builders import make_flavor, make_service, make_spec
from poppy.testing.edge import Request
from poppy.testing.edge.wire import exchange
from tests.certificates import Signed
from tests.functional.harness import PROJECT, Harness
from tests.real.edge_agent import NodeAgent, until
from tests.real.edge_node import EdgeNode
from tests.real.origin import Origin
from tests.real.pebble import BLOCKED, Pebble, Published

pytestmark = pytest.mark.real

GROUP = "drivers:provider:edge"
SNI = {"protocol": "https", "certificate": "sni"}


@pytest.fixture(scope="module")
def node():
    with EdgeNode(allowed_origins=["127.0.0.0/8"]) as node:
        yield node


@pytest.fixture(scope="module")
def published(node):
    with Published() as published:
        published.http_port = node.http[1]
        yield published


@pytest.fixture
def pebble(published):
    with Pebble(published) as server:
        yield server


@pytest.fixture
def origin():
    with Origin() as origin:
        yield origin


@pytest.fixture
def poppy(tmp_path, node, pebble):
    edge = {
        "acme_directories": pebble.directory_url,
        "acme_ca_file": pebble.ca_file,
        "acme_profile": "default",
        "acme_terms_accepted": "true",
        "encryption_keys": base64.b64encode(os.urandom(32)).decode(),
        "allowed_origins": "127.0.0.0/8",
    }
    poppy = Harness(tmp_path, {GROUP: edge}, health_interval=0.2)
    provider = EdgeProvider(poppy.conf, "edge")
    provider.attach(poppy.storage)
    poppy.boot.providers["edge"] = provider
    poppy.storage.flavors.create(make_flavor("own", ["edge"]))
    edges = poppy.boot.manager.edge
    agent = NodeAgent(node, poppy.boot.transport.application, "node-1", edges.add("node-1"))
    stopped = threading.Event()
    thread = threading.Thread(target=agent.run, args=(stopped, 0.1))
    thread.start()
    poppy.edge = provider
    yield poppy
    stopped.set()
    thread.join()
    poppy.close()
    for stored in list(node.state.programs()):
        node.state.delete(stored.program.service_id)
    node.plane.load([])


def create(poppy, origin, *domains):
    entries = [{"domain": it, **SNI} for it in domains]
    return poppy.create(flavor_id="own", domains=entries, origins=[{"origin": origin.address}])


def certificates(poppy, service_id):
    return dict(poppy.get(service_id).provider_details["edge"].certificates)


def get(node, pebble, domain):
    root = pebble.root().public_bytes(serialization.Encoding.PEM).decode()
    tls = ssl.create_default_context(cadata=root)
    return exchange(node.https, Request(domain, "/"), tls).status


def test_a_service_gets_its_certificate(poppy, node, pebble, origin):
    domain = "www.example.com"
    with poppy.working():
        service_id = create(poppy, origin, domain)
        until(lambda: certificates(poppy, service_id) == {domain: "deployed"}, 30)
        poppy.settle(service_id)
        assert get(node, pebble, domain) == 200
        assert node.get(domain)[0].status == 200
        assert pebble.certificates() == 1
        time.sleep(1)
        assert pebble.orders() == 1

        poppy.services.delete(PROJECT, service_id, "req-2")
        until(lambda: poppy.settle(service_id) is None)
    assert poppy.storage.edge.orders(service_id) == []
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(node, pebble, domain)


def test_private_keys_are_encrypted_in_the_store(poppy, node, pebble, origin, tmp_path):
    with poppy.working():
        service_id = create(poppy, origin, "www.example.com")
        until(lambda: certificates(poppy, service_id) == {"www.example.com": "deployed"}, 30)
        poppy.settle(service_id)

    (stored,) = (it.program.certificates[0] for it in node.state.programs())
    database = b"".join(it.read_bytes() for it in tmp_path.glob("*sqlite3*"))
    assert stored.key.splitlines()[1].encode() not in database
    assert b"PRIVATE KEY" not in database
    assert stored.chain.splitlines()[1].encode() in database


def restart(poppy, *keys):
    """Have all processes use these keys."""
    poppy.conf.set_override("encryption_keys", list(keys), group=GROUP)
    poppy.edge = poppy.boot.providers["edge"] = EdgeProvider(poppy.conf, "edge")
    poppy.edge.attach(poppy.storage)


def test_an_old_key_can_be_removed_after_a_rotation(poppy, node, pebble, origin):
    (old,) = poppy.edge.options.encryption_keys
    new = base64.b64encode(os.urandom(32)).decode()
    with poppy.working():
        service_id = create(poppy, origin, "www.example.com")
        until(lambda: certificates(poppy, service_id) == {"www.example.com": "deployed"}, 30)
        poppy.settle(service_id)
    sealed = certificate_of(poppy, service_id)["key"]

    restart(poppy, new)
    with pytest.raises(errors.ConfigError, match="lacks the key with the ID"):
        EdgeKeys(poppy.storage, poppy.boot.providers).rotate()
    restart(poppy, new, old)
    keys = EdgeKeys(poppy.storage, poppy.boot.providers)
    first, second = keys.key_ids
    assert keys.usage() == {first: 0, second: 2}
    with poppy.working():
        rotation = keys.rotate()
        assert [it.service_id for it in rotation.updated] == [service_id]
        assert rotation.left == []
        until(lambda: keys.usage() == {first: 2, second: 0})
        poppy.settle(service_id)
    assert keys.rotate() == ([], [])

    restart(poppy, new)
    published = poppy.storage.edge.current(service_id).program
    assert sealed not in published
    assert "PRIVATE KEY" in poppy.edge.reveal(published)
    assert poppy.storage.edge.account(pebble.directory_url)["key"].startswith(first)
    node.plane.load([])
    (stored,) = node.state.programs()
    node.plane.load([stored.program])
    assert get(node, pebble, "www.example.com") == 200


def test_a_domain_that_fails_does_not_hold_up_others(poppy, node, published, pebble, origin):
    published.break_dns("broken.example.com")
    with poppy.working():
        service_id = create(poppy, origin, "www.example.com", "broken.example.com")
        expected = {"www.example.com": "deployed", "broken.example.com": "create_in_progress"}
        until(lambda: certificates(poppy, service_id) == expected, 30)
        assert str(poppy.settle(service_id).status) == "deployed"
    assert get(node, pebble, "www.example.com") == 200
    assert node.get("broken.example.com")[0].status == 200


def test_the_tenant_sees_why_a_certificate_fails(poppy, published, pebble, origin):
    published.break_dns("broken.example.com")
    limited = f"certificate:{pebble.directory_url}:limited.org"
    for _ in range(Limits().certificates):
        poppy.storage.edge.add_event(limited, now_utc())
    states = {
        "broken.example.com": "create_in_progress",
        f"www.{BLOCKED}": "failed",
        "www.limited.org": "create_in_progress",
    }
    with poppy.working():
        service_id = create(poppy, origin, *states)
        until(lambda: len(poppy.get(service_id).errors) == 3, 30)
        assert certificates(poppy, service_id) == states
        assert str(poppy.settle(service_id).status) == "deployed"
        errors = poppy.get(service_id).errors

        again = "; next attempt at [0-9-]+T[0-9:]+Z"
        assert re.fullmatch(
            "Certificate of broken.example.com: port 80 can't be reached; point the domain to "
            f"the edge .*could not resolve.*{again}",
            errors[0],
        )
        assert re.fullmatch(
            rf"Certificate of www\.{BLOCKED}: 127.0.0.1 issues no certificate for .*{again}",
            errors[1],
        )
        assert re.fullmatch(
            f"Certificate of www.limited.org: The limit of 40 certificates for .*{again}",
            errors[2],
        )

        # An update does not forget the reasons, and does not ask the authority before its time.
        orders = pebble.orders()
        poppy.services.update(PROJECT, service_id, [], "req-2")
        poppy.settle(service_id)
        assert poppy.get(service_id).errors == errors
        assert certificates(poppy, service_id) == states
        assert pebble.orders() == orders


def test_a_dropped_domain_loses_its_certificate(poppy, node, pebble, origin):
    domains = ("www.example.com", "two.example.com")
    with poppy.working():
        service_id = create(poppy, origin, *domains)
        until(lambda: certificates(poppy, service_id) == dict.fromkeys(domains, "deployed"), 30)
        poppy.settle(service_id)
        patch = [{"op": "remove", "path": "/domains/1"}]
        poppy.services.update(PROJECT, service_id, patch, "req-2")
        poppy.settle(service_id)
    assert get(node, pebble, "www.example.com") == 200
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(node, pebble, "two.example.com")
    assert len(poppy.storage.edge.orders(service_id)) == 1
    assert pebble.orders() == 2


def suggest_now(poppy, pebble, service_id):
    """Have the authority suggest to renew a certificate now, and the driver ask again."""
    until(lambda: poppy.storage.edge.orders(service_id)[0].content["ask_at"])
    (order,) = poppy.storage.edge.orders(service_id)
    window = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    pebble.suggest(order.content["certificate"], json.dumps({"suggestedWindow": window}))
    asked = replace(order, content={**order.content, "ask_at": None}, due_at=now_utc())
    poppy.storage.edge.put_order(asked)


def certificate_of(poppy, service_id):
    """Return the only certificate of a service as it is published."""
    (found,) = json.loads(poppy.storage.edge.current(service_id).program)["certificates"]
    return found


def test_a_certificate_is_renewed_when_the_authority_suggests_it(
    poppy, node, pebble, origin, monkeypatch
):
    monkeypatch.setattr(driver_certificates, "_LEAST_AGE", datetime.timedelta(0))
    with poppy.working():
        service_id = create(poppy, origin, "www.example.com")
        until(lambda: certificates(poppy, service_id) == {"www.example.com": "deployed"}, 30)
        poppy.settle(service_id)
        (first,) = poppy.storage.edge.orders(service_id)
        suggest_now(poppy, pebble, service_id)
        until(lambda: certificate_of(poppy, service_id)["order"] != first.order_id, 30)
        until(lambda: pebble.certificates() == 2, 30)
        poppy.settle(service_id)
        until(lambda: len(poppy.storage.edge.orders(service_id)) == 1, 30)
    assert get(node, pebble, "www.example.com") == 200


def test_a_renewal_that_fails_is_not_due_at_once(poppy, node, pebble, origin, monkeypatch):
    service, known = https_service(origin, "www.example.com")
    ensure(poppy, service, known)
    now = now_utc()
    (current,) = poppy.storage.edge.orders(service.service_id)
    poppy.storage.edge.put_order(replace(current, due_at=now))
    monkeypatch.setattr(acme_renewal, "default_time", lambda _leaf: now)
    pebble.stop()

    assert ensure(poppy, service, known).certificates == {"www.example.com": "deployed"}

    assert len(poppy.storage.edge.orders(service.service_id)) == 2
    assert poppy.edge.due(10) == []
    later = poppy.storage.edge.due(now + datetime.timedelta(seconds=90), 10)
    assert later == [(service.project_id, service.service_id)]


def test_a_service_is_deployed_while_the_authority_is_down(
    poppy, node, pebble, origin, monkeypatch
):
    monkeypatch.setattr(driver_certificates, "_PAUSE", 0.5)
    pebble.stop()
    with poppy.working():
        service_id = create(poppy, origin, "www.example.com")
        assert str(poppy.settle(service_id).status) == "deployed"
        assert certificates(poppy, service_id) == {"www.example.com": "create_in_progress"}
        assert node.get("www.example.com")[0].status == 200
        pebble.start()
        until(lambda: certificates(poppy, service_id) == {"www.example.com": "deployed"}, 30)
        poppy.settle(service_id)
    assert get(node, pebble, "www.example.com") == 200


class API:
    """The custom certificate of a domain, over the API."""

    def __init__(self, poppy, service_id, domain):
        self._app = webtest.TestApp(poppy.boot.transport.application)
        self._url = f"/v1.0/services/{service_id}/certificates/{domain}"
        self._headers = {"X-Project-ID": PROJECT}

    def get(self, status=200):
        return self._app.get(self._url, headers=self._headers, status=status).json

    def put(self, chain, key, status=202):
        body = {"chain": chain, "key": key}
        answer = self._app.put_json(self._url, body, headers=self._headers, status=status)
        return answer.text

    def delete(self, status=202):
        self._app.delete(self._url, headers=self._headers, status=status)


def served(node, domain, authority):
    """Return the fingerprint of the certificate that a verified request gets; None without."""
    context = ssl.create_default_context(cadata=authority.pem)
    try:
        with (
            socket.create_connection(node.https) as plain,
            context.wrap_socket(plain, server_hostname=domain) as secure,
        ):
            return hashlib.sha256(secure.getpeercert(True)).hexdigest()
    except (ssl.SSLError, ConnectionError):
        return None


def test_a_custom_certificate_is_deployed_replaced_and_deleted(
    poppy, node, pebble, origin, tmp_path, caplog
):
    caplog.set_level("DEBUG")
    domain = "shop.example.com"
    root = Signed("root")
    issuer = Signed("issuer", issuer=root)
    first, second = (Signed(str(it), issuer=issuer, names=["*.example.com"]) for it in range(2))
    entry = {"domain": domain, "protocol": "https", "certificate": "custom"}
    with poppy.working():
        service_id = poppy.create(
            flavor_id="own", domains=[entry], origins=[{"origin": origin.address}]
        )
        (message,) = poppy.settle(service_id).errors
        assert (
            message == f"Certificate of {domain}: upload a certificate and its key for the domain"
        )
        api = API(poppy, service_id, domain)
        api.get(404)
        api.delete(404)
        assert served(node, domain, root) is None

        for site in (first, second):
            api.put(site.pem + issuer.pem, site.key_pem)
            found = poppy.settle(service_id)
            assert (str(found.status), found.errors) == ("deployed", ())
            assert certificates(poppy, service_id) == {domain: "deployed"}
            assert served(node, domain, root) == site.fingerprint
            assert api.get() == {
                "domain": domain,
                "names": ["*.example.com"],
                "expires_at": f"{site.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
                "fingerprint": site.fingerprint,
            }
        assert "not that of the first" in api.put(first.pem + issuer.pem, second.key_pem, 400)
        assert served(node, domain, root) == second.fingerprint
        assert poppy.edge.due(10) == []

        database = b"".join(it.read_bytes() for it in tmp_path.glob("*sqlite3*"))
        for site in (first, second):
            secret = site.key_pem.splitlines()[1]
            assert secret.encode() not in database
            assert secret not in caplog.text

        api.delete()
        poppy.settle(service_id)
        assert served(node, domain, root) is None
        api.get(404)

        api.put(first.pem + issuer.pem, first.key_pem)
        poppy.settle(service_id)
        patch = [{"op": "replace", "path": "/domains/0/certificate", "value": "sni"}]
        poppy.services.update(PROJECT, service_id, patch, "req-2")
        poppy.settle(service_id)
        until(lambda: pebble.certificates() == 1, 30)
        api.put(first.pem, first.key_pem, 400)
        poppy.services.delete(PROJECT, service_id, "req-3")
        until(lambda: poppy.settle(service_id) is None)
    assert poppy.storage.edge.orders(service_id) == []


def test_what_no_authority_issues_is_refused(poppy, origin):
    with pytest.raises(errors.PoppyError, match="a_b.example.com"):
        create(poppy, origin, "a_b.example.com")
    order = {"cert_type": "sni", "domain_name": "a.example.com", "flavor_id": "own"}
    with pytest.raises(errors.PoppyError, match="with the service that has the domain"):
        poppy.boot.manager.certificates.create(PROJECT, {**order, "project_id": PROJECT}, "req-1")


def test_a_worker_killed_after_any_write_leaves_one_certificate(
    poppy, node, pebble, origin, monkeypatch
):
    class Killed(BaseException):
        pass

    writes = ("publish", "put_order", "add_account", "put_account", "add_event", "delete_orders")
    log = poppy.storage.edge
    for number in itertools.count(1):
        domain = f"www{number}.example.com"
        service, known = https_service(origin, domain)
        orders, certificates_ = pebble.orders(), pebble.certificates()
        calls = itertools.count(1)

        def killed(write, fatal=number, calls=calls):
            def call(*arguments):
                result = write(*arguments)
                if next(calls) == fatal:
                    raise Killed
                return result

            return call

        with monkeypatch.context() as patch:
            for name in writes:
                patch.setattr(log, name, killed(getattr(log, name)))
            try:
                ensure(poppy, service, known)
            except Killed:
                was_killed = True
            else:
                was_killed = False
        assert ensure(poppy, service, known).certificates == {domain: "deployed"}
        assert pebble.orders() == orders + 1, number
        assert pebble.certificates() == certificates_ + 1, number
        assert get(node, pebble, domain) == 200
        if not was_killed:
            break
    assert number > 8


def https_service(origin, domain):
    """Return a service with a domain in DNS, and what is known of it."""
    spec = make_spec((), origins=(model.Origin(origin.address),))
    service = make_service(spec=replace(spec, domains=(model.Domain(domain, "https", "sni"),)))
    url = AccessURL(domain, "edge.example.net", f"{domain}.cdn.example.net")
    return service, ProviderDetail(ProviderStatus.DEPLOYED, service.service_id, (url,))


def ensure(poppy, service, known):
    """Call the driver until it is done, as workers do."""
    deadline = time.monotonic() + 30
    while True:
        deployment = poppy.edge.ensure(service, known)
        if not deployment.in_progress:
            return deployment
        assert time.monotonic() < deadline, deployment
        time.sleep(min(deployment.poll_after, 0.2))
