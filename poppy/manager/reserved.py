# SPDX-License-Identifier: Apache-2.0
"""Reserved names: the operator's own names, and others that the configuration reserves.

Drivers declare the operator's own names (``reserved_names``): DNS suffixes and names of edges. As
a domain, such a name could collide with another tenant's operator name. As an origin, it would
point an edge to itself.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import idna

from poppy.common import errors
from poppy.dns.base import DNSDriver
from poppy.model.specs import ServiceSpec
from poppy.provider.base import Provider

_ENTRY = re.compile(r"[a-z0-9*](?:[a-z0-9*._-]*[a-z0-9*])?")


class ReservedNames:
    """Refuse documents that use reserved names.

    Names are compared as in DNS and by their A-labels: case and a trailing dot don't matter.

    Args:
        configured: the option ``reserved_domains``.
        providers: the providers by name.
        dns: the DNS driver.

    Raises:
        ConfigError: an entry of the option is not a valid name.
    """

    def __init__(
        self, configured: Sequence[str], providers: Mapping[str, Provider], dns: DNSDriver
    ) -> None:
        self._patterns = [_compiled(entry) for entry in configured]
        self._drivers: Sequence[DNSDriver | Provider] = (dns, *providers.values())

    def check(
        self, spec: ServiceSpec, domains: Collection[str] = (), origins: Collection[str] = ()
    ) -> None:
        """Refuse a document that adds a reserved name.

        A single label is the tenant's part of a name under a shared certificate; only the option
        can reserve it.

        Args:
            spec: the document.
            domains: domains that the service already has; they are not checked, because the
                options may have changed since.
            origins: origins that the service already has; likewise.

        Raises:
            InvalidRequest: a name is reserved; the message names the domain or origin.
        """
        for domain in spec.domains:
            if domain.domain not in domains:
                self.check_domain(domain.domain)
        own = self._own()
        for origin in spec.origins:
            if origin.origin not in origins and _is_within(canonical(origin.origin), own):
                raise errors.InvalidRequest(
                    f"Origin {origin.origin} is one of the operator's own names: requests would "
                    "return to the edge"
                )

    def check_domain(self, domain: str) -> None:
        """Refuse a domain that is reserved.

        Raises:
            InvalidRequest: the domain is reserved; the message names it.
        """
        name = canonical(domain)
        if _is_within(name, self._own()):
            raise errors.InvalidRequest(
                f"Domain {domain} is one of the operator's own names; tenants can't use them"
            )
        if any(pattern.fullmatch(name) for pattern in self._patterns):
            raise errors.InvalidRequest(f"Domain {domain} is reserved by the operator")

    def _own(self) -> Sequence[str]:
        """Return the names that drivers declare; they can change with the options."""
        return [canonical(name) for driver in self._drivers for name in driver.reserved_names]


def canonical(name: str) -> str:
    """Normalize a name for comparison: lower case, A-labels, no trailing dot."""
    text = name.strip().rstrip(".")
    if not text.isascii():
        try:
            return idna.encode(text, uts46=True).decode()
        except UnicodeError:
            return text
    return text.lower()


def _is_within(name: str, suffixes: Iterable[str]) -> bool:
    return any(name == suffix or name.endswith(f".{suffix}") for suffix in suffixes if suffix)


def _compiled(entry: str) -> re.Pattern[str]:
    """Compile an entry of the option to a pattern.

    Raises:
        ConfigError: the entry is invalid.
    """
    below = entry.strip().startswith(".")
    # IDNA does not allow an asterisk: keep labels with one unchanged.
    labels = entry.strip().strip(".").split(".")
    text = ".".join(label if "*" in label else canonical(label) for label in labels).lower()
    if not text.isascii() or not _ENTRY.fullmatch(text) or ".." in text:
        raise errors.ConfigError(
            f"[DEFAULT] reserved_domains: {entry!r} must have the form example.net, .example.net "
            "or *.example.net"
        )
    pattern = ".*".join(re.escape(part) for part in text.split("*"))
    return re.compile(rf"(?:.*\.)?{pattern}" if below else pattern)
