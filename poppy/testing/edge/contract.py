# SPDX-License-Identifier: Apache-2.0
"""Conformance suite of data planes; see :mod:`poppy.testing.edge`."""

import abc
import gzip
import itertools
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar, NamedTuple, cast

import pytest

from poppy.common.errors import PermanentError
from poppy.manager.requirements import purge_needs
from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.provider.base import Capability
from poppy.testing.builders import make_service, make_spec
from poppy.testing.edge.origin import NUMBER, Origins, Reply, body_of
from poppy.testing.edge.promises import ANY, NEW, NOTHING, Answer, Ask, Promise, Request
from poppy.testing.edge.table import PROMISES
from poppy.testing.edge.tokens import written

#: The states of a promise at a provider.
KEPT, NOT_KEPT, NOT_SHOWN = "kept", "not kept", "not shown"

_POLL = 0.05


class NotShown(Exception):  # noqa: N818
    """The data plane can't do what a promise needs; the message says what."""


class DataPlane(abc.ABC):
    """A provider's data plane, with origins that the suite controls.

    Attributes:
        provider: the provider's name.
        supports: the driver's capabilities. A promise that needs another one is not kept: Poppy
            refuses it at POST.
        not_kept: why the provider does not keep a promise, by the promise's id.
        not_shown: why this data plane can't show whether it does.
        side_by_side: how many promises may be checked at a time. Use 1 if :meth:`advance` moves a
            clock that all requests share.
        origins: what the origins of all documents answer.
    """

    provider: ClassVar[str]
    supports: ClassVar[frozenset[Capability]]
    not_kept: ClassVar[Mapping[str, str]] = {}
    not_shown: ClassVar[Mapping[str, str]] = {}
    side_by_side: ClassVar[int] = 8

    def __init__(self) -> None:
        self.origins = Origins()

    @abc.abstractmethod
    def deploy(self, service: Service) -> None:
        """Serve a new service, as the provider would after the driver's ``ensure``.

        The document's secrets are open: ``sealed`` is the secret itself.

        Calls of this and of :meth:`purge` don't overlap.

        Raises:
            NotShown: the data plane can't have such a service.
            PermanentError: the driver refuses the document at POST.
        """

    @abc.abstractmethod
    def send(self, request: Request) -> Answer:
        """Answer a request of a browser.

        Raises:
            NotShown: it is not known what the provider does.
        """

    def purge(self, service: Service, purge: Purge) -> None:
        """Purge as the driver does, and return once it has taken effect."""
        raise NotShown("purges")

    def advance(self, seconds: float) -> None:
        """Let time pass at the edge."""
        time.sleep(seconds)

    @classmethod
    def declared(cls, promise: Promise) -> tuple[str, str]:
        """Return the state of a promise, and the reason unless it is kept."""
        for needed in _needs(promise):
            if needed not in cls.supports:
                return NOT_KEPT, f"Refused at POST: the provider has no {needed}."
        for state, reasons in ((NOT_KEPT, cls.not_kept), (NOT_SHOWN, cls.not_shown)):
            if promise.id in reasons:
                return state, reasons[promise.id]
        return KEPT, ""


