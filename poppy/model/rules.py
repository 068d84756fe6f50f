# SPDX-License-Identifier: Apache-2.0
"""Rules for service documents that a schema can't express. Each raises at the first violation."""

from collections.abc import Collection, Hashable, Iterable
from typing import TypeVar

from poppy.common import errors
from poppy.model import names, paths
from poppy.model.document import caching, fields, origins
from poppy.model.schema_parts import MAX_REQUEST_URL
from poppy.model.specs import (
    Domain,
    Origin,
    Restriction,
    Rule,
    ServiceSpec,
)

_T = TypeVar("_T", bound=Hashable)


def check(spec: ServiceSpec, shared: Collection[str]) -> None:
    """Check a service that matches the schema and has all defaults filled in.

    Args:
        spec: a document with paths, addresses and names in canonical form.
        shared: full names of the service's existing shared domains.

    Raises:
        InvalidRequest: a rule is violated; the message names the value.
    """
    for domain in spec.domains:
        _check_domain(domain, shared)
    for index, origin in enumerate(spec.origins):
        _check_origin(origin, is_first=index == 0)
    origins.check(spec.origins)
    _check_names(spec)
    _check_paths("an origin", (rule for entry in spec.origins for rule in entry.rules))
    caching.check(spec.caching)
    _check_paths("caching", (rule for entry in spec.caching for rule in entry.rules))
    _check_restrictions(spec.restrictions)
    fields.check(
        spec,
        http=[it.domain for it in spec.domains if it.protocol == "http"],
        https=[it.domain for it in spec.domains if it.protocol == "https"],
    )


def _check_domain(domain: Domain, shared: Collection[str]) -> None:
    if domain.certificate == "shared":
        _check_shared(domain.domain, shared)
    else:
        check_full_domain(domain.domain)
    if domain.protocol == "http" and domain.certificate is not None:
        raise errors.InvalidRequest(
            f"Domain {domain.domain} can't have a certificate ({domain.certificate})"
            " with protocol http"
        )
    if domain.protocol == "https" and domain.certificate is None:
        raise errors.InvalidRequest(
            f"Domain {domain.domain} needs a certificate with protocol https:"
            " shared, san, sni or custom"
        )


def _check_shared(label: str, shared: Collection[str]) -> None:
    """Check a shared domain: a new one is a single label, which gets its shard later."""
    if label in shared:
        return
    if not label.isascii():
        reason = names.problem(label)
    elif "." in label:
        reason = "it is more than one label"
    else:
        reason = names.label_problem(label)
    if reason:
        raise errors.InvalidRequest(
            f"Domain {label!r} with a shared certificate is not a single label: {reason}"
        )


def check_full_domain(domain: str) -> None:
    """Refuse a domain that can't have a CNAME.

    Raises:
        InvalidRequest: it is not a lower-case domain name, or it is a root domain.
    """
    reason = names.problem(domain)
    if reason:
        raise errors.InvalidRequest(f"Domain {domain!r} is not a valid domain name: {reason}")
    if names.is_root(domain):
        example = f"example.{domain}" if names.is_public_suffix(domain) else domain
        raise errors.InvalidRequest(
            f"{domain} is a root domain. Most DNS providers do not allow setting a CNAME on a"
            f" root domain. Please add a subdomain (e.g. www.{example})"
        )


def _check_origin(origin: Origin, *, is_first: bool) -> None:
    if names.address(origin.origin) is None:
        reason = names.problem(origin.origin)
        if reason:
            raise errors.InvalidRequest(
                f"Origin {origin.origin!r} is neither an IP address nor a valid domain name:"
                f" {reason}"
            )
    _check_host_header(origin)
    _check_port(origin)
    if origin.verify_name is not None and not origin.ssl:
        raise errors.InvalidRequest(f"Origin {origin.origin} has verify_name without ssl")
    if origin.backup_of is not None:
        _check_backup(origin, is_first=is_first)
    elif not is_first and not origin.rules:
        raise errors.InvalidRequest(
            f"Origin {origin.origin} needs at least one rule: only the first origin has a default"
        )


def _check_backup(origin: Origin, *, is_first: bool) -> None:
    if is_first:
        raise errors.InvalidRequest(
            f"Origin {origin.origin} can't be a backup ({origin.backup_of!r}): the first origin"
            " serves all paths that no other one does"
        )
    if origin.rules:
        raise errors.InvalidRequest(
            f"Origin {origin.origin} is a backup, so it can't have rules: it serves the paths of"
            f" origin {origin.backup_of!r}"
        )


