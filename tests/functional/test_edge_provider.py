# SPDX-License-Identifier: Apache-2.0
"""The provider ``edge`` with the real API and store, and doubles of nodes."""

import base64
import datetime
import functools
import os
import threading
from dataclasses import replace

import pytest

from poppy.bootstrap import Bootstrap
from poppy.common import config, errors
from poppy.common.clock import now_utc
from poppy.common.errors import InProgressError, PermanentError
from poppy.distributed_task import dispatcher
from poppy.edge.program import Program
from poppy.manager.document_secrets import DocumentSecrets
from poppy.model import edge as model
from poppy.model.document.origins import SecretHeader
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.operations import Purge
from poppy.model.secrets import Secret, secrets_of
from poppy.model.specs import Origin
from poppy.provider.base import Capability
from poppy.provider.edge import driver
from poppy.provider.edge.driver import EdgeProvider
from poppy.provider.mock import MockProvider
from poppy.testing.builders import make_flavor, make_service, make_spec
from poppy.testing.provider import ProviderContract
from tests.functional.harness import PROJECT, Harness
from tests.real.edge_agent import Agent, until

GROUP = "drivers:provider:edge"
STORE = "https://swift.example.net"
LOGS = {
    "log_bucket": "cdn-logs",
    "log_endpoint": STORE,
    "log_access_key": "AKIALOGS",
    "log_secret_key": "s3cr3t",
}


def make_provider(poppy, **options):
    provider = EdgeProvider(poppy.conf, "edge")
    for name, value in options.items():
        poppy.conf.set_override(name, value, group=GROUP)
    made = EdgeProvider(poppy.conf, "edge") if options else provider
    made.attach(poppy.storage)
    return made


def add_node(poppy, name):
    agent = Agent(poppy.boot.transport.application, name, poppy.boot.manager.edge.add(name))
    agent.poll()
    return agent


@pytest.fixture
def provider(poppy):
    return make_provider(poppy)


@pytest.fixture
def nodes(poppy):
    return [add_node(poppy, f"node-{number}") for number in range(3)]


def poll(nodes):
    for node in nodes:
        # Without the tag, because the API caches the head.
        node._tag = None
        node.poll()


class TestContract(ProviderContract):
    """With nodes that poll between two calls of the driver."""

    @pytest.fixture
    def provider(self, poppy, nodes):
        self.nodes = nodes
        return make_provider(poppy, **LOGS)

    def objects(self, provider, service):
        poll(self.nodes)
        (serving,) = {service.service_id in node.programs for node in self.nodes}
        return [service.service_id] if serving else []

    def log_places(self, provider, service):
        poll(self.nodes)
        programs = {it.programs.get(service.service_id) for it in self.nodes}
        owners = {it.log_project for it in programs if it is not None} - {""}
        return {f"{STORE}/cdn-logs/{it}/{service.service_id}/edge/" for it in owners}

    def settle(self, provider, service, known=None):
        for _ in range(3):
            deployment = provider.ensure(service, known)
            if not deployment.in_progress:
                # What differs from a call that finds the change done already.
                return replace(deployment, poll_after=0.0)
            poll(self.nodes)
        raise AssertionError("still in progress")

    def take_away(self, provider, service, known=None):
        for _ in range(3):
            try:
                provider.remove(service, known)
            except InProgressError:
                poll(self.nodes)
                continue
            return
        raise AssertionError("still in progress")


def test_deployment_is_done_once_all_live_nodes_have_it(provider, nodes):
    service = make_service()
    first = provider.ensure(service, None)
    assert (first.in_progress, first.message) == (True, "0 of 3 nodes have it")
    assert 0.2 <= first.poll_after <= 0.5
    poll(nodes[:2])
    assert provider.ensure(service, None).message == "2 of 3 nodes have it"
    poll(nodes[2:])
    done = provider.ensure(service, None)
    assert not done.in_progress
    assert set(done.access_urls.values()) == {"edge.example.net"}
    assert all(service.service_id in node.programs for node in nodes)


def test_secrets_of_documents_are_open_for_nodes_only(tmp_path):
    key = base64.b64encode(os.urandom(32)).decode()
    poppy = Harness(tmp_path, {"document_secrets": {"encryption_keys": key}})
    service = make_service()
    field = SignedURLs((SigningKey("k1", Secret(text="s3cret" * 6)),))
    header = SecretHeader("X-Edge", Secret(text="s3cret"))
    origins = (replace(service.spec.origins[0], secret_header=header),)
    spec = DocumentSecrets([key]).sealed(
        replace(service.spec, signed_urls=field, origins=origins), service.service_id
    )
    provider = make_provider(poppy)
    provider.check(spec)
    provider.ensure(replace(service, spec=spec), None)

    published = poppy.storage.edge.current(service.service_id).program
    assert "s3cret" not in published
    revealed = Program.from_json(provider.reveal(published))
    assert {it.text for it in secrets_of(revealed)} == {"s3cret" * 6, "s3cret"}
    poppy.close()


