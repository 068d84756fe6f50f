# SPDX-License-Identifier: Apache-2.0
"""The checker finds each kind of violation and has no false positives."""

from dataclasses import replace

import pytest

from poppy.model import validation
from poppy.model.operations import Kind, State, Step, StepState
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.testing.builders import make_operation, make_service
from tests.chaos.checker import World, Wrong, check, unfinished
from tests.chaos.driver import access_url
from tests.chaos.tenant import Answer, Journal, Request, document_of

NAME, DOMAIN = "site-1", "www.a.example.com"
OPERATOR_NAME = f"{DOMAIN}.cdn.example.net"


def request(kind, answer=Answer.ACCEPTED, service_id="s-1", **details):
    return Request(kind, "project-1", NAME, service_id, answer, **details)


def create(answer=Answer.ACCEPTED, version=1):
    service_id = "s-1" if answer is Answer.ACCEPTED else None
    document = document_of(NAME, [DOMAIN], version)
    return request(Kind.CREATE, answer, service_id, document=document)


def update(version, answer=Answer.ACCEPTED):
    return request(Kind.UPDATE, answer, document=document_of(NAME, [DOMAIN], version))


def purge(url="/p"):
    return request(Kind.PURGE, url=url)


def delete(answer=Answer.ACCEPTED):
    return request(Kind.DELETE, answer)


def stored(version=1, status=ProviderStatus.DEPLOYED, error=None):
    spec = validation.service(document_of(NAME, [DOMAIN], version), 86400)
    url = AccessURL(DOMAIN, access_url(DOMAIN, "obj-1"), OPERATOR_NAME)
    detail = ProviderDetail(status, "obj-1", (url,), error_message=error)
    return make_service(service_id="s-1", spec=spec, provider_details={"chaos": detail})


def thing(version=1, name="obj-1", reference="s-1", **changes):
    spec = stored(version).spec.to_dict()
    whole = {"id": name, "reference": reference, "document": {"spec": spec}}
    return {**whole, "pending": 0, "deleting": False, "purges": [], **changes}


def operation(state=State.SUCCEEDED, kind=Kind.CREATE):
    return make_operation(stored(), kind, state=state, error="why")


def world(**changes):
    """Return a consistent world with one created service, except for the changes."""
    fields = {
        "services": [stored()],
        "operations": {"s-1": [operation()]},
        "objects": [thing()],
        "zone": {OPERATOR_NAME: access_url(DOMAIN, "obj-1")},
    }
    return World(**{**fields, **changes})


def gone(**changes):
    return world(**{"services": [], "objects": [], "zone": {}, **changes})


def wrongs(requests, found):
    journal = Journal()
    for entry in requests:
        journal.add(entry)
    return {violation.wrong for violation in check(journal, found)}


PURGED = [{"url": "/p", "hard": True}]


@pytest.mark.parametrize(
    ("requests", "found"),
    [
        ([create()], world()),
        ([create(), update(2)], world(services=[stored(2)], objects=[thing(2)])),
        ([create(), purge()], world(objects=[thing(purges=PURGED)])),
        ([create(), delete()], gone()),
        ([create(), update(2), delete()], gone()),
        # A request without an answer may have been accepted or not.
        ([create(Answer.UNKNOWN)], world()),
        ([create(Answer.UNKNOWN)], gone()),
        ([create(), update(2, Answer.UNKNOWN)], world()),
        (
            [create(), update(2, Answer.UNKNOWN)],
            world(services=[stored(2)], objects=[thing(2)]),
        ),
        ([create(), delete(Answer.UNKNOWN)], world()),
        ([create(), delete(Answer.UNKNOWN)], gone()),
        ([create(Answer.REFUSED)], gone()),
        ([create(), update(2, Answer.REFUSED)], world()),
        ([create(), delete(Answer.REFUSED)], world()),
        # The provider refused the request, and the service has the error.
        (
            [create()],
            gone(
                services=[stored(status=ProviderStatus.FAILED, error="400")],
                operations={"s-1": [operation(State.FAILED)]},
                refused={"s-1"},
            ),
        ),
    ],
)
def test_consistent_world_has_no_violations(requests, found):
    assert wrongs(requests, found) == set()


@pytest.mark.parametrize(
    ("requests", "found", "wrong"),
    [
        # Lost: a create in each place; an update; a purge; a delete.
        ([create()], gone(), {Wrong.LOST}),
        ([create()], world(objects=[]), {Wrong.LOST}),
        ([create()], world(zone={}), {Wrong.LOST}),
        ([create(), update(2)], world(), {Wrong.LOST}),
        ([create(), update(2, Answer.UNKNOWN), update(3)], world(), {Wrong.LOST}),
        ([create(), purge(), purge("/q")], world(objects=[thing(purges=PURGED)]), {Wrong.LOST}),
        ([create(), delete()], world(), {Wrong.LOST}),
        # Doubled.
        ([create()], world(objects=[thing(), thing(name="obj-2")]), {Wrong.DOUBLED, Wrong.STALE}),
        # Stuck in each state and each place.
        ([create()], world(operations={"s-1": [operation(State.QUEUED)]}), {Wrong.STUCK}),
        ([create()], world(operations={"s-1": [operation(State.WAITING)]}), {Wrong.STUCK}),
        ([create()], world(operations={"s-1": [operation(State.RUNNING)]}), {Wrong.STUCK}),
        (
            [create(), delete()],
            gone(operations={"s-1": [operation(State.RUNNING, Kind.DELETE)]}),
            {Wrong.STUCK},
        ),
        (
            [create()],
            world(services=[stored(1, ProviderStatus.UPDATE_IN_PROGRESS)]),
            {Wrong.STUCK},
        ),
        ([create()], world(objects=[thing(pending=1)]), {Wrong.STUCK}),
        ([create()], world(objects=[thing(deleting=True)]), {Wrong.STUCK}),
        # Stale document, id and name.
        ([create(), update(2)], world(services=[stored(2)]), {Wrong.STALE}),
        (
            [create()],
            world(objects=[thing(name="obj-2")]),
            {Wrong.STALE},
        ),
        ([create()], world(zone={OPERATOR_NAME: "elsewhere.example.net"}), {Wrong.STALE}),
        # Orphans at the provider, in the zone and in the store.
        ([create(), delete()], gone(objects=[thing()]), {Wrong.ORPHAN}),
        ([create(), delete()], gone(zone={OPERATOR_NAME: "x"}), {Wrong.ORPHAN}),
        ([create()], world(objects=[thing(), thing(1, "obj-9", "s-9")]), {Wrong.ORPHAN}),
        ([], world(), {Wrong.ORPHAN}),
        ([create(Answer.REFUSED)], world(), {Wrong.ORPHAN}),
        # Failed without a refusal; or refused without an error message.
        ([create()], world(operations={"s-1": [operation(State.FAILED)]}), {Wrong.FAILED}),
        (
            [create()],
            world(services=[stored(status=ProviderStatus.FAILED)], refused={"s-1"}),
            {Wrong.FAILED},
        ),
    ],
)
def test_each_kind_of_violation_is_found(requests, found, wrong):
    assert wrongs(requests, found) == wrong


def test_unfinished_operations_are_listed():
    waiting = operation(State.WAITING)
    waiting = replace(waiting, steps=(Step("dns", StepState.WAITING, "why"),))
    assert unfinished(world(operations={"s-1": [operation(), waiting]})) == [waiting]
