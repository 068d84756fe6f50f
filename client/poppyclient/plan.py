# SPDX-License-Identifier: Apache-2.0
"""Plans: what a change would do, by a dry run of the server."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from poppyclient import api, connection, documents

_DONE = {"create": "deploy"}
#: The statuses of a request that breaks the server's rules; others are failures of the dry run.
_BROKEN_RULES = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_MANY_REQUESTS,
)


@dataclass
class Plan:
    """A planned change.

    Attributes:
        title: a summary in one line.
        diff: the lines of the document diff.
        providers: the action at each provider.
        names: the effect on each domain's operator name.
        certificates: the action for each domain's certificate.
        records: the DNS records that the tenant must create.
        problems: the reasons for which the server would refuse the change.
    """

    title: str
    diff: Sequence[str] = ()
    providers: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()

    def lines(self) -> Iterator[str]:
        """Yield the lines to print."""
        yield self.title
        if self.diff:
            yield ""
            yield from self.diff
        for heading, entries in (
            ("Providers", self.providers),
            ("DNS", self.names),
            ("Certificates", self.certificates),
            ("Records to create", self.records),
        ):
            if entries:
                yield ""
                yield f"{heading}:"
                width = max(len(name) for name in entries)
                yield from (f"  {name:{width}}  {what}" for name, what in entries.items())
        if self.problems:
            yield ""
            yield "Problems:"
            yield from (f"  {text}" for text in self.problems)


def create(client: api.Client, document: documents.Document) -> Plan:
    """Plan the creation of a service."""
    desired = documents.written_out(document)
    title = f"A service would be created: {_title(desired)}"
    return _planned(title, {}, desired, lambda: client.plan_service(document))


def update(client: api.Client, service_id: str, document: documents.Document) -> Plan:
    """Plan the change of a service to this document."""
    shown, tag = client.service(service_id)
    current = documents.writable(shown)
    desired = documents.written_out(document, current)
    patch = documents.patch(current, desired)
    if not patch:
        return Plan(f"Nothing would change: service {service_id} matches the document.")
    title = f"Service {service_id} would be changed: {_title(desired)}"
    return _planned(title, current, desired, lambda: client.plan_change(service_id, patch, tag))


def _planned(
    title: str,
    current: documents.Document,
    desired: documents.Document,
    dry_run: Callable[[], documents.Document],
) -> Plan:
    try:
        found = dry_run()
    except connection.Refused as refused:
        if refused.status not in _BROKEN_RULES:
            raise
        return Plan(title, documents.diff(current, desired), problems=str(refused).splitlines())
    moved = any(it["action"] != "update" for it in found["providers"])
    return Plan(
        title,
        documents.diff(current, documents.written_out(found["service"])),
        providers={it["provider"]: _done(it) for it in found["providers"]},
        names={it["domain"]: _effect(it, moved) for it in found["dns"]},
        certificates={
            it["domain"]: f"{_done(it)} ({it['certificate']})" for it in found["certificates"]
        },
        records={
            it["name"]: f"{it['type']} {it['value']}"
            for it in found["dns_records"]
            if it["status"] != "ok"
        },
    )


def _title(document: Mapping[str, Any]) -> str:
    return f"'{document.get('name')}', flavor {document.get('flavor_id')}"


def _done(planned: Mapping[str, str]) -> str:
    return _DONE.get(planned["action"], planned["action"])


def _effect(planned: Mapping[str, str], moved: bool) -> str:
    """Describe what happens to an operator name."""
    name = planned["name"]
    if planned["action"] == "create":
        return f"gets an operator name, the target of its CNAME: {name}"
    if planned["action"] == "remove":
        return f"loses {name}: remove CNAMEs that point there"
    return f"{name} would point to another provider" if moved else f"keeps {name}"