def test_polls_become_rarer(provider, nodes, monkeypatch):
    service = make_service()
    began = now_utc()
    provider.ensure(service, None)
    waits = []
    for seconds in (0, 2, 10, 25):
        later = began + datetime.timedelta(seconds=seconds)
        monkeypatch.setattr("poppy.provider.edge.nodes.now_utc", lambda later=later: later)
        waits.append(provider.ensure(service, None).poll_after)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.2, 5.0)


def test_node_that_is_away_does_not_hold_up_a_change(provider, nodes, monkeypatch):
    service = make_service()
    provider.ensure(service, None)
    later = now_utc() + model.LIVE
    monkeypatch.setattr("poppy.provider.edge.nodes.now_utc", lambda: later)
    monkeypatch.setattr("poppy.manager.edge.now_utc", lambda: later)
    poll(nodes[:2])
    assert not provider.ensure(service, None).in_progress


def test_change_waits_for_a_live_node(poppy, provider):
    service = make_service()
    assert provider.ensure(service, None).message == "0 nodes are live, of 1 that are needed"
    with pytest.raises(InProgressError, match="0 nodes are live"):
        provider.purge(service, None, Purge(None, True, reference="op-0"))
    assert provider.serves() is False
    node = add_node(poppy, "node-0")
    assert not provider.ensure(service, None).in_progress
    assert provider.serves() is True
    assert service.service_id in node.programs


def test_removal_from_an_edge_without_nodes_is_done_at_once(provider):
    service = make_service()
    provider.ensure(service, None)
    provider.remove(service, None)


def test_drained_node_does_not_count(poppy, provider, nodes):
    poppy.storage.edge.set_drained("node-2", True)
    service = make_service()
    provider.ensure(service, None)
    poll(nodes[:2])
    assert not provider.ensure(service, None).in_progress


@pytest.mark.parametrize(("quorum", "needed"), [(1, 1), (34, 2), (67, 3), (100, 3)])
def test_quorum_is_a_share_of_the_live_nodes(poppy, nodes, quorum, needed):
    provider = make_provider(poppy, edge_quorum=quorum)
    service = make_service()
    for count in range(needed):
        assert provider.ensure(service, None).in_progress, count
        poll([nodes[count]])
    assert not provider.ensure(service, None).in_progress


def test_quorum_is_not_below_the_least_number(poppy, nodes):
    provider = make_provider(poppy, edge_quorum=1, min_nodes=4)
    service = make_service()
    provider.ensure(service, None)
    poll(nodes)
    assert "of 4 that are needed" in provider.ensure(service, None).message
    poll([add_node(poppy, "node-3")])
    for _ in nodes:
        assert not provider.ensure(service, None).in_progress


def test_refused_program_fails_with_the_nodes_reason(provider, nodes):
    service, other = make_service(), make_service()
    nodes[1].refused[service.service_id] = "a map is full"
    provider.ensure(service, None)
    provider.ensure(other, None)
    poll(nodes)
    for _ in range(2):
        with pytest.raises(PermanentError, match="Node node-1 can't serve it: a map is full"):
            provider.ensure(service, None)
    assert not provider.ensure(other, None).in_progress

    nodes[1].refused.clear()
    changed = replace(service, spec=make_spec(["www.changed.example.com"]))
    assert provider.ensure(changed, None).in_progress, "the failure is of an earlier revision"
    poll(nodes)
    assert not provider.ensure(changed, None).in_progress


def test_removal_waits_for_the_nodes(provider, nodes):
    service = make_service()
    provider.ensure(service, None)
    poll(nodes)
    for count in range(3):
        with pytest.raises(InProgressError, match=f"{count} of 3 nodes have it"):
            provider.remove(service, None)
        poll([nodes[count]])
    provider.remove(service, None)
    assert not any(node.programs for node in nodes)


def test_repeated_purge_is_one_and_waits_for_the_nodes(provider, nodes):
    service = make_service()
    provider.ensure(service, None)
    poll(nodes)
    purge = Purge("/a", False, reference="op-0")
    for count in range(3):
        with pytest.raises(InProgressError, match=f"{count} of 3 nodes have it"):
            provider.purge(service, None, purge)
        poll([nodes[count]])
    provider.purge(service, None, purge)
    assert [node.purges for node in nodes] == [[(service.service_id, "/a", False)]] * 3


