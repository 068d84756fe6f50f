# SPDX-License-Identifier: Apache-2.0
"""The operator's own edge as a data plane of the edge contract: a real node."""

import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from poppy.edge.program import Certificate, Program
from poppy.model.operations import Purge
from poppy.model.secrets import Secret, with_secrets
from poppy.model.services import Service
from poppy.provider.base import Capability
from poppy.provider.edge.compiler import compile_program
from poppy.provider.edge.driver import EdgeProvider
from poppy.testing.edge import Answer, Request
from poppy.testing.edge.promises import SECURE, VERIFIED
from poppy.testing.edge.wire import OriginServer, exchange
from tests.real.edge_node import EdgeNode
from tests.real.edge_origins import Authority
from tests.real.knot import Knot
from tests.real.nameserver import ZONE_FILE
from tests.real.wired_plane import TIMEOUT, WiredPlane

#: Addresses of clients, by country.
CLIENTS = {"US": "127.40.0.1", "FR": "127.41.0.1", "CA": "127.42.0.1", "AU": "127.43.0.1"}


class Names(Knot):
    """Knot DNS with one more zone, of origins.

    Args:
        zone: its name.
        addresses: by name.
    """

    def __init__(self, zone: str, addresses: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self._zone, self._addresses = zone, addresses

    def prepare(self) -> None:
        """Write knot.conf and the zones."""
        super().prepare()
        file = self.directory / f"{self._zone}.zone"
        records = "".join(
            f"{name}. {'AAAA' if ':' in address else 'A'} {address}\n"
            for name, addresses in self._addresses.items()
            for address in addresses
        )
        file.write_text(ZONE_FILE + records)
        with (self.directory / "knot.conf").open("a") as config:
            config.write(f'  - domain: {self._zone}\n    file: "{file}"\n')


class EdgePlane(WiredPlane):
    """A node of the operator's own edge."""

    provider = "edge"
    scheme: ClassVar[str] = "http"
    supports = EdgeProvider.SUPPORTS | {Capability.GEOGRAPHY}
    not_kept: ClassVar[Mapping[str, str]] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        names = {name: tuple(addresses) for name, addresses in self.addresses.items()}
        server = self.stack.enter_context(Names("origin.example", names))
        directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self._authority = Authority(directory)
        tls = self._authority.context(VERIFIED)
        (address,) = self.addresses[SECURE]
        self.stack.enter_context(OriginServer(self.origins, SECURE, address, 443, tls))
        self.node = EdgeNode(
            nameservers=[server.address],
            allowed_origins=["127.0.0.0/8"],
            connect_timeout=0.5,
            first_byte_timeout=TIMEOUT,
            geography_database=self._database(),
            origin_ca_file=str(self._authority.file),
        )
        self.stack.enter_context(self.node)
        self._tls = ssl.create_default_context(cafile=str(self._authority.file))
        return self

    def deploy(self, service: Service) -> None:
        program = _compiled(service)
        protocols = {self.scheme, *(domain.protocol for domain in service.spec.domains)}
        if "https" in protocols:
            certificate = Certificate(program.domains, *self._authority.issue(*program.domains))
            program = replace(program, certificates=(certificate,))
        self.node.serve(program)

    def send(self, request: Request) -> Answer:
        request = _from_country(request)
        if (request.scheme or self.scheme) == "https":
            return exchange(self.node.https, request, self._tls)
        return exchange(self.node.http, request)

    def purge(self, service: Service, purge: Purge) -> None:
        self.node.plane.purge(service.service_id, purge)

    def _database(self) -> str:
        file = Path(self.stack.enter_context(tempfile.TemporaryDirectory())) / "countries"
        file.write_text("".join(f"{address}/32 {code}\n" for code, address in CLIENTS.items()))
        return str(file)


class SecureEdgePlane(EdgePlane):
    """The same node over HTTPS."""

    scheme = "https"


def _compiled(service: Service) -> Program:
    """Compile a service with open secrets, as nodes get it."""
    program = compile_program(service.service_id, service.spec)
    return with_secrets(program, lambda secret: Secret(text=secret.sealed))


def _from_country(request: Request) -> Request:
    return request._replace(client=CLIENTS[request.country]) if request.country else request
