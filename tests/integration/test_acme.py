# SPDX-License-Identifier: Apache-2.0
"""Certificates from Pebble, Let's Encrypt's authority for tests."""

import base64
import datetime
import itertools
import json
import os
import re
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from poppy.common.errors import ConfigError, InProgressError, PermanentError, RetryableError
from poppy.common.vault import Vault
from poppy.provider.edge import acme_errors, acme_renewal
from poppy.provider.edge.acme import Issuer
from poppy.provider.edge.acme_options import Authority, Limits
from tests.certificates import LocalPublisher, MemoryRecords
from tests.real.pebble import BLOCKED, EXTERNAL, Pebble, Published
from tests.real.unreliable import Unreliable

pytestmark = pytest.mark.real

KEY = base64.b64encode(os.urandom(32)).decode()
SUFFIX = "cdn.example.net"
PROBLEM = {"Content-Type": "application/problem+json"}

_numbers = itertools.count(1)


class Killed(BaseException):
    """The worker is killed."""


@pytest.fixture(scope="module")
def published():
    with Published() as server:
        yield server


@pytest.fixture(scope="module")
def pebble(published):
    with Pebble(published) as server:
        yield server


@pytest.fixture(scope="module")
def other(published):
    with Pebble(published) as server:
        yield server


@pytest.fixture
def proxy(pebble):
    files = (pebble.ca_file, pebble.directory / "api-key.pem")
    with Unreliable(pebble.directory_url, files) as server:
        yield server


@pytest.fixture
def records():
    return MemoryRecords()


@pytest.fixture
def publisher(published):
    return LocalPublisher(published)


@pytest.fixture
def make(records, publisher):
    """Return issuers, as in a new process each time."""

    def issuer(*authorities, limits=None, keys=(KEY,)):
        vault = Vault(keys, "drivers:provider:edge")
        return Issuer(authorities, vault, records, publisher, limits or Limits(), [SUFFIX])

    return issuer


def authority(server, **settings):
    return Authority(server.directory_url, ca_file=str(server.ca_file), **settings)


def through(proxy, server):
    return Authority(f"{proxy.url}/dir", ca_file=str(server.ca_file))


def fresh_name():
    return f"www{next(_numbers)}.example.com"


def finish(issuer, order, *, patient=False):
    """Take all steps until there is a certificate.

    Args:
        patient: whether to go on after errors that pass.
    """
    deadline = time.monotonic() + 30
    while order.certificate is None:
        assert time.monotonic() < deadline, order
        try:
            order = issuer.step(order)
        except InProgressError as exc:
            assert 0 <= exc.poll_after <= 10
            time.sleep(0.05)
        except RetryableError:
            if not patient:
                raise
            order = issuer._records.order(order.id)
    return order


def leaf_of(order):
    return x509.load_pem_x509_certificate(order.certificate.encode())


def assert_valid(order, issuer, server):
    """Check the chain up to the authority's root, the names, and the private key."""
    chain = x509.load_pem_x509_certificates(order.certificate.encode())
    store = x509.verification.Store([server.root()])
    builder = x509.verification.PolicyBuilder().store(store)
    for name in order.names:
        verifier = builder.build_server_verifier(x509.DNSName(name.replace("*", "any")))
        verifier.verify(chain[0], chain[1:])
    key = serialization.load_pem_private_key(issuer.private_key(order), None)
    assert key.public_key() == chain[0].public_key()
    assert key.curve.name == "secp256r1"


def test_names_are_validated_by_http(make, pebble, published, records, publisher):
    issuer = make(authority(pebble))
    names = [fresh_name(), fresh_name()]
    order = finish(issuer, issuer.new(names))
    assert_valid(order, issuer, pebble)
    assert {challenge.kind for challenge in publisher.challenges} == {"http-01"}
    assert set(names) <= {host for host, _ in published.asked}
    assert published.http == {}
    assert records.order(order.id) == order
    assert issuer.step(order) == order