def test_a_purge_that_a_node_refuses_fails(provider, nodes):
    service = make_service()
    provider.ensure(service, None)
    poll(nodes)
    nodes[1].refused = {service.service_id: "unknown field 'later'"}
    purge = Purge(None, True, tags=("a",), reference="op-0")
    with pytest.raises(InProgressError):
        provider.purge(service, None, purge)
    poll(nodes)
    with pytest.raises(PermanentError, match="node-1 can't purge it: unknown field"):
        provider.purge(service, None, purge)
    provider.ensure(service, None)  # The program is served.


def test_a_prewarm_waits_for_all_nodes_and_says_what_failed(provider, nodes):
    service = make_service()
    provider.ensure(service, None)
    poll(nodes)

    def prewarm():
        return provider.prewarm(service, None, ("/a", "/b"), "op-0")

    with pytest.raises(InProgressError, match="0 of 3 nodes have it"):
        prewarm()
    poll(nodes)
    for node in nodes:
        with pytest.raises(InProgressError, match=f"{node.name} fetches them"):
            prewarm()
        node.prewarms[service.service_id]["done"] = True
        poll([node])
    assert prewarm() == ""
    nodes[1].prewarms[service.service_id]["reason"] = "1 of 2 failed: /b: 404"
    nodes[2].prewarms.clear()  # Its agent was restarted.
    poll(nodes)
    assert prewarm() == "node node-1: 1 of 2 failed: /b: 404"
    nodes[0].prewarms[service.service_id] |= {"revision": 1, "done": False}
    poll(nodes)
    assert prewarm() == "node node-1: 1 of 2 failed: /b: 404"


def test_withdrawn_service_cannot_be_purged(provider, nodes):
    service = make_service()
    provider.ensure(service, None)
    with pytest.raises(InProgressError):
        provider.remove(service, None)
    with pytest.raises(PermanentError, match="no service"):
        provider.purge(service, None, Purge(None, True, reference="op-0"))


def test_edge_serves_if_any_node_does(poppy, nodes):
    provider = make_provider(poppy, max_behind=2)
    assert provider.serves() is True
    assert provider.health() is True
    for node in nodes[1:]:
        node.ready = False
    poll(nodes)
    assert provider.serves() is True
    for number in range(3):
        poppy.storage.edge.publish(f"service-{number}", "{}")
    assert provider.serves() is False, "the ready node is three changes behind"
    nodes[0].revision = 1
    nodes[0].report()
    assert provider.serves() is True
    poppy.storage.edge.set_drained("node-0", True)
    assert provider.serves() is False
    assert provider.health() is False


def test_health_is_unknown_without_the_store(poppy, provider, nodes, monkeypatch):
    def fail():
        raise errors.Unavailable("The database does not answer")

    monkeypatch.setattr(poppy.storage.edge, "nodes", fail)
    assert provider.serves() is None
    assert provider.health() is False


@pytest.mark.parametrize("call", ["ensure", "remove"])
@pytest.mark.parametrize("action", ["ensure", "remove"])
@pytest.mark.parametrize("number", [0, 1])
def test_two_workers_can_interleave_at_any_call_of_the_store(
    poppy, nodes, monkeypatch, call, action, number
):
    """The second worker acts before a call of the first one, which makes two."""
    provider = make_provider(poppy)
    one, other = make_service(), make_service()
    for service in (one, other):
        _finish(provider.ensure, service, nodes)
    one = replace(one, spec=make_spec(["www.changed.example.com"]))
    method = ("nodes",) if number else ("publish", "withdraw")
    acted = []

    def interleave(real, *arguments):
        if not acted:
            acted.append(action)
            _finish(getattr(provider, action), other, nodes)
        return real(*arguments)

    for name in method:
        real = functools.partial(interleave, getattr(poppy.storage.edge, name))
        monkeypatch.setattr(poppy.storage.edge, name, real)
    _finish(getattr(provider, call), one, nodes)

    assert acted
    for service, last in ((one, call), (other, action)):
        served = {service.service_id in node.programs for node in nodes}
        assert served == {last == "ensure"}, service.spec.domain_names


def _finish(call, service, nodes):
    for _ in range(3):
        try:
            result = call(service, None)
        except InProgressError:
            poll(nodes)
            continue
        if result is None or not result.in_progress:
            return
        poll(nodes)
    raise AssertionError("still in progress")


