# SPDX-License-Identifier: Apache-2.0
"""Decide which addresses a tenant may have Poppy, or an edge of the operator's own, talk to.

Both stand inside the operator's network. A tenant must not reach through them what the Internet
can't: other machines, the edge itself, the metadata service of a cloud. Check each address at the
place where it is used, after the name was resolved.
"""

import ipaddress
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Not for the Internet, though Python's table, or an old one, may have them as global.
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "100.64.0.0/10",  # Shared address space (RFC 6598); Alibaba's metadata service.
        "168.63.129.16/32",  # Azure's metadata and DNS service.
        "192.0.0.0/24",  # IETF protocol assignments (RFC 6890); Oracle's metadata service.
        "192.88.99.0/24",  # Relays of 6to4, given up (RFC 7526).
        "3fff::/20",  # Documentation (RFC 9637).
    )
)
#: The IPv6 addresses that are given out at all (IANA, "Internet Protocol Version 6 Address
#: Space"). Outside are loopback, link-local, site-local, unique local, multicast, the deprecated
#: IPv4-compatible ones, IPv4-translated ones and the local NAT64 prefix 64:ff9b:1::/48.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052.


class Refused(ValueError):
    """An address that a tenant may not choose; the message names it and says why."""


def check(
    address: Address, allowed: Sequence[Network] = (), refused: Sequence[Network] = ()
) -> None:
    """Refuse an address unless it is globally reachable, or in a network that is allowed.

    An IPv6 address that leads to an IPv4 one (mapped, NAT64, 6to4, Teredo) is judged by that.

    Args:
        address: without a scope.
        allowed: networks of the operator's that are fine, though they are not global.
        refused: networks that are refused, though they are global or allowed.

    Raises:
        Refused: names the address.
    """
    meant = [address, *embedded(address)]
    if any(_within(one, refused) for one in meant):
        raise Refused(f"{address} is in a network that the operator refuses")
    if _within(address, allowed):
        return
    for one in meant[1:] or meant:
        if not (is_global(one) or _within(one, allowed)):
            via = "" if one == address else f" (it leads to {one})"
            raise Refused(f"{address} is not a public address{via}")


def embedded(address: Address) -> list[Address]:
    """The IPv4 addresses to which packets to an IPv6 address may be sent."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.sixtofour is not None:
        return [address.sixtofour]
    return list(address.teredo or ())


def is_global(address: Address) -> bool:
    """Whether an address that leads to no other is unicast and reachable from all the Internet."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not _within(address, _SPECIAL)


def parse(text: str) -> Address | None:
    """The address that a text is, without scope; None if it is anything else."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def networks(texts: Iterable[str]) -> list[Network]:
    """Networks out of addresses and CIDR blocks.

    Raises:
        ValueError: one is neither; names it.
    """
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def _within(address: Address, found: Iterable[Network]) -> bool:
    return any(address in network for network in found)
