# SPDX-License-Identifier: Apache-2.0
"""One Varnish node: brings it from any state to the desired one.

The VCLs and labels on a node, by name::

    poppy_<key>                                    label of the VCL that serves the service now
    poppy_<key>_<domains>_<content>_<serial>       a VCL of the service
    poppy_gone                                     the VCL behind labels of removed services
    poppy_router_<coverage>_<serial>               the active VCL: host -> label

``domains``, ``content`` and ``coverage`` are digests, so one ``vcl.list`` shows whether anything
has to change. ``serial`` makes a name unique and sorts by time.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from oslo_log import log

from poppy.common.errors import RetryableError, Scope
from poppy.provider.varnish.admin import Admin, Refused
from poppy.provider.varnish.metadata import Metadata
from poppy.provider.varnish.vcl import digest, router_vcl

LOG = log.getLogger(__name__)

_GONE = "poppy_gone"
_GONE_VCL = "vcl 4.1;\n\nbackend default none;\n\nsub vcl_recv {\n    return (synth(404));\n}\n"
_LABEL = re.compile("poppy_([0-9a-f]{32})")
_PROGRAM = re.compile("poppy_([0-9a-f]{32})_([0-9a-f]{16})_([0-9a-f]{16})_([0-9a-f]{16})")
_ROUTER = re.compile("poppy_router_([0-9a-f]{16})_[0-9a-f]{16}")
#: How many objects a node may evict to make room for one.
_NUKE_LIMIT = 100_000
_ULIMIT = re.compile("^ulimit -S -t [0-9]+; ")
_ROUNDS = 20
_ROUND_PAUSE = 0.05  # Seconds between attempts that lose to another worker's change.


@dataclass(frozen=True, slots=True)
class Program:
    """The VCL of one service, before it is loaded.

    Attributes:
        key: the service's key, 32 hexadecimal digits.
        metadata: the metadata for a node that never had the service.
        content: digest of the VCL without soft purges.
        render: returns the text for given metadata.
    """

    key: str
    metadata: Metadata
    content: str
    render: Callable[[Metadata], str]

    @property
    def label(self) -> str:
        """The name of the service's label."""
        return f"poppy_{self.key}"

    @property
    def domains(self) -> str:
        """Digest of the domains."""
        return digest("\n".join(sorted(self.metadata.domains)))

    @property
    def prefix(self) -> str:
        """The beginning of the VCL's name, the same on every node."""
        return f"{self.label}_{self.domains}_{self.content}_"


@dataclass(frozen=True, slots=True)
class Listing:
    """The VCLs that are loaded on a node at one moment.

    Attributes:
        active: the name of the active VCL, if there is one.
        labels: the VCL behind each of Poppy's labels.
        names: all VCLs except labels and VCLs that are already discarded.
    """

    active: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    names: frozenset[str] = frozenset()

    @classmethod
    def from_json(cls, entries: list[dict[str, Any]]) -> Self:
        """Read the entries of ``vcl.list -j``."""
        present = [entry for entry in entries if entry.get("status") != "discarded"]
        labels = {
            entry["name"]: entry["label"]["name"]
            for entry in present
            if entry.get("state") == "label" and _LABEL.fullmatch(entry["name"])
        }
        active = [entry["name"] for entry in present if entry.get("status") == "active"]
        names = frozenset(e["name"] for e in present if e.get("state") != "label")
        return cls(active[0] if active else None, labels, names)

    @property
    def services(self) -> Mapping[str, str]:
        """The VCL of each served service by label, without services that are being removed."""
        return {label: name for label, name in self.labels.items() if _PROGRAM.fullmatch(name)}

    @property
    def coverage(self) -> str:
        """Digest of all services and their domains, which a router must cover."""
        parts = (f"{label} {name.split('_')[2]}" for label, name in self.services.items())
        return digest("\n".join(sorted(parts)))

    @property
    def routed(self) -> bool:
        """Whether the active VCL is a router of exactly the services on the node."""
        found = _ROUTER.fullmatch(self.active or "")
        return found is not None and found[1] == self.coverage


