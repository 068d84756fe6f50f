# SPDX-License-Identifier: Apache-2.0
"""Plans: what a change would do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from poppyclient import api, connection, documents, schema

_SETTLED = ("deployed", "failed")
_UNFINISHED = ("queued", "running", "waiting")


@dataclass
class Plan:
    """A planned change.

    Attributes:
        title: a summary in one line.
        diff: the lines of the document diff.
        providers: the action at each provider.
        names: the effect on each domain's operator name.
        problems: known reasons for which the server would refuse the change.
        notes: what the client can't determine.
    """

    title: str
    diff: Sequence[str] = ()
    providers: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the lines to print."""
        yield self.title
        if self.diff:
            yield ""
            yield from self.diff
        for heading, entries in (("Providers", self.providers), ("DNS", self.names)):
            if entries:
                yield ""
                yield f"{heading}:"
                width = max(len(name) for name in entries)
                yield from (f"  {name:{width}}  {what}" for name, what in entries.items())
        for heading, texts in (("Problems", self.problems), ("Note", self.notes)):
            if texts:
                yield ""
                yield f"{heading}:"
                yield from (f"  {text}" for text in texts)


def create(client: api.Client, document: documents.Document) -> Plan:
    """Plan the creation of a service."""
    desired = documents.written_out(document)
    plan = Plan(f"A service would be created: {_title(desired)}")
    plan.diff = documents.diff({}, desired)
    _check_document(client, document, plan)
    plan.providers = dict.fromkeys(_providers(client, desired, plan), "deploy")
    domains = _domains(desired)
    plan.names = dict.fromkeys(domains, "gets an operator name, the target of its CNAME")
    _check_domains(client, domains, None, plan)
    if "caching" not in desired:
        plan.notes.append("The operator's default TTL applies.")
    return plan


def update(client: api.Client, service_id: str, document: documents.Document) -> Plan:
    """Plan the change of a service to this document."""
    shown, _ = client.service(service_id)
    current = documents.writable(shown)
    desired = documents.written_out(document, current)
    if not documents.patch(current, desired):
        return Plan(f"Nothing would change: service {service_id} matches the document.")
    plan = Plan(f"Service {service_id} would be changed: {_title(desired)}")
    plan.diff = documents.diff(current, desired)
    _check_document(client, document, plan)
    _check_settled(client, shown, plan)
    after = _providers(client, desired, plan)
    before = after
    if desired.get("flavor_id") != current["flavor_id"]:
        before = _providers(client, current, plan)
    plan.providers = {
        **{name: "update" if name in before else "deploy" for name in after},
        **{name: "remove" for name in before if name not in after},
    }
    plan.names = _names(shown, _domains(current), _domains(desired), before != after)
    new = [domain for domain in _domains(desired) if domain not in _domains(current)]
    _check_domains(client, new, service_id, plan)
    return plan


def _names(
    shown: Mapping[str, Any], before: Sequence[str], after: Sequence[str], moved: bool
) -> dict[str, str]:
    """Describe the added and removed domains, and those with a new target."""
    names = {}
    for domain in dict.fromkeys((*before, *after)):
        urls = [
            link["href"]
            for link in shown["links"]
            if link["rel"] == "access_url" and link["href"].startswith(f"{domain}.")
        ]
        urls = urls or ["its operator name"]
        if domain not in before:
            names[domain] = "gets an operator name, the target of its CNAME"
        elif domain not in after:
            names[domain] = f"loses {' and '.join(urls)}: remove CNAMEs that point there"
        elif moved:
            names[domain] = f"{' and '.join(urls)} would point to another provider"
    return names


def _title(document: Mapping[str, Any]) -> str:
    return f"'{document.get('name')}', flavor {document.get('flavor_id')}"


def _domains(document: Mapping[str, Any]) -> list[str]:
    entries = document.get("domains")
    entries = entries if isinstance(entries, list) else []
    names = [entry.get("domain") for entry in entries if isinstance(entry, Mapping)]
    return [name for name in names if isinstance(name, str)]


def _check_document(client: api.Client, document: documents.Document, plan: Plan) -> None:
    description = client.description()
    found = None if description is None else schema.breaches(description, document)
    if found is None:
        plan.notes.append("The server publishes no schema; it will check the document itself.")
    plan.problems.extend(found or ())


def _check_settled(client: api.Client, shown: Mapping[str, Any], plan: Plan) -> None:
    if shown["status"] not in _SETTLED:
        plan.problems.append(
            f"The service is {shown['status']}; it can only be changed when it is deployed or "
            "failed."
        )
        return
    for operation in client.operations(shown["id"], 20):
        if operation["state"] in _UNFINISHED:
            reason = operation["reason"] or "no reason given"
            plan.problems.append(f"A {operation['action']} is {operation['state']}: {reason}")


def _providers(client: api.Client, document: Mapping[str, Any], plan: Plan) -> list[str]:
    flavor_id = document.get("flavor_id")
    if not isinstance(flavor_id, str) or not flavor_id:
        return []
    try:
        flavor = client.flavor(flavor_id)
    except connection.Refused as refused:
        if refused.status != HTTPStatus.NOT_FOUND:
            raise
        plan.problems.append(f"There is no flavor '{flavor_id}'")
        return []
    return [entry["provider"] for entry in flavor["providers"]]


def _check_domains(
    client: api.Client, domains: Sequence[str], service_id: str | None, plan: Plan
) -> None:
    """Check against the project's own services; only the server sees other projects' domains."""
    for domain in domains:
        try:
            owners = [entry["id"] for entry in client.services(domain=domain)]
        except connection.Refused as refused:
            plan.problems.append(str(refused))
            continue
        plan.problems.extend(
            f"Service {owner} has the domain {domain}" for owner in owners if owner != service_id
        )
