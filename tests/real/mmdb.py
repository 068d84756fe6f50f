# SPDX-License-Identifier: Apache-2.0
"""A small MaxMind database with the country and continent of IPv4 networks.

See https://maxmind.github.io/MaxMind-DB/ for the format (2.0): a binary tree over the bits of an
address, sixteen zero bytes, the data that its leaves point to, and metadata.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

_MARKER = b"\xab\xcd\xefMaxMind.com"
_STRING, _UINT16, _UINT32, _MAP, _UINT64, _ARRAY = 2, 5, 6, 7, 9, 11
_RECORD_BITS = 24


def database(networks: Mapping[str, tuple[str, str]]) -> bytes:
    """Return a database.

    Args:
        networks: codes of continent and country by network; networks must not overlap.
    """
    empty = -1
    nodes: list[list[int]] = [[empty, empty]]
    data = b""
    leaves: dict[tuple[int, int], int] = {}
    for text, (continent, country) in networks.items():
        network = ipaddress.IPv4Network(text)
        bits = f"{int(network.network_address):032b}"[: network.prefixlen]
        node = 0
        for bit in map(int, bits[:-1]):
            if nodes[node][bit] == empty:
                nodes.append([empty, empty])
                nodes[node][bit] = len(nodes) - 1
            node = nodes[node][bit]
        leaves[node, int(bits[-1])] = len(data)
        entry = {"continent": {"code": continent}, "country": {"iso_code": country}}
        data += _encode(entry)
    count = len(nodes)
    tree = b""
    for number, children in enumerate(nodes):
        for bit, child in enumerate(children):
            # The number of nodes means "nothing"; larger values point into the data.
            value = leaves.get((number, bit))
            record = count + 16 + value if value is not None else child
            tree += (count if record == empty else record).to_bytes(_RECORD_BITS // 8, "big")
    metadata = {
        "binary_format_major_version": (_UINT16, 2),
        "binary_format_minor_version": (_UINT16, 0),
        "build_epoch": (_UINT64, 1_700_000_000),
        "database_type": "GeoIP2-Country",
        "description": {"en": "For tests"},
        "ip_version": (_UINT16, 4),
        "languages": ["en"],
        "node_count": (_UINT32, count),
        "record_size": (_UINT16, _RECORD_BITS),
    }
    return tree + bytes(16) + data + _MARKER + _encode(metadata)


def _encode(value: Any) -> bytes:
    if isinstance(value, dict):
        parts = [_encode(key) + _encode(entry) for key, entry in value.items()]
        return _control(_MAP, len(value)) + b"".join(parts)
    if isinstance(value, list):
        return _control(_ARRAY, len(value)) + b"".join(map(_encode, value))
    if isinstance(value, str):
        return _control(_STRING, len(value)) + value.encode()
    kind, number = value
    length = (number.bit_length() + 7) // 8
    return _control(kind, length) + number.to_bytes(length, "big")


def _control(kind: int, size: int) -> bytes:
    """Encode type and size; types above 7 and sizes from 29 on need a further byte."""
    assert size < 29 + 256
    small, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return (bytes([kind << 5 | small]) if kind <= 7 else bytes([small, kind - 7])) + more