class Node:
    """A node, over one connection.

    Several workers may change a node at once, and the management port has no lock. But it runs
    one command at a time, which is enough. A worker that has changed a label reads the active
    router and all labels in one listing, and activates new routers until the two agree. The last
    label change is followed by such a reading, and so is every router activation after it. So the
    last reading of all sees every label and a matching router. If a worker dies before its last
    reading, its operation is unfinished; it runs again and then makes that reading.

    The label of a service that is being removed points to ``poppy_gone``. After that command no
    new router includes the service, no matter which worker creates the router.
    """

    def __init__(self, admin: Admin, compile_limit: int = 0) -> None:
        """Prepare the node without sending a command.

        Args:
            compile_limit: seconds of CPU time after which the node stops its compiler; 0 keeps
                the node's own setting.
        """
        self._admin = admin
        self._compile_limit = compile_limit
        self._domains: dict[str, tuple[str, ...]] = {}
        self._last_refusal: Refused | None = None

    def listing(self) -> Listing:
        """Return the VCLs that are loaded now."""
        return Listing.from_json(self._admin.json("vcl.list"))

    def has(self, key: str) -> bool:
        """Return whether the node serves the service."""
        return f"poppy_{key}" in self.listing().services

    def ensure(self, program: Program) -> None:
        """Serve the program; load it only if the node does not serve it already."""
        self._wake()
        current = self.listing().services.get(program.label)
        if current is None or not current.startswith(program.prefix):
            self._load(program, self._inherit(program, current))
        self._settle(program.key)

    def purge_softly(self, program: Program, url: str | None) -> None:
        """Mark cached objects as stale by reloading the program with a soft purge.

        Args:
            url: the purged path or pattern; None for all.
        """
        self._wake()
        current = self.listing().services.get(program.label)
        metadata = self._inherit(program, current).purged(url, int(time.time()))
        self._load(program, metadata)
        self._settle(program.key)

    def purge_hard(self, key: str, url_regex: str | None) -> None:
        """Evict cached objects: all, or those with a matching URL."""
        if not self._running():
            return  # The cache is in the child process; without it nothing is cached.
        # Tests only fields of the object, so that the "ban lurker" applies it in the background.
        words = ["ban", "obj.http.x-poppy-service", "==", key]
        if url_regex is not None:
            words += ["&&", "obj.http.x-poppy-url", "~", url_regex]
        self._admin.command(*words)

    def remove(self, key: str) -> None:
        """Remove a service's VCLs, label, routes and cached objects."""
        self._wake()
        label = f"poppy_{key}"
        if label in self.listing().labels:
            self._point_away(label)
        for _ in self._rounds(f"{label} is still referred to"):
            self._route()
            # Inactive routers refer to the label too.
            self._discard_routers()
            if label not in self.listing().labels or self._discard(label):
                break
        self._discard_programs(key)
        self.purge_hard(key, None)

    def healthy(self) -> bool:
        """Return whether the node serves, or has nothing to serve yet."""
        self._admin.command("ping")
        return self._running() or self.listing().active is None

    def serves(self) -> bool:
        """Return whether the node's child process runs and answers requests."""
        return self._running()

    def _inherit(self, program: Program, current: str | None) -> Metadata:
        """Return the program's metadata with the soft purges of the VCL that it replaces."""
        now = int(time.time())
        if current is None:
            return replace(program.metadata, generation=now)
        try:
            known = Metadata.from_vcl(self._admin.command("vcl.show", current))
        except (Refused, ValueError):
            # The past purges are unknown: purge everything rather than miss one.
            return program.metadata.purged(None, now)
        return replace(known, domains=program.metadata.domains)

    def _load(self, program: Program, metadata: Metadata) -> None:
        name = program.prefix + _serial()
        self._limit_compiler()
        self._allow_eviction()
        self._admin.inline(name, program.render(metadata))
        try:
            self._admin.command("vcl.label", program.label, name)
        except Refused as exc:
            # Another worker changed the same service and discarded this VCL as outdated.
            raise RetryableError(f"Another worker changed the service: {exc}", 1) from exc

    def _limit_compiler(self) -> None:
        """Prepend ``ulimit`` to the node's ``cc_command``, which a shell runs."""
        if not self._compile_limit:
            return
        known = self._parameter("cc_command")
        wanted = f"ulimit -S -t {self._compile_limit}; {_ULIMIT.sub('', known)}"
        if wanted != known:
            self._set_parameter("cc_command", wanted, "the compiler has no time limit")

    def _allow_eviction(self) -> None:
        """Let a large object replace many small ones.

        By default, a node evicts 50 objects at most to make room. If that is not enough, it ends
        the response to the client in the middle.
        """
        known = self._parameter("nuke_limit")
        if int(known) < _NUKE_LIMIT:
            harm = f"large objects may be cut off, because nuke_limit is {known}"
            self._set_parameter("nuke_limit", str(_NUKE_LIMIT), harm)

    def _parameter(self, name: str) -> str:
        (parameter,) = self._admin.json("param.show", name)
        return str(parameter["value"])

    def _set_parameter(self, name: str, value: str, harm: str) -> None:
        """Set a parameter of the node, or log what is wrong without it."""
        try:
            self._admin.command("param.set", name, value)
        except Refused as exc:
            # The node was started with "-r" and this parameter, or the value can't be quoted.
            LOG.warning("%s: %s: %s", self._admin.address, harm, exc)

    def _settle(self, key: str) -> None:
        """Activate a matching router and discard outdated VCLs; the end of every change."""
        self._route()
        self._discard_routers()
        self._discard_programs(key)

    def _route(self) -> None:
        for _ in self._rounds("other workers keep changing the router"):
            listing = self.listing()
            if listing.routed:
                return
            try:
                name = f"poppy_router_{listing.coverage}_{_serial()}"
                self._admin.inline(name, router_vcl(self._routes(listing)))
                self._admin.command("vcl.use", name)
            except Refused as exc:
                # A label or VCL disappeared after the listing, or another worker discarded the
                # router between the two commands. Try again.
                self._last_refusal = exc

    def _routes(self, listing: Listing) -> dict[str, str]:
        """Return the label by domain."""
        # While a domain moves between services, both may list it. The one changed last gets it.
        services = sorted(listing.services.items(), key=lambda item: item[1][-16:])
        return {domain: label for label, name in services for domain in self._domains_of(name)}

    def _domains_of(self, name: str) -> tuple[str, ...]:
        if name not in self._domains:
            text = self._admin.command("vcl.show", name)
            try:
                self._domains[name] = Metadata.from_vcl(text).domains
            except ValueError as exc:
                raise RetryableError(f"{self._admin.address}: {name}: {exc}") from exc
        return self._domains[name]

    def _point_away(self, label: str) -> None:
        self._load_gone()
        self._admin.command("vcl.label", label, _GONE)

    def _load_gone(self) -> None:
        if _GONE in self.listing().names:
            return
        try:
            self._admin.inline(_GONE, _GONE_VCL)
        except Refused:
            # Another worker may have loaded it first.
            if _GONE not in self.listing().names:
                raise

    def _discard_routers(self) -> None:
        listing = self.listing()
        for name in listing.names:
            if _ROUTER.fullmatch(name) and name != listing.active:
                self._discard(name)

    def _discard_programs(self, key: str) -> None:
        listing = self.listing()
        for name in listing.names - set(listing.labels.values()):
            found = _PROGRAM.fullmatch(name)
            if found is not None and found[1] == key:
                self._discard(name)

    def _discard(self, name: str) -> bool:
        """Discard a VCL or label; return False if it is still in use."""
        try:
            self._admin.command("vcl.discard", name)
        except Refused as exc:
            self._last_refusal = exc
            return False
        return True

    def _running(self) -> bool:
        return self._admin.command("status").strip() == "Child in state running"

    def _wake(self) -> None:
        """Start the child process if it does not run; without it Varnish shows no VCL."""
        if self._running():
            return
        try:
            if self.listing().active is None:
                self._load_gone()
                self._admin.command("vcl.use", _GONE)
            self._admin.command("start")
        except Refused as exc:
            if not self._running():
                raise RetryableError(str(exc), scope=Scope.PROVIDER) from exc

    def _rounds(self, failure: str) -> Iterator[int]:
        for number in range(_ROUNDS):
            if number:
                time.sleep(_ROUND_PAUSE * (1 + secrets.randbelow(4)))
            yield number
        raise RetryableError(f"{self._admin.address}: {failure} ({self._last_refusal})", 5)


def _serial() -> str:
    """Return 16 hexadecimal digits that sort by time; workers' clocks may differ slightly."""
    return f"{time.time_ns() // 1000 & 0xFFFFFFFFFFFFF:013x}{secrets.randbelow(4096):03x}"
