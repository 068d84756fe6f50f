# SPDX-License-Identifier: Apache-2.0
"""One property for each service, and how it becomes what the service's document says.

Nothing about a property is kept but its id: each call looks at what there is, does the next
things that are missing, and can be stopped and repeated anywhere.
"""

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from oslo_log import log

from poppy.common.errors import InProgressError, PermanentError, RetryableError
from poppy.model.services import ProviderDetail, Service
from poppy.provider.akamai import rules
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.edges import EdgeHostname
from poppy.provider.akamai.papi import PAPI, Activation, Property

LOG = log.getLogger(__name__)

_AGAIN = 5.0  # Seconds.
_LONGEST_POLL = 600.0  # Seconds.
_MOST_FAILURES = 3
_FAILURES_COUNT = datetime.timedelta(hours=1)


class Progress(NamedTuple):
    """Whether a network serves a version; seconds until it makes sense to ask again."""

    done: bool
    poll_after: float = 0.0


class Properties:
    """The properties of an account.

    Args:
        network: ``STAGING`` or ``PRODUCTION``.
        emails: whom Akamai tells of activations.
        ip_version: of new edge hostnames: ``IPV4`` or ``IPV6_COMPLIANCE``.
        poll_after: seconds between two looks at an activation, unless Akamai says.
    """

    def __init__(
        self, papi: PAPI, network: str, emails: Sequence[str], ip_version: str, poll_after: float
    ) -> None:
        self._papi = papi
        self._network = network
        self._emails = emails
        self._ip_version = ip_version
        self._poll_after = poll_after

    def find(self, service: Service, known: ProviderDetail | None) -> Property | None:
        """The service's property, whether we know of it or not."""
        name = name_of(service)
        if known is not None and known.provider_service_id is not None:
            found = self._papi.property(known.provider_service_id)
            if found is not None and found.name == name:
                return found
        property_id = self._papi.find(name)
        return None if property_id is None else self._papi.property(property_id)

    def make(self, service: Service) -> Property:
        """Make the property; names are unique, so that there is never a second one."""
        name = name_of(service)
        try:
            property_id: str | None = self._papi.create(name)
        except PermanentError:
            # It may be there already: by another worker, or by a call whose reply was lost.
            property_id = self._papi.find_in_list(name)
            if property_id is None:
                raise
        found = None if property_id is None else self._papi.property(property_id)
        if found is None:
            raise RetryableError(f"Akamai does not show the new property {name}", _AGAIN)
        return found

    def existing_cp_code(self, service: Service, found: Property) -> int:
        """The service's CP code.

        Raises:
            PermanentError: it has none, because it was never deployed as a whole.
        """
        tree, _etag = self._papi.rules(found.property_id, found.latest)
        used = rules.cp_code(tree)
        number = used[0] if used is not None else self._find_cp_code(name_of(service))
        if number is None:
            raise PermanentError(f"Akamai has no CP code for service {service.service_id}")
        return number

    def edge_hostnames(self, found: Property) -> dict[str, str]:
        """By domain, the edge hostname in the property's latest version."""
        items = self._papi.hostnames(found.property_id, found.latest)
        return {entry["cnameFrom"]: entry.get("cnameTo") or "" for entry in items}

    def write(
        self,
        service: Service,
        found: Property,
        tree_for: Callable[[int], Document],
        edges: Mapping[str, EdgeHostname],
    ) -> int:
        """Have a latest version with a rule tree and these names; its number.

        A version that is, or was, on a network can't be changed: then it becomes a new one.

        Args:
            tree_for: gives the tree for a CP code.
        """
        property_id, version = found.property_id, found.latest
        present, etag = self._papi.rules(property_id, version)
        tree = tree_for(self._cp_code(service, present))
        changed = rules.difference(present, tree)
        names = {domain: edge.name for domain, edge in edges.items()}
        moved = self.edge_hostnames(found) != names
        if not changed and not moved:
            return version
        LOG.debug("property %s: %s", property_id, changed or "other names")
        ids = self._edge_ids(edges) if moved else {}
        if self._is_locked(property_id, version):
            version = self._papi.new_version(property_id, version, etag)
            _present, etag = self._papi.rules(property_id, version)
        try:
            if moved:
                wanted = [_hostname(domain, edge, ids) for domain, edge in sorted(edges.items())]
                etag = self._papi.put_hostnames(property_id, version, etag, wanted)
            if changed:
                self._put_rules(property_id, version, etag, tree)
        except PermanentError as exc:
            if self._is_locked(property_id, version):
                raise RetryableError(
                    f"Version {version} of {property_id} was activated meanwhile", _AGAIN
                ) from exc
            raise
        return version

    def activate(self, property_id: str, version: int) -> Progress:
        """Have the network serve the version.

        Raises:
            PermanentError: it failed again and again.
        """
        activations = self._papi.activations(property_id)
        ours = [one for one in activations if one.network == self._network]
        pending = next((one for one in ours if one.pending), None)
        if pending is not None:
            return self._pending(property_id, pending)
        if any(one.serves and one.version == version for one in ours):
            return Progress(True)
        failures = _failures(ours, version)
        if len(failures) >= _MOST_FAILURES:
            cause = failures[0].cause or "it does not say why"
            raise PermanentError(f"Akamai could not activate the service: {cause}")
        self._papi.activate(property_id, version, self._network, "ACTIVATE", self._emails)
        return Progress(False, self._poll_after)

    def take_down(self, service: Service, known: ProviderDetail | None) -> None:
        """Deactivate the service's property everywhere and delete it; fine if there is none.

        Raises:
            InProgressError: Akamai is at it.
        """
        found = self.find(service, known)
        if found is None:
            return
        activations = self._papi.activations(found.property_id)
        pending = [one for one in activations if one.pending]
        serving = [one for one in activations if one.serves and one.network in found.networks]
        for one in serving:
            if not any(other.network == one.network for other in pending):
                self._papi.activate(
                    found.property_id, one.version, one.network, "DEACTIVATE", self._emails
                )
        if serving or pending:
            wait = self._poll_after
            if pending:
                wait = self._pending(found.property_id, pending[0]).poll_after
            raise InProgressError(f"Akamai deactivates {found.name}", wait)
        self._papi.delete(found.property_id)

    def _is_locked(self, property_id: str, version: int) -> bool:
        """Whether a version is, or was, on its way to a network, and can't be changed."""
        return any(one.version == version for one in self._papi.activations(property_id))

    def _put_rules(self, property_id: str, version: int, etag: str, tree: Document) -> None:
        written = self._papi.put_rules(property_id, version, etag, tree)
        lost = rules.difference(written.get("rules"), tree)
        if lost:
            # Else each look would find a difference, and make a new version without end.
            raise PermanentError(
                f"Akamai does not keep {lost} as it was given: the option rule_format, or the "
                "product, does not know it"
            )

    def _pending(self, property_id: str, one: Activation) -> Progress:
        wait = self._papi.ready_in(property_id, one.activation_id)
        if wait is None:
            wait = self._poll_after
        return Progress(False, min(wait, _LONGEST_POLL))

    def _cp_code(self, service: Service, present: Document) -> int:
        """The service's own CP code, which is made when it is missing.

        Args:
            present: the rule tree, which knows it as soon as it was written once.
        """
        name = name_of(service)
        used = rules.cp_code(present)
        if used is not None and used[1] == name:
            return used[0]
        number = self._find_cp_code(name)
        if number is None:
            made = self._papi.create_cp_code(name)
            # Of two by a race, both workers take the older one.
            number = self._find_cp_code(name) or made
        return number

    def _find_cp_code(self, name: str) -> int | None:
        found = self._papi.cp_codes()
        return min((number for number, other in found.items() if other == name), default=None)

    def _edge_ids(self, edges: Mapping[str, EdgeHostname]) -> dict[str, str]:
        """The ids of edge hostnames, which are made when they are missing."""
        ids = self._papi.edge_hostnames()
        missing = {edge.name: edge for edge in edges.values() if edge.name not in ids}
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
            # Somebody was faster, or a reply was lost and the list was late.
            if edge.name not in self._papi.edge_hostnames():
                raise


def name_of(service: Service) -> str:
    """What a service's property and CP code are called, so that they can be found."""
    return f"poppy-{service.service_id}"


def _hostname(domain: str, edge: EdgeHostname, ids: Mapping[str, str]) -> dict[str, str]:
    return {
        "cnameType": "EDGE_HOSTNAME",
        "cnameFrom": domain,
        "cnameTo": edge.name,
        "edgeHostnameId": ids[edge.name],
        "certProvisioningType": "CPS_MANAGED",
    }


def _failures(activations: Sequence[Activation], version: int) -> list[Activation]:
    """The activations of a version that failed of late, since one was done; the latest first."""
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