def test_wildcards_and_names_below_the_suffix_are_validated_by_dns(make, pebble, publisher):
    issuer = make(authority(pebble))
    names = ["wild.example.org", "*.wild.example.org", f"a.{SUFFIX}", f"*.{SUFFIX}"]
    order = finish(issuer, issuer.new(names))
    assert_valid(order, issuer, pebble)
    kinds = {(it.domain, it.kind) for it in publisher.challenges}
    assert kinds == {
        ("wild.example.org", "http-01"),
        ("wild.example.org", "dns-01"),
        (f"a.{SUFFIX}", "dns-01"),
        (SUFFIX, "dns-01"),
    }


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_worker_leaves_one_order_one_certificate_and_the_same_key(
    make, pebble, records, monkeypatch, when
):
    send = requests.adapters.HTTPAdapter.send
    calls = itertools.count(1)
    fatal = 0

    def killed(self, request, **settings):
        number = next(calls)
        if number == fatal and when == "before":
            raise Killed
        response = send(self, request, **settings)
        if number == fatal:
            raise Killed
        return response

    def alive_until(number):
        nonlocal calls, fatal
        calls, fatal = itertools.count(1), number

    kills = 0
    for number in itertools.count(1):
        records.accounts.clear()
        records.orders.clear()
        orders, certificates = pebble.orders(), pebble.certificates()
        order = make(authority(pebble)).new([fresh_name(), fresh_name()])
        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", killed)
        alive_until(number)
        try:
            finish(make(authority(pebble)), order)
        except Killed:
            kills += 1
        else:
            break
        finally:
            monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
        issuer = make(authority(pebble))
        done = finish(issuer, records.order(order.id))
        assert done.key == order.key
        assert_valid(done, issuer, pebble)
        assert pebble.orders() == orders + 1, number
        assert pebble.certificates() == certificates + 1, number
    assert kills > 12


@pytest.mark.parametrize("fate", ["lost", "dead"])
def test_a_lost_reply_makes_no_second_order(make, pebble, proxy, records, fate):
    for number in itertools.count(1):
        records.accounts.clear()
        proxy.restart(lambda call, bad=number: fate if call == bad else "ok")
        orders, certificates = pebble.orders(), pebble.certificates()
        issuer = make(through(proxy, pebble))
        order = finish(issuer, issuer.new([fresh_name()]), patient=True)
        assert_valid(order, issuer, pebble)
        assert pebble.orders() == orders + 1, number
        assert pebble.certificates() == certificates + 1, number
        if len(proxy.calls) < number:
            break
    assert number > 10


def test_refused_nonces_are_retried(make, published, caplog):
    caplog.set_level("DEBUG", "acme")
    with Pebble(published, nonce_reject=20) as pebble:
        issuer = make(authority(pebble))
        for _ in range(4):
            order = finish(issuer, issuer.new([fresh_name()]), patient=True)
            assert_valid(order, issuer, pebble)
        assert pebble.orders() == 4
        assert "urn:ietf:params:acme:error:badNonce" in caplog.text


def test_reused_authorizations_need_no_challenge(make, published, publisher):
    with Pebble(published, authz_reuse=100) as pebble:
        issuer = make(authority(pebble))
        name = fresh_name()
        finish(issuer, issuer.new([name]))
        publisher.challenges.clear()
        order = finish(issuer, issuer.new([name]))
        assert_valid(order, issuer, pebble)
        assert publisher.challenges == []


def test_a_restarted_authority_gets_the_account_and_the_order_again(make, published):
    with Pebble(published) as pebble:
        issuer = make(authority(pebble))
        order = issuer.new([fresh_name()])
        while order.url is None:
            order = issuer.step(order)
        pebble.stop()
        pebble.start()
        done = finish(issuer, order, patient=True)
        assert_valid(done, issuer, pebble)
        assert done.key == order.key


def test_an_order_that_the_authority_forgot_is_created_again(make, pebble):
    issuer = make(authority(pebble))
    order = issuer.new([fresh_name()])
    while order.url is None:
        order = issuer.step(order)
    done = finish(issuer, replace(order, url=f"{order.url}x"))
    assert_valid(done, issuer, pebble)
    assert done.key == order.key


def test_a_lost_order_is_found_on_a_later_page_of_the_list(make, pebble, records):
    issuer = make(authority(pebble))
    opened = []
    for _ in range(7):
        order = issuer.new([fresh_name()])
        while order.url is None:
            order = issuer.step(order)
        opened.append(order)
    orders = pebble.orders()
    found = make(authority(pebble)).step(replace(opened[-1], url=None))
    assert found.url == opened[-1].url
    assert pebble.orders() == orders


def test_a_certificate_for_another_key_is_not_used(make, pebble, records):
    issuer = make(authority(pebble))
    first = finish(issuer, issuer.new([fresh_name()]))
    second = replace(issuer.new(first.names), sent=True, url=first.url)
    with pytest.raises(acme_errors.Invalid, match="the certificate is for another key"):
        issuer.step(second)
    again = replace(records.order(second.id), retry_at=None)
    assert_valid(finish(issuer, again), issuer, pebble)


