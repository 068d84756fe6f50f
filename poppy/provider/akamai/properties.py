# SPDX-License-Identifier: Apache-2.0
"""Manage the properties: one per service.

Poppy stores only the property's id. Each call reads the current state and makes the next missing
changes, so it can be interrupted and repeated at any point.
"""

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from oslo_log import log

from poppy.common import inspection
from poppy.common.errors import InProgressError, PermanentError, RetryableError
from poppy.model.dns_records import DNSRecord
from poppy.model.services import Service
from poppy.provider.akamai import default_certificates, rules
from poppy.provider.akamai.certificates import Order
from poppy.provider.akamai.default_certificates import is_default
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.edges import EdgeHostname
from poppy.provider.akamai.ownership import Missing, Ownership, note, noted
from poppy.provider.akamai.papi import PAPI, Activation, Property

LOG = log.getLogger(__name__)

_AGAIN = 5.0  # Seconds.
_LONGEST_POLL = 600.0  # Seconds.
_MOST_FAILURES = 3
_FAILURES_COUNT = datetime.timedelta(hours=1)


class Progress(NamedTuple):
    """The progress of an activation.

    Attributes:
        done: whether the network serves the version.
        poll_after: seconds until the next poll.
        message: what the tenant must do; empty if it just takes time.
        records: the DNS records that the tenant must create.
    """

    done: bool
    poll_after: float = 0.0
    message: str = ""
    records: tuple[DNSRecord, ...] = ()


