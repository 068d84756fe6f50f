# SPDX-License-Identifier: Apache-2.0
"""The provider ``varnish``: the operator's own edge of stock Varnish nodes.

``doc/source/drivers/varnish.rst`` describes how each field of a service is applied.
"""

import functools
import hashlib
import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from oslo_config import cfg
from oslo_log import log

from poppy.common import addresses as address_rules
from poppy.common.errors import (
    DriverError,
    PermanentError,
    RetryableError,
    Scope,
    TimedOut,
    Unauthorized,
)
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider import patterns
from poppy.provider.base import Capability, Deployment, Provider
from poppy.provider.varnish.access import Settings
from poppy.provider.varnish.admin import Admin
from poppy.provider.varnish.metadata import Metadata
from poppy.provider.varnish.node import Node, Program
from poppy.provider.varnish.options import OPTS
from poppy.provider.varnish.vcl import digest, service_vcl

LOG = log.getLogger(__name__)

_HEADER = re.compile("[A-Za-z][A-Za-z0-9-]*")
_HEALTH_TIMEOUT = 3.0  # Seconds, for each node.


class VarnishProvider(Provider):
    """Runs services on Varnish nodes through their management ports.

    Each service has its own VCL on every node, behind a label. A small active VCL routes requests
    to the labels by host name. So a broken VCL affects only its own service, and no change drops a
    request. The driver reads what a node serves from the node itself; there is no other record.

    A node that is down does not block the others. The driver changes all nodes that it can reach,
    then raises an error, so that Poppy calls again until every node is up to date.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = OPTS

    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.REFERRER,
            Capability.CLIENT_IP,
            Capability.SOFT_PURGE,
            Capability.IPV6_ORIGIN,
        }
    )
    OPTIONAL: ClassVar[Mapping[Capability, Sequence[str]]] = {
        Capability.GEOGRAPHY: ("geography_header",),
    }

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Read the options.

        Raises:
            ConfigError: the options contradict each other, or the secret can't be read.
        """
        super().__init__(conf, name)
        options = self.options
        self._settings = Settings(
            grace=options.grace,
            connect_timeout=options.connect_timeout,
            first_byte_timeout=options.first_byte_timeout,
            between_bytes_timeout=options.between_bytes_timeout,
            client_ip_header=options.client_ip_header,
            geography_header=options.geography_header,
            trusted_proxies=tuple(options.trusted_proxies),
            strip_cookies=options.cookies == "strip",
            max_object_size=options.max_object_size,
        )
        self._secret = self._read_secret()
        self._allowed = self._networks("allowed_origins")
        self._refused = self._networks("refused_origins")
        if options.refused_origins == []:
            LOG.warning(
                "%s: an empty refused_origins is deprecated: set allowed_origins", self.name
            )
            self._allowed = address_rules.networks(["0.0.0.0/0", "::/0"])
        self._check()

    def check(self, spec: ServiceSpec) -> None:
        """Refuse a document that can't be compiled or is too large; see :meth:`Provider.check`.

        The names of origins are not resolved here; each counts as one address.
        """
        addresses = {}
        for entry in spec.origins:
            address = address_rules.parse(entry.origin)
            if address is not None:
                self._check_origin(entry.origin, address)
            addresses[entry.origin] = [str(address or "::")]
        metadata = Metadata("", tuple(sorted(spec.domain_names)))
        self._render(metadata, "", spec, addresses)

    @property
    def reserved_names(self) -> Sequence[str]:
        """The DNS name of the nodes, ``edge_name``."""
        return (self.options.edge_name,)

    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Deploy the document to every node; see :meth:`Provider.ensure`."""
        program = self._program(service)
        self._on_every_node(lambda node: node.ensure(program))
        edge: str = self.options.edge_name
        return Deployment(
            provider_service_id=program.label,
            access_urls={domain: edge for domain in sorted(service.spec.domain_names)},
        )

    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Remove the service from every node; see :meth:`Provider.remove`."""
        key = _key(service.service_id)
        self._on_every_node(lambda node: node.remove(key))

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Evict objects, or mark them stale, on every node; see :meth:`Provider.purge`.

        A node that lost the service in a restart gets it back first.
        """
        key = _key(service.service_id)
        # Built when needed: a hard purge must not depend on resolving the origins' names.
        program = functools.cache(lambda: self._program(service))
        deployed = known is not None and known.provider_service_id is not None
        pattern = None if purge.url is None else patterns.url_regex(purge.url)

        def one(node: Node) -> None:
            if not node.has(key):
                if not deployed:
                    raise self.no_such(service)
                node.ensure(program())
            if purge.hard:
                node.purge_hard(key, pattern)
            else:
                node.purge_softly(program(), purge.url)

        self._on_every_node(one)

    def health(self) -> bool:
        """Return whether every node answers and serves."""
        try:
            for address in self.options.nodes:
                timeout = min(self.options.timeout, _HEALTH_TIMEOUT)
                with Admin(address, self._secret, timeout) as admin:
                    if not Node(admin).healthy():
                        return False
        except DriverError as exc:
            LOG.warning("%s: %s", self.name, exc)
            return False
        return True

    def serves(self) -> bool | None:
        """Return whether any node serves; None if only unauthorized nodes might.

        One is enough, because the DNS name or load balancer of the nodes picks those that serve.
        A restarted node serves nothing until its services are deployed again.
        """
        said = {self._node_serves(address) for address in self.options.nodes}
        return True if True in said else None if None in said else False

    def _node_serves(self, address: str) -> bool | None:
        timeout = min(self.options.timeout, _HEALTH_TIMEOUT)
        try:
            with Admin(address, self._secret, timeout) as admin:
                return Node(admin).serves()
        except Unauthorized as exc:
            # The node is up, but its state can't be read.
            LOG.warning("%s: %s", self.name, exc)
            return None
        except DriverError as exc:
            LOG.info("%s: %s", self.name, exc)
            return False

    def _on_every_node(self, change: Callable[[Node], None]) -> None:
        """Apply a change to every node, then raise if any node failed.

        Raises:
            PermanentError: every node refuses the change.
            Unauthorized: no node accepts the secret.
            RetryableError: otherwise. TimedOut if any node timed out.
        """
        failures: list[DriverError] = []
        for address in self.options.nodes:
            try:
                with Admin(address, self._secret, self.options.timeout) as admin:
                    change(Node(admin, self.options.compile_limit))
            except DriverError as exc:
                LOG.warning("%s: node %s: %s", self.name, address, exc)
                failures.append(exc)
        if not failures:
            return
        message = "; ".join(str(failure) for failure in failures)
        # Give up only if all nodes fail in the same way. Otherwise a retry may still succeed on
        # a node that is down now.
        for kind in (PermanentError, Unauthorized):
            if all(isinstance(failure, kind) for failure in failures):
                raise kind(message) from failures[0]
        # A node that fails for this service alone says nothing about the others.
        outage = all(_scope(failure) is Scope.PROVIDER for failure in failures)
        late = any(isinstance(failure, TimedOut) for failure in failures)
        raise (TimedOut if late else RetryableError)(
            message, _longest_wait(failures), scope=Scope.PROVIDER if outage else Scope.SERVICE
        ) from failures[0]

    def _program(self, service: Service) -> Program:
        """Return the service's VCL with the current addresses of its origins."""
        spec = service.spec
        key = _key(service.service_id)
        addresses = {entry.origin: self._resolve(entry.origin) for entry in spec.origins}
        metadata = Metadata(service.service_id, tuple(sorted(spec.domain_names)))

        def render(metadata: Metadata) -> str:
            return self._render(metadata, key, spec, addresses)

        return Program(key, metadata, digest(render(metadata)), render)

    def _render(
        self,
        metadata: Metadata,
        key: str,
        spec: ServiceSpec,
        addresses: Mapping[str, Sequence[str]],
    ) -> str:
        """Return the VCL of a service.

        Raises:
            PermanentError: it is longer than ``max_vcl_size``.
        """
        longest: int = self.options.max_vcl_size
        text = service_vcl(metadata, key, spec, addresses, self._settings)
        if len(text) > longest and metadata.purges:
            # Replace the soft purges by one of everything, which is shorter.
            text = service_vcl(metadata.folded(), key, spec, addresses, self._settings)
        if len(text) > longest:
            raise PermanentError(
                f"The service is too large: its rules, origins and domains compile to {len(text)} "
                f"bytes of VCL, and the limit is {longest}"
            )
        return text

    def _resolve(self, origin: str) -> tuple[str, ...]:
        """Return all addresses of an origin, sorted. The system's resolver limits the time.

        varnishd can resolve names itself when it compiles, but refuses names with more than one
        address of a family.

        Raises:
            RetryableError: the name can't be resolved.
            PermanentError: one of the addresses is not allowed.
        """
        try:
            found = socket.getaddrinfo(origin, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            # The tenant's problem: a mistyped name, or its name servers are down.
            raise RetryableError(
                f"The origin {origin} can't be resolved: {exc}", 60, scope=Scope.SERVICE
            ) from exc
        addresses = {_address(str(entry[4][0])) for entry in found}
        for address in addresses:
            self._check_origin(origin, address)
        return tuple(str(address) for address in sorted(addresses, key=lambda a: (a.version, a)))

    def _check_origin(self, origin: str, address: address_rules.Address) -> None:
        """Refuse an address that is not allowed.

        One such address is enough to refuse a name. Otherwise the name's owner could start with
        allowed addresses and replace them later, and the tenant would not learn that one of them
        is unused.

        Raises:
            PermanentError: the address is not allowed.
        """
        try:
            address_rules.check(address, self._allowed, self._refused)
        except address_rules.Refused as exc:
            raise PermanentError(f"The origin {origin}: {exc}") from exc

    def _read_secret(self) -> bytes:
        if self.options.secret_file:
            try:
                return Path(self.options.secret_file).read_bytes()
            except OSError as exc:
                raise self.config_error(f"secret_file can't be read: {exc}") from exc
        secret: str = self.options.secret or ""
        return (secret if secret.endswith("\n") else f"{secret}\n").encode()

    def _networks(self, option: str) -> list[address_rules.Network]:
        try:
            return address_rules.networks(self.options[option] or ())
        except ValueError as exc:
            raise self.config_error(f"{option}: {exc}") from exc

    def _check(self) -> None:
        if not self.options.nodes:
            raise self.config_error("nodes is empty")
        self._networks("trusted_proxies")
        headers = self._settings.proxy_headers
        if headers and not self._settings.trusted_proxies:
            raise self.config_error(
                f"{headers[0]} is accepted from trusted_proxies, which is empty"
            )
        for header in headers:
            if not _HEADER.fullmatch(header):
                raise self.config_error(f"{header!r} is not a header name")


def _scope(failure: DriverError) -> Scope:
    return failure.scope if isinstance(failure, RetryableError) else Scope.SERVICE


def _longest_wait(failures: Sequence[DriverError]) -> float | None:
    waits = [it.retry_after for it in failures if isinstance(it, RetryableError)]
    return max((it for it in waits if it is not None), default=None)


def _address(text: str) -> address_rules.Address:
    """Parse an address, dropping its scope; an IPv4-mapped address becomes IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _key(service_id: str) -> str:
    """Return the 32 hexadecimal digits that identify the service in VCL names and in the cache."""
    digits = service_id.replace("-", "").lower()
    if re.fullmatch("[0-9a-f]{32}", digits):
        return digits
    return hashlib.sha256(service_id.encode()).hexdigest()[:32]