def test_a_long_validation_is_waited_for(make, pebble, published, monkeypatch):
    monkeypatch.setattr(published, "delay", 1.0)
    issuer = make(authority(pebble))
    order = issuer.new([fresh_name()])
    while not order.answered:
        order = issuer.step(order)
    with pytest.raises(InProgressError, match="is validating the domains") as caught:
        issuer.step(order)
    assert caught.value.poll_after == 1
    assert_valid(finish(issuer, order), issuer, pebble)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((200, b"no JSON"), (200, b"[]"), (200, b"{}"), (200, b'{"status": "pending"}')),
        *((502, b"<html>Bad gateway</html>"), (502, b"[]"), (403, b'{"type": 7}')),
    ],
)
def test_an_answer_without_an_order_is_an_error_of_the_authority(
    make, pebble, proxy, status, body
):
    issuer = make(through(proxy, pebble))
    order = issuer.new([fresh_name()])
    while order.url is None:
        order = issuer.step(order)
    proxy.headers = {"Content-Type": "application/json", "Replay-Nonce": "AAAA"}
    proxy.body = body
    proxy.restart()
    proxy.refused = {urlsplit(order.url).path: status}
    with pytest.raises(acme_errors.AuthorityError, match="127.0.0.1"):
        issuer.step(order)


def test_another_authority_serves_while_the_first_is_down(make, published, other):
    with Pebble(published) as first:
        issuer = make(authority(first), authority(other))
        first.stop()
        order = issuer.new([fresh_name()])
        for _ in range(2):
            with pytest.raises(acme_errors.AuthorityError, match="did not answer"):
                finish(issuer, order)
            order = issuer._records.order(order.id)
        done = finish(issuer, order)
        assert done.authority == other.directory_url
        assert_valid(done, issuer, other)
        first.start()
        renewed = finish(issuer, issuer.new(done.names, done))
        assert renewed.authority == other.directory_url
        assert finish(issuer, issuer.new([fresh_name()])).authority == first.directory_url


def test_a_rate_limit_moves_the_order_to_another_authority(make, pebble, proxy, other):
    limit(proxy, "/order-plz", 7200)
    issuer = make(through(proxy, pebble), authority(other))
    order = finish(issuer, issuer.new([fresh_name()]))
    assert order.authority == other.directory_url
    (until,) = order.avoid.values()
    left = datetime.datetime.fromisoformat(until) - datetime.datetime.now(datetime.UTC)
    assert 7100 < left.total_seconds() <= 7200


def test_a_rate_limit_of_the_only_authority_waits(make, pebble, proxy, records):
    limit(proxy, "/order-plz", 120)
    issuer = make(through(proxy, pebble))
    order = issuer.new([fresh_name()])
    with pytest.raises(acme_errors.RateLimited, match="127.0.0.1: slow down") as caught:
        finish(issuer, order)
    assert caught.value.retry_after == 120
    proxy.restart()
    with pytest.raises(RetryableError, match="waits until") as caught:
        finish(issuer, records.order(order.id))
    assert 100 < caught.value.retry_after <= 120
    assert proxy.calls == []
    later = replace(records.order(order.id), retry_at=None)
    assert_valid(finish(issuer, later), issuer, pebble)


def test_an_open_order_waits_for_the_end_of_a_rate_limit(make, pebble, proxy, other, records):
    issuer = make(through(proxy, pebble), authority(other))
    order = issuer.new([fresh_name()])
    while order.url is None:
        order = issuer.step(order)
    limit(proxy, urlsplit(order.url).path, 60)
    with pytest.raises(acme_errors.RateLimited):
        issuer.step(order)
    waiting = records.order(order.id)
    assert waiting.url == order.url
    assert waiting.retry_at is not None
    proxy.restart()
    assert_valid(finish(issuer, replace(waiting, retry_at=None)), issuer, pebble)


def limit(proxy, path, seconds):
    """Answer requests to a path with a rate limit."""
    proxy.headers = {**PROBLEM, "Retry-After": str(seconds)}
    kind = "urn:ietf:params:acme:error:rateLimited"
    proxy.body = json.dumps({"type": kind, "detail": "slow down"}).encode()
    proxy.restart()
    proxy.refused = {path: 429}


def test_own_limits_apply_before_a_request(make, pebble, other):
    limits = Limits(orders=1)
    issuer = make(authority(pebble), limits=limits)
    finish(issuer, issuer.new([fresh_name()]))
    before = pebble.orders()
    with pytest.raises(acme_errors.RateLimited, match="1 new orders") as caught:
        finish(issuer, issuer.new([fresh_name()]))
    assert 10_000 < caught.value.retry_after <= 10_800
    assert pebble.orders() == before
    both = make(authority(pebble), authority(other), limits=limits)
    assert finish(both, both.new([fresh_name()])).authority == other.directory_url


