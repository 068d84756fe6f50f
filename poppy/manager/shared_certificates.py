# SPDX-License-Identifier: Apache-2.0
"""Placement of labels under the operator's shared certificate.

A tenant requests a label. The operator's certificate covers a few names, the shards; each label
can be used once under each shard.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from poppy.common import errors
from poppy.dns.base import DNSDriver
from poppy.model.specs import ServiceSpec


def store_placed(
    spec: ServiceSpec,
    placed: Collection[str],
    dns: DNSDriver,
    store: Callable[[ServiceSpec], None],
) -> None:
    """Store a document with each new shared label under the first shard where it is free.

    Args:
        spec: the document.
        placed: shared names that the service already has; they stay unchanged.
        dns: the DNS driver, which knows the shards.
        store: stores the document atomically.

    Raises:
        InvalidRequest: there are no shards, or a label is taken under all of them.
        DomainTaken: a domain that is not shared is taken.
    """
    # Do not give a service the same name twice.
    used = {domain.domain for domain in spec.domains}
    shards = {
        domain.domain: (name for name in dns.shared_domains(domain.domain) if name not in used)
        for domain in spec.domains
        if domain.certificate == "shared" and domain.domain not in placed
    }
    chosen = {label: _next(label, names) for label, names in shards.items()}
    while True:
        domains = tuple(
            replace(domain, domain=chosen.get(domain.domain, domain.domain))
            for domain in spec.domains
        )
        try:
            return store(replace(spec, domains=domains))
        except errors.DomainTaken as exc:
            label = next((key for key, name in chosen.items() if name == exc.domain), None)
            if label is None:
                raise
            chosen[label] = _next(label, shards[label])


def _next(label: str, names: Iterator[str]) -> str:
    name = next(names, None)
    if name is None:
        raise errors.InvalidRequest(f"No shared domain is left for '{label}'; choose another name")
    return name