class Properties:
    """The properties of an account.

    Args:
        network: ``STAGING`` or ``PRODUCTION``.
        emails: recipients of Akamai's activation mails.
        ip_version: IP version of new edge hostnames: ``IPV4`` or ``IPV6_COMPLIANCE``.
        poll_after: seconds between polls of an activation, unless Akamai gives an estimate.
        compliance: the compliance record of activations on PRODUCTION.
        ownership: proves the ownership of new domains; None if the operator has done so.
    """

    def __init__(
        self,
        papi: PAPI,
        network: str,
        emails: Sequence[str],
        ip_version: str,
        poll_after: float,
        ownership: Ownership | None = None,
        compliance: Document | None = None,
    ) -> None:
        self._papi = papi
        self._ownership = ownership
        self._network = network
        self._emails = emails
        self._ip_version = ip_version
        self._poll_after = poll_after
        self._compliance = compliance

    def get(self, service: Service, property_id: str) -> Property | None:
        """Return the property with an id; None if it is gone or not the service's."""
        found = self._papi.property(property_id)
        return found if found is not None and found.name == name_of(service) else None

    def search(self, service: Service) -> Property | None:
        """Return the property with the service's name; None without one."""
        property_id = self._papi.find(name_of(service))
        return None if property_id is None else self._papi.property(property_id)

    def make(self, service: Service) -> Property:
        """Create the property. Names are unique, so there is never a second one."""
        name = name_of(service)
        try:
            property_id: str | None = self._papi.create(name)
        except PermanentError:
            # Another worker, or an earlier call with a lost reply, may have created it.
            property_id = self._papi.find_in_list(name)
            if property_id is None:
                raise
        found = None if property_id is None else self._papi.property(property_id)
        if found is None:
            raise RetryableError(f"Akamai does not show the new property {name}", _AGAIN)
        return found

    def existing_cp_code(self, service: Service, found: Property) -> int:
        """Return the service's CP code.

        Raises:
            PermanentError: it has none, because its deployment was never completed.
        """
        tree, _etag = self._papi.rules(found.property_id, found.latest)
        used = rules.cp_code(tree)
        number = used[0] if used is not None else self._find_cp_code(name_of(service))
        if number is None:
            raise PermanentError(f"Akamai has no CP code for service {service.service_id}")
        return number

    def edge_hostnames(self, found: Property) -> dict[str, EdgeHostname]:
        """Return the edge hostnames in the property's latest version by domain."""
        return {
            entry["cnameFrom"]: EdgeHostname(
                entry.get("cnameTo") or "", ours=False, default=is_default(entry)
            )
            for entry in self._papi.hostnames(found.property_id, found.latest)
        }

    def default_orders(self, property_id: str, version: int) -> dict[str, Order]:
        """Return the progress of the default certificates of a version by domain."""
        hostnames = self._papi.hostnames(property_id, version, status=True)
        return default_certificates.orders(hostnames, self._network)

    def write(
        self,
        service: Service,
        found: Property,
        tree_for: Callable[[int], Document],
        edges: Mapping[str, EdgeHostname],
    ) -> int:
        """Write the rule tree and names to the latest version and return its number.

        A version that is, or was, active on a network can't be changed; then create a new one.

        Args:
            tree_for: returns the rule tree for a CP code.
        """
        property_id, version = found.property_id, found.latest
        present, etag = self._papi.rules(property_id, version)
        tree = tree_for(self._cp_code(service, present))
        claimed = noted(present)
        changed = rules.difference(present, note(claimed, tree))
        before = self.edge_hostnames(found)
        moved = _names(before) != _names(edges)
        if not changed and not moved:
            return version
        inspection.differs(f"the property differs in {changed or 'its hostnames'}")
        LOG.debug("property %s: %s", property_id, changed or "other names")
        hostnames = None
        if moved:
            ids = self._edge_ids(edges)
            hostnames = [_hostname(domain, edge, ids) for domain, edge in sorted(edges.items())]
        if claimed:
            # The claims of domains that are not in use any more were released.
            activations = self._papi.activations(property_id)
            kept = claimed & (set(before) | self._served(property_id, activations))
            tree = note(kept, tree)
            changed = changed or (None if kept == claimed else "other claims")
        return self._edit(property_id, version, etag, tree if changed else None, hostnames)

    def activate(
        self, property_id: str, version: int, edges: Mapping[str, EdgeHostname]
    ) -> Progress:
        """Activate the version on the network, once Akamai accepts the tenant's new domains.

        Args:
            edges: the edge hostnames of the version's hostnames.

        Raises:
            PermanentError: the activation failed repeatedly, or Akamai refuses a domain.
        """
        activations = self._papi.activations(property_id)
        ours = [one for one in activations if one.network == self._network]
        pending = next((one for one in ours if one.pending), None)
        if pending is not None:
            return self._pending(property_id, pending)
        if any(one.serves and one.version == version for one in ours):
            return Progress(True)
        inspection.differs(f"version {version} is not active in {self._network}")
        failures = _failures(ours, version)
        if len(failures) >= _MOST_FAILURES:
            cause = failures[0].cause or "no reason given"
            raise PermanentError(f"Akamai could not activate the service: {cause}")
        missing = self._prove(property_id, version, edges, ours)
        if missing:
            return Progress(False, self._poll_after, *missing)
        self._start(property_id, version, self._network, "ACTIVATE")
        return Progress(False, self._poll_after)

    def release(self, property_id: str, version: int, domains: Iterable[str]) -> None:
        """Release Poppy's claims of domains that the property does not have any more."""
        gone = set(domains)
        if gone and self._ownership is not None:
            rules_tree, _etag = self._papi.rules(property_id, version)
            self._ownership.release(noted(rules_tree) & gone)

    def take_down(self, found: Property) -> None:
        """Deactivate a property on all networks and delete it.

        Raises:
            InProgressError: a deactivation is in progress.
        """
        activations = self._papi.activations(found.property_id)
        pending = [one for one in activations if one.pending]
        serving = [one for one in activations if one.serves and one.network in found.networks]
        for one in serving:
            if not any(other.network == one.network for other in pending):
                self._start(found.property_id, one.version, one.network, "DEACTIVATE")
        if serving or pending:
            wait = self._poll_after
            if pending:
                wait = self._pending(found.property_id, pending[0]).poll_after
            raise InProgressError(f"Akamai is deactivating {found.name}", wait)
        if self._ownership is not None:
            rules_tree, _etag = self._papi.rules(found.property_id, found.latest)
            self._ownership.release(noted(rules_tree))
        self._papi.delete(found.property_id)

    def _start(self, property_id: str, version: int, network: str, kind: str) -> None:
        self._papi.activate(property_id, version, network, kind, self._emails, self._compliance)

    def _prove(
        self,
        property_id: str,
        version: int,
        edges: Mapping[str, EdgeHostname],
        activations: Sequence[Activation],
    ) -> Missing:
        """Return what is missing for Akamai to accept the hostnames that it does not serve yet."""
        if self._ownership is None:
            return Missing()
        new = set(edges) - self._served(property_id, activations)
        if not new:
            return Missing()
        by_cname = {domain for domain in new if edges[domain].default}

        def remember(domains: Collection[str]) -> None:
            present, etag = self._papi.rules(property_id, version)
            claimed = noted(present)
            if not claimed.issuperset(domains):
                tree = note(claimed.union(domains), present)
                self._edit(property_id, version, etag, tree, None)

        return self._ownership.prove(new, by_cname, remember)

    def _served(self, property_id: str, activations: Sequence[Activation]) -> set[str]:
        """Return the hostnames that the network serves."""
        found = (one for one in activations if one.network == self._network and one.serves)
        version = next((one.version for one in found), None)
        if version is None:
            return set()
        return {entry["cnameFrom"] for entry in self._papi.hostnames(property_id, version)}

    def _edit(
        self,
        property_id: str,
        version: int,
        etag: str,
        tree: Document | None,
        hostnames: Sequence[Mapping[str, str]] | None,
    ) -> int:
        """Write the rule tree or hostnames or both, to a new version if this one is locked.

        Returns:
            The number of the written version.
        """
        if self._is_locked(property_id, version):
            version = self._papi.new_version(property_id, version, etag)
            _present, etag = self._papi.rules(property_id, version)
        try:
            if hostnames is not None:
                etag = self._papi.put_hostnames(property_id, version, etag, hostnames)
            if tree is not None:
                self._put_rules(property_id, version, etag, tree)
        except PermanentError as exc:
            if self._is_locked(property_id, version):
                raise RetryableError(
                    f"Version {version} of {property_id} was activated concurrently", _AGAIN
                ) from exc
            raise
        return version

    def _is_locked(self, property_id: str, version: int) -> bool:
        """Return whether a version has an activation, and so can't be changed."""
        return any(one.version == version for one in self._papi.activations(property_id))

    def _put_rules(self, property_id: str, version: int, etag: str, tree: Document) -> None:
        written = self._papi.put_rules(property_id, version, etag, tree)
        lost = rules.difference(written.get("rules"), tree)
        if lost:
            # Otherwise every call would find a difference and create a new version.
            raise PermanentError(
                f"Akamai does not store {lost} as written: the option rule_format or the product "
                "does not support it"
            )

    def _pending(self, property_id: str, one: Activation) -> Progress:
        wait = self._papi.ready_in(property_id, one.activation_id)
        if wait is None:
            wait = self._poll_after
        return Progress(False, min(wait, _LONGEST_POLL))

    def _cp_code(self, service: Service, present: Document) -> int:
        """Return the service's CP code; create it if it is missing.

        Args:
            present: the current rule tree, which contains the CP code after the first write.
        """
        name = name_of(service)
        used = rules.cp_code(present)
        if used is not None and used[1] == name:
            return used[0]
        number = self._find_cp_code(name)
        if number is None:
            made = self._papi.create_cp_code(name)
            # After a race there are two; both workers use the older one.
            number = self._find_cp_code(name) or made
        return number

    def _find_cp_code(self, name: str) -> int | None:
        found = self._papi.cp_codes()
        return min((number for number, other in found.items() if other == name), default=None)

    def _edge_ids(self, edges: Mapping[str, EdgeHostname]) -> dict[str, str]:
        """Return the ids of edge hostnames; create missing ones, unless Akamai does."""
        ids = self._papi.edge_hostnames()
        wanted = (edge for edge in edges.values() if not edge.default)
        missing = {edge.name: edge for edge in wanted if edge.name not in ids}
        for edge in missing.values():
            self._make_edge(edge)
        if missing:
            ids = self._papi.edge_hostnames()
        lost = sorted(set(missing) - set(ids))
        if lost:
            raise RetryableError(f"Akamai does not show the edge hostname {lost[0]}", _AGAIN)
        return ids

    def _make_edge(self, edge: EdgeHostname) -> None:
        if not edge.ours:
            raise PermanentError(f"Akamai has no edge hostname {edge.name} in this contract")
        prefix, suffix = edge.parts
        create: Callable[..., None] = self._papi.create_edge_hostname
        try:
            create(prefix, suffix, self._ip_version, edge.enrollment)
        except PermanentError:
            # Another worker created it, or a reply was lost and the list was stale.
            if edge.name not in self._papi.edge_hostnames():
                raise