def test_a_failed_validation_names_the_domain_and_is_retried_with_pauses(
    make, pebble, published, records, publisher
):
    issuer = make(authority(pebble), limits=Limits(failures=2))
    good, bad = fresh_name(), fresh_name()
    published.break_dns(bad)
    order = issuer.new([good, bad])
    for number, pause in enumerate([300, 600], 1):
        with pytest.raises(acme_errors.Invalid, match="No certificate: ") as caught:
            finish(issuer, order)
        assert set(caught.value.problems) == {bad}
        assert caught.value.retry_after == pause
        assert published.http == {}
        order = records.order(order.id)
        assert order.rejections == number
        with pytest.raises(RetryableError, match="waits until"):
            issuer.step(order)
        order = replace(order, retry_at=None)
    with pytest.raises(RetryableError, match=f"validation of {bad} failed too often") as caught:
        finish(issuer, order)
    assert 3500 < caught.value.retry_after <= 3600


def test_a_corrected_domain_gets_its_certificate(make, pebble, records):
    class Late(LocalPublisher):
        def publish(self, order):
            if records.order(order.id).rejections:
                super().publish(order)

    issuer = make(authority(pebble))
    published = issuer._publisher.published
    issuer._publisher = Late(published)
    order = issuer.new([fresh_name()])
    with pytest.raises(acme_errors.Invalid, match="another server answers for it"):
        finish(issuer, order)
    done = finish(issuer, replace(records.order(order.id), retry_at=None))
    assert_valid(done, issuer, pebble)
    assert done.key == order.key
    assert done.rejections == 0


def test_challenges_are_answered_only_once_they_are_everywhere(make, pebble, published):
    class Slow(LocalPublisher):
        tries = 0

        def publish(self, order):
            self.tries += 1
            if self.tries < 3:
                raise InProgressError("Not on all nodes yet", 0)
            super().publish(order)

    issuer = make(authority(pebble))
    issuer._publisher = Slow(published)
    assert_valid(finish(issuer, issuer.new([fresh_name()])), issuer, pebble)
    assert issuer._publisher.tries == 3


def test_a_refused_name_is_an_error_for_good(make, pebble):
    issuer = make(authority(pebble))
    with pytest.raises(PermanentError, match=f"a.{BLOCKED}"):
        finish(issuer, issuer.new([f"a.{BLOCKED}", fresh_name()]))


def test_a_renewal_has_a_new_key_and_replaces_the_certificate(make, pebble):
    issuer = make(authority(pebble))
    order = finish(issuer, issuer.new([fresh_name()]))
    for _ in range(2):
        # The second one finds that the certificate has been replaced.
        renewed = finish(issuer, issuer.new(order.names, order))
        assert_valid(renewed, issuer, pebble)
        assert issuer.private_key(renewed) != issuer.private_key(order)
    replaced = re.findall("ARI: order .* is a replacement", pebble.log())
    assert len(replaced) == 1


def test_a_certificate_of_a_restarted_authority_is_renewed(make, published):
    with Pebble(published) as pebble:
        issuer = make(authority(pebble))
        order = finish(issuer, issuer.new([fresh_name()]))
        pebble.stop()
        pebble.start()
        renewed = finish(issuer, issuer.new(order.names, order), patient=True)
        assert_valid(renewed, issuer, pebble)


def test_the_authority_suggests_when_to_renew(make, pebble):
    issuer = make(authority(pebble))
    order = finish(issuer, issuer.new([fresh_name()]))
    leaf = acme_renewal.leaf(order.certificate)
    suggested = issuer.renewal(order)
    assert leaf.not_valid_before_utc < suggested.at < leaf.not_valid_after_utc
    now = datetime.datetime.now(datetime.UTC)
    assert 21_000 < (suggested.ask_again - now).total_seconds() <= 21_600
    window = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    pebble.suggest(order.certificate, json.dumps({"suggestedWindow": window}))
    assert issuer.renewal(order).at.year == 2020