class EdgeContract:
    """Tests of every data plane. The fixture ``plane`` has the scope of the class.

    A promise that is not kept, or not shown, must be declared by the data plane. A promise that is
    kept in spite of that fails, so that declarations stay true.
    """

    @pytest.fixture(scope="class")
    @classmethod
    def outcomes(
        cls, request: pytest.FixtureRequest, plane: DataPlane
    ) -> Mapping[str, "Future[None]"]:
        """Check the selected promises side by side, because many of them wait."""
        chosen: list[Promise] = [
            cast("Promise", item.callspec.params["promise"])
            for item in request.session.items
            if isinstance(item, pytest.Function)
            and item.cls is cls
            and item.originalname == "test_promise"
        ]
        run = _Run(plane)
        with ThreadPoolExecutor(plane.side_by_side) as pool:
            return {promise.id: pool.submit(run.check, promise) for promise in chosen}

    @pytest.mark.parametrize("promise", PROMISES, ids=[promise.id for promise in PROMISES])
    def test_promise(
        self,
        plane: DataPlane,
        promise: Promise,
        outcomes: Mapping[str, "Future[None]"],
        record_property: Callable[[str, object], None],
    ) -> None:
        declared, reason = plane.declared(promise)
        try:
            outcomes[promise.id].result()
            state = KEPT
        except NotShown as exc:
            state, found = NOT_SHOWN, exc
        except (AssertionError, PermanentError):
            if declared == KEPT:
                raise
            state = NOT_KEPT
        if state == NOT_SHOWN and declared != state:
            pytest.fail(f"{promise.text} It can't be shown: {found}")
        assert state == declared, f"{promise.text} It is declared {declared}: {reason}"
        record_property("promise", (plane.provider, promise.id, state))

    def test_declarations_name_promises(self, plane: DataPlane) -> None:
        known = {promise.id for promise in PROMISES}
        assert not {*plane.not_kept, *plane.not_shown} - known
        assert not {*plane.not_kept} & {*plane.not_shown}


class _Deployed(NamedTuple):
    service: Service
    domains: Sequence[str]