def name_of(service: Service) -> str:
    """Return the name of a service's property and CP code."""
    return f"poppy-{service.service_id}"


def _names(edges: Mapping[str, EdgeHostname]) -> dict[str, tuple[str, bool]]:
    """Return the edge hostnames as far as hostnames of a property depend on them."""
    return {domain: (edge.name, edge.default) for domain, edge in edges.items()}


def _hostname(domain: str, edge: EdgeHostname, ids: Mapping[str, str]) -> dict[str, str]:
    found = {"cnameType": "EDGE_HOSTNAME", "cnameFrom": domain, "cnameTo": edge.name}
    if edge.default:
        return {**found, "certProvisioningType": "DEFAULT"}
    return {
        **found,
        "edgeHostnameId": ids[edge.name],
        "certProvisioningType": "CPS_MANAGED",
    }


def _failures(activations: Sequence[Activation], version: int) -> list[Activation]:
    """Return a version's recent failed activations since its last success, the latest first."""
    found = []
    for one in activations:
        if one.version != version or not one.failed:
            break
        if _age(one.updated) > _FAILURES_COUNT:
            break
        found.append(one)
    return found


def _age(moment: str) -> datetime.timedelta:
    then = datetime.datetime.fromisoformat(moment)
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return datetime.datetime.now(datetime.UTC) - then