def test_the_next_question_is_at_most_a_day_away(make, pebble, proxy):
    issuer = make(through(proxy, pebble))
    order = finish(issuer, issuer.new([fresh_name()]))
    window = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    proxy.body = json.dumps({"suggestedWindow": window}).encode()
    asked = f"/draft-ietf-acme-ari-03/renewalInfo/{certificate_id(order)}"
    for wait in ("99999999", "9" * 30):
        proxy.headers = {"Content-Type": "application/json", "Retry-After": wait}
        proxy.restart()
        proxy.refused = {asked: 200}
        now = datetime.datetime.now(datetime.UTC)
        assert issuer.renewal(order).ask_again - now <= datetime.timedelta(days=1, seconds=1)


def certificate_id(order):
    return acme_renewal.certificate_id(acme_renewal.leaf(order.certificate))


@pytest.mark.parametrize(
    "answer",
    [
        "no JSON",
        "[]",
        "{}",
        '{"suggestedWindow": {}}',
        '{"suggestedWindow": {"start": "soon"}}',
        '{"suggestedWindow": {"start": "2020-01-01", "end": "2020-01-02"}}',
        '{"suggestedWindow": {"start": "2999-01-01T00:00:00Z", "end": "2999-01-02T00:00:00Z"}}',
    ],
)
def test_a_bad_suggestion_does_not_prevent_the_renewal(make, pebble, answer):
    issuer = make(authority(pebble))
    order = finish(issuer, issuer.new([fresh_name()]))
    pebble.suggest(order.certificate, answer)
    leaf = acme_renewal.leaf(order.certificate)
    assert issuer.renewal(order).at <= leaf.not_valid_after_utc - datetime.timedelta(days=1)


def test_a_profile_is_requested_from_an_authority_that_has_it(make, pebble):
    for profile, days in (("shortlived", 6), ("default", 90)):
        issuer = make(authority(pebble, profile=profile))
        leaf = acme_renewal.leaf(finish(issuer, issuer.new([fresh_name()])).certificate)
        lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        assert round(lifetime / datetime.timedelta(days=1)) == days
    issuer = make(authority(pebble, profile="unknown"))
    assert_valid(finish(issuer, issuer.new([fresh_name()])), issuer, pebble)


def test_an_external_account_is_bound(make, published):
    wrong = (EXTERNAL[0], EXTERNAL[1][::-1])
    with Pebble(published, external=True) as pebble:
        for external, reason in ((None, "externalAccountBinding"), (wrong, "JWS")):
            issuer = make(authority(pebble, external=external))
            with pytest.raises(acme_errors.AuthorityError, match=f"127.0.0.1: .*{reason}"):
                finish(issuer, issuer.new([fresh_name()]))
        issuer = make(authority(pebble, external=EXTERNAL))
        assert_valid(finish(issuer, issuer.new([fresh_name()])), issuer, pebble)


def test_the_key_in_the_configuration_can_be_replaced(make, pebble, records):
    issuer = make(authority(pebble))
    order = finish(issuer, issuer.new([fresh_name()]))
    new = base64.b64encode(os.urandom(32)).decode()
    both = make(authority(pebble), keys=[new, KEY])
    again = both.seal_again(order)
    assert records.order(order.id) == again
    finish(both, both.new([fresh_name()]))
    last = make(authority(pebble), keys=[new])
    assert last.private_key(again) == issuer.private_key(order)
    accounts = dict(records.accounts)
    finish(last, last.new([fresh_name()]))
    assert records.accounts == accounts
    with pytest.raises(ConfigError, match="encryption_keys lacks the key"):
        issuer.private_key(again)


def test_secrets_appear_in_no_log_and_no_record(make, published, records, caplog):
    caplog.set_level("DEBUG")
    with Pebble(published, external=True, nonce_reject=10) as pebble:
        bound = authority(pebble, external=EXTERNAL)
        issuer = make(bound)
        order = finish(issuer, issuer.new([fresh_name()]), patient=True)
        keys = [issuer.private_key(order)]
        for account in map(records.account, records.accounts):
            keys.append(issuer._vault.open(account.key, account.directory))
    assert "Sending POST request" in caplog.text
    text = "".join([caplog.text, *records.orders.values(), *records.accounts.values()])
    text += repr((order, bound, issuer, issuer._vault))
    for secret in (KEY, EXTERNAL[1], *secrets_of(keys)):
        assert secret not in text


def secrets_of(keys):
    """Return the private numbers of keys, as PEM and JWK show them."""
    for pem in keys:
        # The last line has part of the public key only, which requests show.
        yield from pem.decode().splitlines()[1:-2]
        number = serialization.load_pem_private_key(pem, None).private_numbers().private_value
        yield base64.urlsafe_b64encode(number.to_bytes(32)).decode().rstrip("=")
        yield f"{number:x}"
        yield str(number)
