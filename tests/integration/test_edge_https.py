# SPDX-License-Identifier: Apache-2.0
"""HTTPS of a node of the own edge: real HAProxy and Varnish."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import http.client
import itertools
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from poppy.common.errors import PermanentError
from poppy.edge.errors import Refused
from poppy.edge.pem import MAX_CHAIN
from poppy.edge.plane import plane
from poppy.edge.plane.files import Files
from poppy.edge.plane.runtime import HAProxy
from poppy.edge.program import (
    MAX_NAMES,
    Access,
    Certificate,
    Challenge,
    Choice,
    Clients,
    Program,
    Upstream,
)
from poppy.model.document.delivery import HSTS, Delivery
from poppy.model.document.redirects import Redirect
from tests.real.edge_api import EdgeAPI
from tests.real.edge_daemon import EdgeAgent
from tests.real.edge_fixtures import node, origin, running
from tests.real.edge_node import EdgeNode
from tests.real.edge_origins import Authority
from tests.real.origin import Origin
from tests.real.poppy import wait

pytestmark = pytest.mark.real
__all__ = ["node", "origin", "running"]

CHALLENGE = Challenge("one.example.com", "token-1", "token-1.thumbprint")
PATH = "/.well-known/acme-challenge/token-1"
EVERYONE = Access("blacklist", "client_ip", (Clients("/*", ("127.0.0.0/8",)),))


class Reply(NamedTuple):
    status: int
    body: str
    serial: str
    fields: http.client.HTTPMessage


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def program(origin: Origin, name: str, *certificates: Certificate, **parts: object) -> Program:
    plain = Program(
        service_id=f"service-{name}",
        domains=(f"{name}.example.com",),
        origins=(Upstream(origin.address, 80, False, None),),
        certificates=certificates,
    )
    return replace(plain, **parts)  # type: ignore[arg-type]


def certificate(authority: Authority, *names: str) -> Certificate:
    return Certificate(names, *authority.issue(*names))


def unfit(authority: Authority, name: str) -> Certificate:
    """Return a certificate with the key of another one."""
    return replace(certificate(authority, name), key=authority.issue(name)[1])


def get(
    node: EdgeNode, authority: Authority, name: str, host: str | None = None, target: str = "/"
) -> Reply:
    """Send a request over a verified connection for a name."""
    context = ssl.create_default_context(cafile=str(authority.file))
    with (
        socket.create_connection(node.https, 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        found = connection.getpeercert()
        assert found is not None
        request = f"GET {target} HTTP/1.1\r\nHost: {host or name}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        return Reply(
            response.status, response.read().decode(), str(found["serialNumber"]), response.msg
        )


def curl(node: EdgeNode, authority: Authority, *arguments: str) -> str:
    """Send a request to one.example.com, with a body of unknown length if asked to.

    Returns:
        The version of HTTP and the status.
    """
    address, port = node.https
    done = subprocess.run(
        ["curl", "-sS", "--http2", "--max-time", "5", "--cacert", str(authority.file)]
        + ["--resolve", f"one.example.com:{port}:{address}", f"https://one.example.com:{port}/x"]
        + ["-w", "%{http_version} %{http_code}", "-o", "/dev/null", *arguments],
        check=True,
        capture_output=True,
        input="body",
        text=True,
        timeout=30,
    )
    return done.stdout


def refuses(
    node: EdgeNode, name: str | None, latest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> bool:
    """Return whether the handshake for a name fails, with a client that knows no later TLS."""
    context = ssl._create_unverified_context()
    context.maximum_version = latest
    with socket.create_connection(node.https, 10) as plain:
        try:
            context.wrap_socket(plain, server_hostname=name).close()
        except (ssl.SSLError, ConnectionError):
            return True
    return False


def known(node: EdgeNode) -> set[Path]:
    """Return the certificates of the running HAProxy."""
    files = Files(node.settings)
    return HAProxy(files.runtime_socket).certificates(files.certificate_list)


class TestNames:
    def test_each_name_gets_its_own_certificate(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        node.serve(program(origin, "one", certificate(authority, "one.example.com")))
        node.serve(program(origin, "two", certificate(authority, "two.example.com")))

        one = get(node, authority, "one.example.com")
        two = get(node, authority, "two.example.com")

        assert (one.status, two.status) == (200, 200)
        assert one.serial != two.serial
        assert "two.example.com" in two.body

    def test_a_name_without_certificate_gets_none(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        # Its certificate is for another name of this service too, but is not to be used for it.
        both = authority.issue("one.example.com", "plain.example.com")
        node.serve(program(origin, "one", Certificate(("one.example.com",), *both)))
        node.serve(program(origin, "plain"))

        assert not refuses(node, "one.example.com")
        assert refuses(node, "plain.example.com")
        assert refuses(node, "unknown.example.com")
        assert refuses(node, None)
        assert node.get("plain.example.com")[0].status == 200

    def test_prewarming_uses_https(
        self,
        node: EdgeNode,
        origin: Origin,
        authority: Authority,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        rules = (Choice("/*", 3600),)
        node.serve(program(origin, "one", certificate(authority, "one.example.com"), ttls=rules))
        monkeypatch.delitem(node.plane._prewarming._endpoints, False)

        node.plane.prewarm("service-one", 1, ["/warm"])
        while not (state := node.plane.prewarmed()["service-one"]).done:
            time.sleep(0.02)

        assert state.reason == ""
        reply = get(node, authority, "one.example.com", target="/warm")
        assert reply.fields["X-Cache"] == "HIT"

    def test_a_connection_is_for_one_service(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        names = ("one.example.com", "also.example.com")
        pair = certificate(authority, *names)
        node.serve(program(origin, "one", pair, domains=names))
        node.serve(program(origin, "two", certificate(authority, "two.example.com")))

        assert get(node, authority, names[0], host=names[1]).status == 200
        assert get(node, authority, names[0], host="two.example.com").status == 421
        assert get(node, authority, "two.example.com", host=names[0]).status == 421
        assert get(node, authority, names[0], host="unknown.example.com").status == 404

    def test_clients_may_use_http_2(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        node.serve(program(origin, "one", certificate(authority, "one.example.com")))

        assert curl(node, authority) == "2 200"

    def test_a_request_with_a_body_over_http_2_reaches_the_origin(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        own = certificate(authority, "one.example.com")
        node.serve(program(origin, "one", own, ttls=(Choice("/*", 600),)))
        node.plane.flush()
        before = origin.total

        for arguments in ([], [], ["-X", "GET", "-T", "-"], ["-X", "GET", "-T", "-"]):
            assert curl(node, authority, *arguments) == "2 200"
        assert origin.total == before + 3


class TestChanges:
    def test_no_request_fails_while_a_certificate_is_replaced(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        node.serve(program(origin, "one", certificate(authority, "one.example.com")))
        done = threading.Event()
        seen: list[str] = []
        failures: list[Exception] = []

        def ask() -> None:
            while not done.is_set():
                try:
                    reply = get(node, authority, "one.example.com")
                    assert reply.status == 200
                    seen.append(reply.serial)
                except (AssertionError, OSError, http.client.HTTPException) as exc:
                    failures.append(exc)

        client = threading.Thread(target=ask)
        client.start()
        try:
            for _ in range(50):
                last = certificate(authority, "one.example.com")
                before = len(seen)
                node.serve(program(origin, "one", last))
                while len(seen) == before and not failures:
                    done.wait(0.001)
        finally:
            done.set()
            client.join()

        assert not failures
        assert len(set(seen)) > 25
        assert len(known(node)) == 1

    def test_a_name_can_lose_its_certificate(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        node.serve(program(origin, "one", certificate(authority, "one.example.com")))
        node.serve(program(origin, "one"))

        assert refuses(node, "one.example.com")
        assert node.get("one.example.com")[0].status == 200
        assert not known(node)

    def test_loading_makes_the_certificates_equal(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        old = program(origin, "old", certificate(authority, "old.example.com"))
        kept = program(origin, "kept", certificate(authority, "kept.example.com"))
        new = program(origin, "new", certificate(authority, "new.example.com"))
        node.serve(old)
        node.serve(kept)

        assert not node.plane.load([kept, new])

        assert refuses(node, "old.example.com")
        assert get(node, authority, "kept.example.com").status == 200
        assert get(node, authority, "new.example.com").status == 200
        assert len(known(node)) == 2

    def test_a_certificate_that_haproxy_has_is_not_checked_again(
        self,
        node: EdgeNode,
        origin: Origin,
        authority: Authority,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        checked: list[str] = []
        monkeypatch.setattr(plane, "check", lambda it: checked.extend(it.names))
        one = program(origin, "one", certificate(authority, "one.example.com"))
        two = program(origin, "two", certificate(authority, "two.example.com"))

        node.serve(one)
        node.serve(replace(one, ttls=(Choice("/*", 5),)))
        node.plane.load([one, two])

        assert checked == ["one.example.com", "two.example.com"]

    def test_a_change_that_was_cut_short_is_forgotten(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        new = program(origin, "one", certificate(authority, "one.example.com"))
        haproxy = HAProxy(Files(node.settings).runtime_socket)
        (pem,) = new.certificates
        haproxy._command("new ssl cert /left.pem")
        haproxy._command(f"set ssl cert /left.pem <<\n{pem.chain}{pem.key}")

        node.plane.load([])
        node.serve(new)

        assert get(node, authority, "one.example.com").status == 200
        assert "/left.pem" not in haproxy._command("show ssl cert")

    def test_the_largest_certificate_is_served(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        names = tuple(f"{number:03}{'a' * 60}.{'b' * 63}.example" for number in range(MAX_NAMES))
        leaf, key = authority.issue("one.example.com")
        other, _ = authority.issue("other.example.com", *(it[:120] for it in names[:23]))
        chain = leaf + other * ((MAX_CHAIN - len(leaf)) // len(other))
        assert len(chain) > MAX_CHAIN - len(other)
        large = Certificate(names, chain, key)

        node.serve(program(origin, "one", large, domains=names))
        assert not refuses(node, names[-1])
        node.stop("haproxy")
        node.start("haproxy")
        assert not refuses(node, names[-1])


class TestDelivery:
    def test_the_oldest_version_of_tls_is_that_of_the_name(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        own = certificate(authority, "one.example.com")
        node.serve(program(origin, "two", certificate(authority, "two.example.com")))
        for wanted in ("1.3", "1.2", "1.3"):
            node.serve(program(origin, "one", own, delivery=Delivery(min_tls=wanted)))

            assert refuses(node, "one.example.com", ssl.TLSVersion.TLSv1_2) == (wanted == "1.3")
            assert get(node, authority, "one.example.com").status == 200
        assert not refuses(node, "two.example.com", ssl.TLSVersion.TLSv1_2)
        node.stop("haproxy")
        node.start("haproxy")
        assert refuses(node, "one.example.com", ssl.TLSVersion.TLSv1_2)
        assert len(known(node)) == 2

    def test_a_redirect_to_https_waits_for_the_certificate_and_spares_challenges(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        delivery = Delivery(https_redirect=True, redirect_status=302)
        wanted = program(origin, "one", delivery=delivery, challenges=(CHALLENGE,))
        own = certificate(authority, "one.example.com")

        def status(target: str) -> int:
            return node.get("one.example.com", target)[0].status

        node.serve(wanted)
        assert status("/") == 200
        node.serve(replace(wanted, certificates=(own,)))
        assert status("/") == 302
        assert status(PATH) == 200
        node.stop("haproxy")
        node.start("haproxy")
        assert status("/") == 302
        assert not node.plane.load([wanted])
        assert status("/") == 200
        node.serve(replace(wanted, certificates=(own,), delivery=None))
        assert status("/") == 200

    def test_hsts_is_in_what_the_edge_itself_answers(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        node.serve(
            program(
                origin,
                "one",
                certificate(authority, "one.example.com"),
                delivery=Delivery(hsts=HSTS(0, preload=True)),
                redirects=(Redirect("r", "/old", "/new"),),
                restrictions=(
                    replace(EVERYONE, rules=(replace(EVERYONE.rules[0], pattern="/no"),)),
                ),
            )
        )
        for target, status in (("/old", 301), ("/no", 403), ("/", 200)):
            reply = get(node, authority, "one.example.com", target=target)
            assert reply.status == status
            assert reply.fields["Strict-Transport-Security"] == "max-age=0;preload"


class TestRefusals:
    def test_a_key_that_does_not_fit_is_refused_alone(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        good = program(origin, "one", certificate(authority, "one.example.com"))
        bad = program(origin, "one", unfit(authority, "one.example.com"))
        other = program(origin, "two", certificate(authority, "two.example.com"))
        node.serve(good)
        node.serve(other)
        before = get(node, authority, "one.example.com").serial

        with pytest.raises(Refused, match="one.example.com is invalid: KEY_VALUES_MISMATCH"):
            node.plane.apply(bad)

        assert get(node, authority, "one.example.com").serial == before
        assert list(node.plane.load([bad, other])) == ["service-one"]
        assert get(node, authority, "two.example.com").status == 200
        node.state.put(99, bad)
        node.stop("haproxy")
        node.start("haproxy")
        assert get(node, authority, "two.example.com").status == 200

    def test_what_haproxy_refuses_leaves_nothing(
        self, node: EdgeNode, authority: Authority
    ) -> None:
        files = Files(node.settings)
        haproxy = HAProxy(files.runtime_socket)
        path = files.certificates / "x.pem"
        bad, good = unfit(authority, "a.example.com"), certificate(authority, "a.example.com")

        def add(certificate: Certificate) -> None:
            pem = certificate.chain + certificate.key
            haproxy.add_certificate(files.certificate_list, path, pem, f"{path} a.example.com")

        for _ in range(2):
            with pytest.raises(PermanentError, match="inconsistencies between private key"):
                add(bad)
        assert "x.pem" not in haproxy._command("show ssl cert")
        add(good)
        assert not refuses(node, "a.example.com")
        haproxy.remove_certificate(files.certificate_list, path)
        haproxy.remove_certificate(files.certificate_list, path)
        assert refuses(node, "a.example.com")


class TestFiles:
    def test_haproxy_starts_again_with_the_certificates(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        programs = [
            program(origin, name, certificate(authority, f"{name}.example.com"))
            for name in ("one", "two")
        ]
        for it in programs:
            node.serve(replace(it, challenges=(replace(CHALLENGE, domain=it.domains[0]),)))
        serial = get(node, authority, "one.example.com").serial

        node.kill("haproxy")
        node.start("haproxy")

        assert get(node, authority, "one.example.com").serial == serial
        assert node.get("two.example.com", PATH)[1] == b"token-1.thumbprint"
        assert len(known(node)) == 2
        # A process that was started from files can be changed.
        node.serve(program(origin, "one", certificate(authority, "one.example.com")))
        assert get(node, authority, "one.example.com").serial != serial
        node.plane.withdraw("service-two")
        assert refuses(node, "two.example.com")

    def test_keys_are_for_the_node_s_user_only_and_go_with_the_service(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        new = program(origin, "one", certificate(authority, "one.example.com"))
        secret = new.certificates[0].key.splitlines()[1]
        node.serve(new)
        node.stop("haproxy")
        node.start("haproxy")
        node.plane.load([new])

        def holders() -> list[Path]:
            files = (it for it in node.settings.state_directory.rglob("*") if it.is_file())
            return [it for it in files if secret in it.read_text("utf-8", "ignore")]

        assert {it.suffix for it in holders()} == {".json", ".pem"}
        assert {it.stat().st_mode & 0o777 for it in holders()} == {0o600}
        assert {it.parent.stat().st_mode & 0o777 for it in holders()} == {0o700}

        node.state.delete("service-one")
        node.plane.withdraw("service-one")
        assert not holders()


class TestChallenges:
    def test_it_is_answered_before_anything_else(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        own = certificate(authority, "one.example.com")
        node.serve(program(origin, "one", own, restrictions=(EVERYONE,), challenges=(CHALLENGE,)))

        response, body = node.get("one.example.com", PATH)

        assert (response.status, body) == (200, b"token-1.thumbprint")
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert get(node, authority, "one.example.com", target=PATH).body == "token-1.thumbprint"
        assert node.get("one.example.com", PATH + "x")[0].status == 403

    def test_other_paths_hosts_and_methods_reach_the_origin(
        self, node: EdgeNode, origin: Origin
    ) -> None:
        node.serve(program(origin, "one", challenges=(CHALLENGE,)))
        node.serve(program(origin, "two"))

        for host, target in itertools.product(
            ("one.example.com", "two.example.com"), (PATH + "2", "/token-1", PATH)
        ):
            if (host, target) != ("one.example.com", PATH):
                assert node.get(host, target)[1].startswith(b"origin ")
        assert b"thumbprint" not in node.get("one.example.com", PATH, "POST")[1]

    def test_it_ends_with_the_program(self, node: EdgeNode, origin: Origin) -> None:
        other = replace(CHALLENGE, token="token-2", value="token-2.thumbprint")
        node.serve(program(origin, "one", challenges=(CHALLENGE, other)))
        node.serve(program(origin, "one", challenges=(other,)))

        assert node.get("one.example.com", PATH)[1].startswith(b"origin ")
        assert node.get("one.example.com", PATH.replace("1", "2"))[1] == b"token-2.thumbprint"
        node.plane.withdraw("service-one")
        node.serve(program(origin, "one"))
        assert node.get("one.example.com", PATH.replace("1", "2"))[1].startswith(b"origin ")


class TestAgent:
    def test_the_agent_applies_certificates_and_reports_a_bad_one(
        self, node: EdgeNode, origin: Origin, authority: Authority
    ) -> None:
        good = program(origin, "one", certificate(authority, "one.example.com"))
        bad = program(origin, "two", unfit(authority, "two.example.com"))
        with EdgeAPI() as api:
            agent = EdgeAgent(node)
            agent.join(api.url, "n1", api.store.add_node("n1"))
            api.store.publish(bad)
            api.store.publish(good)
            with agent:
                wait(lambda: api.store.reports.get("n1", {}).get("revision") == 2, 20)
                assert get(node, authority, "one.example.com").status == 200
                failures = api.store.reports["n1"]["failures"]
                assert list(failures) == ["service-two"]
                assert "two.example.com is invalid: KEY_VALUES_MISMATCH" in str(failures)

                api.store.withdraw("service-one")
                wait(lambda: api.store.reports["n1"]["revision"] == 3, 20)
                assert refuses(node, "one.example.com")


def test_a_node_may_have_no_https(origin: Origin, authority: Authority) -> None:
    with EdgeNode(allowed_origins=["127.0.0.0/8"], https=[]) as node:
        own = certificate(authority, "one.example.com")
        node.serve(program(origin, "one", own, challenges=(CHALLENGE,)))
        assert node.get("one.example.com")[0].status == 200
        assert node.get("one.example.com", PATH)[1] == b"token-1.thumbprint"
        assert not node.plane.load([program(origin, "one", own)])
        node.plane.withdraw("service-one")