class _Run:
    """The checks of promises at a data plane."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._services: dict[str, _Deployed | Exception] = {}

    def check(self, promise: Promise) -> None:
        """Check a promise.

        Raises:
            AssertionError: it is not kept.
            NotShown: see :class:`DataPlane`.
            PermanentError: the driver refuses the document.
        """
        for needed in _needs(promise):
            if needed not in self._plane.supports:
                raise PermanentError(f"{self._plane.provider} has no {needed}")
        deployed = self._deployed(promise)
        for place in promise.places:
            token = f"t{next(self._numbers)}x"
            _Row(self._plane, self._lock, deployed, place, token).check(promise.asks)

    def _deployed(self, promise: Promise) -> _Deployed:
        key = promise.id if promise.alone else repr(promise.document)
        with self._lock:
            if key not in self._services:
                self._services[key] = self._deploy(promise)
            found = self._services[key]
        if isinstance(found, Exception):
            raise found
        return found

    def _deploy(self, promise: Promise) -> _Deployed | Exception:
        domains = [f"www{next(self._numbers)}.site.example" for _ in range(2)]
        spec = replace(make_spec(domains), **promise.document)
        if promise.https:
            secure = tuple(Domain(name, "https", "sni") for name in domains)
            spec = replace(spec, domains=secure)
        service = make_service(spec=spec)
        try:
            self._plane.deploy(service)
        except (NotShown, PermanentError) as exc:
            return exc
        return _Deployed(service, domains)


class _Row:
    """The requests of a promise in one place."""

    def __init__(
        self,
        plane: DataPlane,
        lock: threading.Lock,
        deployed: _Deployed,
        place: str,
        token: str,
    ) -> None:
        self._plane, self._lock, self._deployed, self._token = plane, lock, deployed, token
        self._path = f"{place}/{token}"
        self._numbers: list[int] = []
        self._reply = Reply()

    def check(self, asks: Sequence[Ask]) -> None:
        origins = self._plane.origins
        for ask in asks:
            if ask.origin is not None:
                self._reply = ask.origin
                origins.script(self._token, self._reply)
            if ask.stop:
                origins.stop(ask.stop)
            if ask.purge is not None:
                self._purge(ask.purge)
            if ask.after:
                self._plane.advance(ask.after)
            for attempt in range(int(ask.within / _POLL), -1, -1):
                try:
                    number = self._ask(ask)
                    break
                except AssertionError:
                    if not attempt:
                        raise
                    self._plane.advance(_POLL)
            self._numbers.append(number)

    def _purge(self, purge: Purge) -> None:
        filled = purge._replace(
            url=purge.url and self._filled(purge.url),
            more=tuple(map(self._filled, purge.more)),
            prefix=self._filled(purge.prefix),
            host=purge.host.format(domain=self._deployed.domains[0]),
        )
        many = Capability.PURGE_MANY in self._plane.supports
        with self._lock:
            for part in (filled,) if many else filled.single():
                self._plane.purge(self._deployed.service, part)

    def _filled(self, template: str) -> str:
        return template.format(
            path=self._path, token=self._token, domain=re.escape(self._deployed.domains[0])
        )

    def _ask(self, ask: Ask) -> int:
        """Send a request, check the answer, and return the number of the reply."""
        target, fields = self._with_token(ask)
        answer = self._plane.send(
            Request(
                self._deployed.domains[ask.domain],
                target,
                ask.method,
                fields,
                ask.client,
                ask.country,
                ask.body,
                ask.scheme,
            )
        )
        number = int(answer.fields.get(NUMBER.lower(), 0))
        what = f"{ask.method} {ask.target}, request {len(self._numbers)} in {self._path}"
        assert answer.status in ask.status, f"{answer.status} for {what}"
        if ask.gets == NOTHING:
            assert not number, f"a reply of the origin for {what}"
        elif ask.gets == NEW:
            assert number, f"no reply of the origin for {what}"
            assert number not in self._numbers, f"reply {number} again for {what}"
        elif ask.gets != ANY:
            assert number == self._numbers[ask.gets], f"reply {number} for {what}"
        _compare(ask.has, lambda name: answer.fields.get(name), self._filled)
        self._check_body(ask, answer)
        self._check_origin(ask)
        return number

    def _with_token(self, ask: Ask) -> tuple[str, Mapping[str, str]]:
        """Return the target and the fields of a request."""
        target = self._filled(ask.target)
        if ask.token is None:
            return target, ask.fields
        parameter = f"token={written(ask.token, self._filled(ask.token.path))}"
        if not ask.token.cookie:
            return f"{target}{'&' if '?' in target else '?'}{parameter}", ask.fields
        cookies = [it for it in (ask.fields.get("Cookie"), parameter) if it]
        return target, {**ask.fields, "Cookie": "; ".join(cookies)}

    def _check_body(self, ask: Ask, answer: Answer) -> None:
        if ask.breaks_off:
            return
        assert answer.is_whole, f"{len(answer.body)} bytes"
        part = re.match("bytes ([0-9]+)-([0-9]+)/", answer.fields.get("content-range", ""))
        if part and NUMBER.lower() in answer.fields:
            whole = body_of(self._token, int(answer.fields[NUMBER.lower()]), self._reply.size)
            assert answer.body == whole[int(part[1]) : int(part[2]) + 1]
        if ask.length is not None:
            assert len(answer.body) == ask.length
        elif ask.method == "GET" and answer.status == 200 and ask.gets != NOTHING:
            zipped = answer.fields.get("content-encoding") == "gzip"
            body = gzip.decompress(answer.body) if zipped else answer.body
            assert body.startswith(f"{self._token} ".encode()), body[:80]
            assert len(body) == len(body_of(self._token, 1, self._reply.size))

    def _check_origin(self, ask: Ask) -> None:
        seen = self._plane.origins.seen(self._token)
        if ask.sees:
            _compare(ask.sees, seen[-1].value, self._filled)
        if ask.forwards:
            assert seen[-1].target == self._filled(ask.forwards)
        if ask.reaches:
            assert seen[-1].origin == ask.reaches
        if ask.at_most is not None:
            assert len(seen) <= ask.at_most


def _needs(promise: Promise) -> Sequence[Capability]:
    """Return the capabilities without which a document or a purge is refused."""
    purges = [ask.purge for ask in promise.asks if ask.purge is not None]
    of_purges = [capability for purge in purges for capability, _hint in purge_needs(purge)]
    return [*([promise.needs] if promise.needs else []), *of_purges]


def _compare(
    wanted: Mapping[str, str | None],
    found: Callable[[str], str | None],
    filled: Callable[[str], str],
) -> None:
    for name, pattern in wanted.items():
        value = found(name)
        if pattern is None:
            assert value is None, f"{name}: {value}"
        else:
            assert value is not None and re.fullmatch(filled(pattern), value), f"{name}: {value}"
