# SPDX-License-Identifier: Apache-2.0
"""Domain names and IP addresses in API requests."""

import functools
import ipaddress
import re
import threading

import idna
import publicsuffixlist

#: Maximum characters of a name: 255 octets on the wire (RFC 1035, section 2.3.4).
MAX_NAME = 253
#: Maximum characters of a label (RFC 1035, section 2.3.4).
MAX_LABEL = 63
#: Maximum characters of a certificate's common name (RFC 5280, appendix A.1: ub-common-name).
MAX_COMMON_NAME = 64

#: Letters, digits and the separators of UUIDs, Keystone domains and older identity services.
PROJECT_ID = re.compile(r"[A-Za-z0-9._:-]{1,255}")

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TLD = re.compile(r"[a-z]{2,63}")
_PREFIX = re.compile(r"[0-9]{1,3}")


def canonical(text: str) -> str:
    """Return the name in lower case, because names ignore case (RFC 4343, section 3).

    Other text than ASCII is unchanged, because lower case may change the name.
    """
    return text.lower() if text.isascii() else text


def address(text: str) -> str | None:
    """Return an IPv4 or IPv6 address in canonical form (RFC 5952); None if it is invalid.

    Leading zeros are refused, because some software reads them as octal. IPv6 zones are refused,
    because they are local to one host (RFC 4007, section 6).
    """
    if "%" in text:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def network(text: str) -> str | None:
    """Return a canonical address or CIDR block (RFC 4632) without host bits; None if invalid.

    ``192.0.2.77/24`` gives ``192.0.2.0/24``, because edges warn about or refuse the former.
    """
    base, slash, prefix = text.partition("/")
    if not slash:
        return address(text)
    if "%" in base or not _PREFIX.fullmatch(prefix):
        return None
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return None


def problem(text: str) -> str | None:
    """Return why ``text`` is not a domain name; None if it is one.

    A domain name has two or more lower-case host labels (RFC 1123, section 2.1). The last one has
    letters only (RFC 3696, section 2) or is an A-label (RFC 5890, section 2.3.2.1).
    """
    if not text.isascii():
        return _not_ascii(text)
    if text != text.lower():
        return "it must be in lower case"
    if len(text) > MAX_NAME:
        return f"it is longer than {MAX_NAME} characters"
    if text.endswith("."):
        return "it ends with an empty label; write it without the dot"
    labels = text.split(".")
    if len(labels) == 1:
        return "it has no top-level domain"
    for label in labels:
        reason = label_problem(label)
        if reason:
            return reason
    if not _TLD.fullmatch(labels[-1]) and not labels[-1].startswith("xn--"):
        return f"its top-level domain {labels[-1]!r} is not 2 to 63 letters"
    return None


def impossible(name: str) -> str | None:
    """Return why a name is too long for DNS or has an empty label; None if it is possible.

    For derived names, such as a domain with a suffix. Characters are not checked.
    """
    if len(name) > MAX_NAME:
        return f"it has {len(name)} characters; a name has at most {MAX_NAME} (RFC 1035)"
    for label in name.split("."):
        if not label:
            return "it has an empty label"
        if len(label) > MAX_LABEL:
            return f"its label {label!r} has more than {MAX_LABEL} characters (RFC 1035)"
    return None


def label_problem(label: str) -> str | None:
    """Return why ``label`` is not a lower-case host label; None if it is one."""
    if not label:
        return "it has an empty label"
    if not _LABEL.fullmatch(label):
        return (
            f"label {label!r} is not 1 to 63 letters, digits and hyphens that begin and end"
            " with a letter or digit"
        )
    if label.startswith("xn--") and not _is_a_label(label):
        return f"label {label!r} is not a valid internationalized label (RFC 5891)"
    return None


def _is_a_label(label: str) -> bool:
    """Return whether an ``xn--`` label is unchanged by decoding and encoding."""
    try:
        return idna.alabel(idna.ulabel(label)).decode() == label
    except UnicodeError:
        return False


def _not_ascii(text: str) -> str:
    """Return the reason to refuse a non-ASCII name, with its A-labels if it has any."""
    reason = "it must be ASCII"
    if len(text) > MAX_NAME:
        return reason
    try:
        encoded = idna.encode(text, uts46=True).decode()
    except UnicodeError:
        return reason
    return f"{reason}; write it as {encoded}"


def is_root(domain: str) -> bool:
    """Return whether a valid domain name is a root domain: a zone apex or a public suffix.

    The apex has an SOA record, which excludes a CNAME (RFC 1034, section 3.6.2). Zone cuts are
    below the suffixes in the ICANN section of the public suffix list. The private section does
    not count: it mostly lists platforms (``github.io``) where customers' names are records in the
    platform's zone, which can be CNAMEs. An unknown top-level domain is taken as a suffix.
    """
    return _suffixes(only_icann=True).privatesuffix(domain) in (None, domain)


def is_public_suffix(domain: str) -> bool:
    """Return whether a valid domain name is a public suffix, with zones of many owners below."""
    return _suffixes(only_icann=True).privatesuffix(domain) is None


def registrable(domain: str) -> str | None:
    """Return the registrable part of a valid domain name; None for a public suffix.

    The private section of the list counts here, because its platforms give the names below theirs
    to unrelated customers.
    """
    found: str | None = _suffixes(only_icann=False).privatesuffix(domain)
    return found


_LOADING = threading.Lock()


def _suffixes(*, only_icann: bool) -> publicsuffixlist.PublicSuffixList:
    """Return the package's list, loaded on first use (30 to 90 ms), by one thread only."""
    with _LOADING:
        return _load_suffixes(only_icann)


@functools.cache
def _load_suffixes(only_icann: bool) -> publicsuffixlist.PublicSuffixList:
    return publicsuffixlist.PublicSuffixList(only_icann=only_icann)
