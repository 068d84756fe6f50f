# SPDX-License-Identifier: Apache-2.0
"""Domain names and IP addresses as the API takes them."""

import functools
import ipaddress
import re

import idna
import publicsuffixlist

#: Characters of a name: 255 octets on the wire (RFC 1035, section 2.3.4) leave these.
MAX_NAME = 253
#: Characters of a label (RFC 1035, section 2.3.4).
MAX_LABEL = 63
#: Characters of a certificate's common name (RFC 5280, appendix A.1: ub-common-name).
MAX_COMMON_NAME = 64

#: Letters, digits and what UUIDs, Keystone domains and older identity services put between.
PROJECT_ID = re.compile(r"[A-Za-z0-9._:-]{1,255}")

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TLD = re.compile(r"[a-z]{2,63}")
_PREFIX = re.compile(r"[0-9]{1,3}")


def canonical(text: str) -> str:
    """The name in lower case: names don't differ by case (RFC 4343, section 3).

    Anything but ASCII stays as it is: there, lower case may be another name.
    """
    return text.lower() if text.isascii() else text


def address(text: str) -> str | None:
    """An IPv4 or IPv6 address in its canonical form (RFC 5952); None when it is none.

    Leading zeros are refused, since some read them as octal; so is an IPv6 zone, which means
    something on one host only (RFC 4007, section 6).
    """
    if "%" in text:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def network(text: str) -> str | None:
    """An address, or a CIDR block (RFC 4632) without bits beyond its prefix; None for neither.

    ``192.0.2.77/24`` gives ``192.0.2.0/24``: edges warn of, or refuse, the former.
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
    """What keeps ``text`` from being a domain name; None when it is one.

    A domain name here is two or more lower-case host labels (RFC 1123, section 2.1), the last
    of letters only (RFC 3696, section 2) or an A-label (RFC 5890, section 2.3.2.1).
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
    """Why a name can't be in DNS, whatever characters it has; None when it can be.

    For names that are made from others, such as a domain with a suffix.
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
    """What keeps ``label`` from being a lower-case host label; None when it is one."""
    if not label:
        return "it has an empty label"
    if not _LABEL.fullmatch(label):
        return (
            f"label {label!r} is not 1 to 63 letters, digits and hyphens that begin and end"
            " with a letter or digit"
        )
    if label.startswith("xn--") and not _is_a_label(label):
        return f"label {label!r} is no valid internationalized label (RFC 5891)"
    return None


def _is_a_label(label: str) -> bool:
    """Whether an ``xn--`` label says what it would say after decoding and encoding it."""
    try:
        return idna.alabel(idna.ulabel(label)).decode() == label
    except UnicodeError:
        return False


def _not_ascii(text: str) -> str:
    """The reason to refuse a name with U-labels, with the A-labels where there are any."""
    reason = "it must be ASCII"
    if len(text) > MAX_NAME:
        return reason
    try:
        encoded = idna.encode(text, uts46=True).decode()
    except UnicodeError:
        return reason
    return f"{reason}; write it as {encoded}"


def is_root(domain: str) -> bool:
    """Whether a valid domain name is a root domain: the apex of a zone, or a public suffix.

    The apex has an SOA record, beside which a CNAME may not stand (RFC 1034, section 3.6.2).
    Zones are cut below the suffixes in the ICANN section of the public suffix list. Its
    private section names mostly platforms (``github.io``) whose customers' names are mere
    records of the platform's zone, where a CNAME may stand; so that section does not count.
    A top-level domain that the list does not know has zones right below it.
    """
    return _suffixes().privatesuffix(domain) in (None, domain)


def is_public_suffix(domain: str) -> bool:
    """Whether zones of many owners lie right below a valid domain name."""
    return _suffixes().privatesuffix(domain) is None


def registrable(domain: str) -> str | None:
    """The part of a valid domain name that its owner has registered; None for a public suffix.

    Here the private section of the list counts as well: the platforms in it give the names right
    below theirs to customers who don't know each other.
    """
    found: str | None = _all_suffixes().privatesuffix(domain)
    return found


@functools.cache
def _all_suffixes() -> publicsuffixlist.PublicSuffixList:
    return publicsuffixlist.PublicSuffixList()


@functools.cache
def _suffixes() -> publicsuffixlist.PublicSuffixList:
    """The list that comes with the package, read once, when first needed (30 ms)."""
    return publicsuffixlist.PublicSuffixList(only_icann=True)