def _check_port(origin: Origin) -> None:
    """Check that port and TLS match; otherwise every request to the origin fails."""
    if origin.ssl and origin.port == 80:
        raise errors.InvalidRequest(
            f"Origin {origin.origin} has ssl with port 80; TLS uses port 443"
        )
    if not origin.ssl and origin.port == 443:
        raise errors.InvalidRequest(f"Origin {origin.origin} has port 443 without ssl")


def _check_host_header(origin: Origin) -> None:
    value = origin.hostheadervalue
    if origin.auth is not None and origin.hostheadertype == "domain":
        raise errors.InvalidRequest(
            f"Origin {origin.origin} with auth needs the hostheadertype origin or custom: S3 finds"
            " the bucket by the Host header"
        )
    if origin.hostheadertype != "custom":
        if value is not None:
            raise errors.InvalidRequest(
                f"Origin {origin.origin} can't have a hostheadervalue ({value!r}) with"
                f" hostheadertype {origin.hostheadertype}"
            )
        return
    if value is None:
        raise errors.InvalidRequest(
            f"Origin {origin.origin} needs a hostheadervalue with hostheadertype custom"
        )
    reason = names.problem(value)
    if reason:
        raise errors.InvalidRequest(
            f"The hostheadervalue {value!r} of origin {origin.origin} is not a valid domain"
            f" name: {reason}"
        )


def _check_names(spec: ServiceSpec) -> None:
    """Check that names are unique. A domain that is also an origin would loop at the edge."""
    domain = _repeated(entry.domain for entry in spec.domains)
    if domain is not None:
        raise errors.InvalidRequest(f"Domain {domain} is listed more than once")
    origin = _repeated(
        f"{'https' if entry.ssl else 'http'}://{entry.origin}" for entry in spec.origins
    )
    if origin is not None:
        raise errors.InvalidRequest(f"Origin {origin} is listed more than once")
    for entry in spec.origins:
        if entry.origin in spec.domain_names:
            raise errors.InvalidRequest(f"Domain {entry.origin} is also an origin")


def _check_paths(what: str, rules: Iterable[Rule]) -> None:
    """Refuse two rules for equivalent paths, because one of them could never match."""
    seen: dict[str, str] = {}
    for rule in rules:
        path = rule.request_url or "/*"
        meaning = _checked_path(rule)
        known = seen.get(meaning)
        if known is not None:
            also = "" if known == path else f" (it is equivalent to {known})"
            raise errors.InvalidRequest(
                f"Path {path} is in more than one rule of {what}{also}; an entry without rules"
                " matches /*"
            )
        seen[meaning] = path


def _checked_path(rule: Rule) -> str:
    """Return a rule's path in canonical form, for comparison."""
    path = rule.request_url or "/*"
    # The added leading slash may have made it too long.
    if len(path) > MAX_REQUEST_URL:
        raise errors.InvalidRequest(
            f"The request_url {path[:40]}... is longer than {MAX_REQUEST_URL} characters with"
            " its leading /"
        )
    reason = paths.problem(path)
    if reason:
        raise errors.InvalidRequest(
            f"No request can match the request_url {_shortened(path)} of rule"
            f" {_shortened(rule.name)}: {reason}"
        )
    return paths.canonical(path)


def _check_restrictions(restrictions: Iterable[Restriction]) -> None:
    access: dict[tuple[str, str | None], str] = {}
    for restriction in restrictions:
        for rule in restriction.rules:
            _check_restriction_rule(rule)
            known = access.setdefault((_checked_path(rule), rule.kind), restriction.access)
            if known != restriction.access:
                raise errors.InvalidRequest(
                    f"Path {rule.request_url} has both a whitelist and a blacklist by"
                    f" {rule.kind} (rule {rule.name!r} of restriction {restriction.name!r})"
                )


def _check_restriction_rule(rule: Rule) -> None:
    if rule.referrer is not None:
        reason = names.problem(rule.referrer)
        if reason:
            raise errors.InvalidRequest(
                f"Referrer {_shortened(rule.referrer)} is not a valid domain name: {reason}"
            )
    if rule.client_ip is not None and names.network(rule.client_ip) is None:
        raise errors.InvalidRequest(
            f"The client_ip {_shortened(rule.client_ip)} is neither an IPv4 or IPv6 address nor"
            " a CIDR block"
        )


def _shortened(text: str) -> str:
    return repr(text if len(text) <= names.MAX_NAME else f"{text[: names.MAX_NAME]}...")


def _repeated(items: Iterable[_T]) -> _T | None:
    """Return the first item that is repeated."""
    seen: set[_T] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None