@pytest.mark.parametrize("method", ["publish", "withdraw", "purge", "nodes"])
def test_worker_can_die_after_any_call_of_the_store(poppy, nodes, monkeypatch, method):
    provider = make_provider(poppy)
    service, log = make_service(), poppy.storage.edge
    purge = Purge(None, True, reference="op-0")
    with monkeypatch.context() as patch:
        real = getattr(log, method)

        def die(*arguments):
            real(*arguments)
            raise KeyboardInterrupt

        patch.setattr(log, method, die)
        if method != "publish":
            provider_log = log.publish(service.service_id, _program(service))
            assert provider_log.revision == 1
        with pytest.raises(KeyboardInterrupt):
            if method == "withdraw":
                provider.remove(service, None)
            elif method == "purge":
                provider.purge(service, None, purge)
            else:
                provider.ensure(service, None)
    if method == "withdraw":
        _finish(provider.remove, service, nodes)
        assert log.head() == 2
    elif method == "purge":
        for _ in nodes:
            poll(nodes)
        provider.purge(service, None, purge)
        assert [len(node.purges) for node in nodes] == [1] * 3
    else:
        _finish(provider.ensure, service, nodes)
        assert log.head() == 1


def _program(service):
    return driver.compile_program(service.service_id, service.spec).to_json()


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "::ffff:10.0.0.1"])
def test_addresses_inside_the_operators_network_are_refused(provider, address):
    spec = make_spec(origins=(Origin(address),))
    with pytest.raises(PermanentError, match=address):
        provider.check(spec)


def test_operator_may_allow_and_refuse_networks(poppy):
    provider = make_provider(
        poppy, allowed_origins=["10.0.0.0/8"], refused_origins=["10.1.0.0/16", "8.8.8.0/24"]
    )
    provider.check(make_spec(origins=(Origin("10.0.0.1"),)))
    for address in ("10.1.0.1", "8.8.8.8"):
        with pytest.raises(PermanentError, match=address):
            provider.check(make_spec(origins=(Origin(address),)))


def test_invalid_network_names_the_option(poppy):
    with pytest.raises(errors.ConfigError, match="edge. refused_origins: 'nowhere'"):
        make_provider(poppy, refused_origins=["nowhere"])


def test_geography_is_an_option(poppy, provider):
    assert Capability.GEOGRAPHY not in provider.supports
    assert Capability.GEOGRAPHY in make_provider(poppy, geography=True).supports


def test_bootstrap_gives_providers_the_store(poppy, monkeypatch):
    seen = []
    monkeypatch.setattr(MockProvider, "attach", lambda _self, storage: seen.append(storage))
    conf = config.load([], files=[])
    conf.set_override("providers", ["mock"], group="drivers")
    boot = Bootstrap(conf)
    assert list(boot.providers) == ["mock"]
    assert seen == [boot.storage]


@pytest.fixture
def installed(poppy):
    """A Poppy with the provider ``edge``, a worker, and three nodes that poll."""
    poppy.boot.providers["edge"] = make_provider(poppy)
    poppy.storage.flavors.create(make_flavor("own", ["edge"]))
    poppy.nodes = [add_node(poppy, f"node-{number}") for number in range(3)]
    stopped = threading.Event()
    threads = [threading.Thread(target=it.run, args=(stopped, 0.3)) for it in poppy.nodes]
    for thread in threads:
        thread.start()
    with poppy.working():
        yield poppy
    stopped.set()
    for thread in threads:
        thread.join()


def test_worker_deploys_changes_purges_and_removes(installed):
    service_id = installed.create(
        flavor_id="own", origins=[{"origin": "origin.example.net", "port": 443, "ssl": True}]
    )
    live = until(lambda: all(service_id in node.programs for node in installed.nodes))
    service = installed.settle(service_id)
    assert live < 2
    detail = service.provider_details["edge"]
    (entry,) = detail.access_urls
    assert (entry.domain, entry.provider_url) == ("www.example.com", "edge.example.net")

    installed.services.purge(PROJECT, service_id, Purge("/a", True, ("/b", "/c")), "req-2")
    installed.settle(service_id)
    assert [node.purges for node in installed.nodes] == [
        [(service_id, path, True) for path in ("/a", "/b", "/c")]
    ] * 3

    installed.services.delete(PROJECT, service_id, "req-3")
    until(lambda: installed.settle(service_id) is None)
    assert not any(service_id in node.programs for node in installed.nodes)


def test_worker_prunes_the_log(poppy, monkeypatch):
    log = poppy.storage.edge
    poppy.conf.set_override("edge_retention", 1, group="drivers:storage")
    monkeypatch.setattr(dispatcher, "SWEEP", 0.05)
    with monkeypatch.context() as patch:
        ago = now_utc() - datetime.timedelta(hours=1)
        patch.setattr("poppy.storage.sqlalchemy.edge.now_utc", lambda: ago)
        log.publish("service-1", "{}")
        log.purge("service-1", Purge("/old", True))
    log.purge("service-1", Purge("/new", True))
    with poppy.working():
        until(lambda: len(log.changes(0, 10).changes) == 2)
    assert [change.revision for change in log.changes(0, 10).changes] == [1, 3]
