# SPDX-License-Identifier: Apache-2.0
"""The own edge as a data plane of the edge contract: real nodes, and origins on loopback."""

import contextlib
import random
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import ClassVar, Self

from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.provider.base import Capability
from poppy.provider.varnish.driver import VarnishProvider
from poppy.testing.edge import Answer, DataPlane, Request
from poppy.testing.edge.promises import FIRST, HALF, NONE, SECOND, STOPS
from poppy.testing.edge.wire import OriginServer, exchange
from tests.real import unavailable
from tests.real.edge import KNOWN, make_provider
from tests.real.varnish import Varnish

#: By default Varnish waits for up to ten seconds until it tries to connect again.
NO_HOLDDOWN = {"backend_local_error_holddown": 0, "backend_remote_error_holddown": 0}
TIMEOUT = 3.0  # Seconds for the first byte of an origin.
PROXY, COUNTRY = "127.99.0.1", "X-Country"


class WiredPlane(DataPlane):
    """A data plane with origins that listen on loopback.

    Attributes:
        addresses: of each origin.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        net = f"127.{random.randint(100, 250)}.{random.randint(1, 250)}"
        self.addresses: dict[str, Sequence[str]] = {
            FIRST: (f"{net}.1",),
            SECOND: (f"{net}.2",),
            STOPS: (f"{net}.3",),
            NONE: (f"{net}.4",),
            HALF: (f"{net}.4", f"{net}.1"),
        }

    def __enter__(self) -> Self:
        for name in (FIRST, SECOND, STOPS):
            (address,) = self.addresses[name]
            try:
                server = OriginServer(self.origins, name, address)
            except OSError as exc:
                unavailable(f"port 80 of {address} can't be had ({exc})", "run as root on Linux")
            self.stack.enter_context(server)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stack.close()


class VarnishPlane(WiredPlane):
    """A Varnish node with the provider ``varnish``."""

    provider = "varnish"
    supports = VarnishProvider.SUPPORTS | {Capability.GEOGRAPHY}
    not_kept: ClassVar[Mapping[str, str]] = {
        "early-hints": "Varnish takes the 103 for an invalid response, and answers 503.",
        "websocket": "The driver does not pass on upgrades of connections.",
    }

    def __enter__(self) -> Self:
        super().__enter__()
        self.node = self.stack.enter_context(Varnish(**NO_HOLDDOWN))
        self.driver = make_provider(
            [self.node],
            kind=_resolving(self.addresses),
            first_byte_timeout=TIMEOUT,
            geography_header=COUNTRY,
            trusted_proxies=[f"{PROXY}/32"],
        )
        return self

    def deploy(self, service: Service) -> None:
        self.driver.check(service.spec)
        self.driver.ensure(service, None)

    def send(self, request: Request) -> Answer:
        if request.country:
            fields = {**request.fields, COUNTRY: request.country}
            request = request._replace(client=PROXY, fields=fields)
        return exchange(self.node.http, request)

    def purge(self, service: Service, purge: Purge) -> None:
        self.driver.purge(service, KNOWN, purge)


def _resolving(addresses: dict[str, Sequence[str]]) -> type[VarnishProvider]:
    class Resolving(VarnishProvider):
        def _resolve(self, origin: str) -> tuple[str, ...]:
            return tuple(addresses[origin])

    return Resolving
