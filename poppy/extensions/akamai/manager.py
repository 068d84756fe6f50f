# SPDX-License-Identifier: Apache-2.0
"""The operators' lists and jobs for Akamai's driver.

The lists are documents in storage. A job starts an ordinary operation for each entry: the driver
ensures the domain's certificate again and reads its progress from Akamai.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from poppy.common import errors
from poppy.extensions.akamai import schemas
from poppy.manager.actions import ActionsManager
from poppy.manager.admin_search import host
from poppy.manager.certificates import CertificatesManager
from poppy.manager.services import ServicesManager
from poppy.model import ids, validation
from poppy.model.operations import Priority
from poppy.model.provider_details import AccessURL
from poppy.model.schema_parts import Schema
from poppy.model.services import Service
from poppy.storage.base import Storage

SAN_MAPPING = "akamai/san_mapping"
RETRY_LIST = "akamai/retry_list"
HOSTNAME_LIMIT = "san_cert_hostname_limit"
DEFAULT_HOSTNAME_LIMIT = 80

_EDGE_SUFFIX = ".edgekey.net"
_MOD = "akamai_update_papi_property_for_mod_"

Entry = dict[str, Any]
Outcome = tuple[list[Entry], list[Entry]]


class AkamaiManager:
    """Manage lists of domains, settings of certificates, and jobs."""

    def __init__(
        self,
        storage: Storage,
        services: ServicesManager,
        actions: ActionsManager,
        certificates: CertificatesManager,
    ) -> None:
        self._storage = storage
        self._services = services
        self._actions = actions
        self._certificates = certificates

    def migrate(self, document: object, request_id: str | None) -> None:
        """Point a domain's operator name to the edge host of another certificate.

        Raises:
            InvalidRequest: the document is invalid.
            ServiceBusy: the service is being deleted, or an operation of it is unfinished.
            NotFound: the project has no such service, or the service no such domain.
        """
        body = validation.validate(schemas.MIGRATION, document)
        if not ids.is_uuid(body["service_id"]):
            raise errors.InvalidRequest("The service_id must be a UUID")
        name = body["new_cert"].lower()
        edge = name if name.endswith(_EDGE_SUFFIX) else f"{name}{_EDGE_SUFFIX}"
        wanted = AccessURL(
            host(body["domain_name"], "domain_name"), host(edge, "new_cert"), moved=True
        )
        status = body.get("cert_status", "deployed")
        service_id = body["service_id"].lower()
        self._actions.move_to(body["project_id"], service_id, wanted, status, request_id)

    def run(self, document: object, request_id: str | None) -> Outcome:
        """Run a job on the entries of the SAN mapping list.

        Returns:
            The entries with a new operation, and the ignored ones with an ``error_message``.

        Raises:
            InvalidRequest: the document is invalid.
        """
        job = validation.validate(schemas.JOB, document)["job_type"]
        body = validation.validate(schemas.JOBS[job], document)
        queue = self.queue(SAN_MAPPING)
        if job.startswith(_MOD):
            concerned = [it for it in queue if it["cert_type"] == job.removeprefix(_MOD)]
            if body.get("action") == "remove":
                reason = "To remove it, delete its certificate: DELETE /ssl_certificate/<domain>"
                return [], [{**entry, "error_message": reason} for entry in concerned]
            return self._each(concerned, lambda it: self._look_again(it, request_id))
        project_id = body.get("project_id")
        concerned = [it for it in queue if project_id in (None, it["project_id"])]
        sent, ignored = self._each(concerned, lambda it: self._look_again(it, request_id))
        self._drop(SAN_MAPPING, sent)
        return sent, ignored

    def retry(self, request_id: str | None) -> Outcome:
        """Reorder the certificates of the retry list; return as :meth:`run` does."""
        sent, ignored = self._each(
            self.queue(RETRY_LIST), lambda it: self._order_again(it, request_id)
        )
        self._drop(RETRY_LIST, sent)
        return sent, ignored

    def queue(self, name: str) -> list[Entry]:
        """Return the entries of a list."""
        return list(self._storage.documents.get(name).content or [])

    def put_queue(self, name: str, document: object) -> tuple[list[Entry], list[Entry]]:
        """Replace a list.

        Returns:
            The new list, and the entries that were removed.

        Raises:
            InvalidRequest: the document is invalid, or an entry names an invalid domain or, with
                ``validate_service``, a domain that no service of its project has.
        """
        schema = schemas.RETRY_LIST if name == RETRY_LIST else schemas.SAN_MAPPING
        wanted: list[Entry] = validation.validate(schema, document)
        for entry in wanted:
            host(entry["domain_name"], "domain_name")
            if entry.get("validate_service") and self._service_of(entry) is None:
                raise errors.InvalidRequest(
                    f"Project {entry['project_id']} has no service with {entry['domain_name']}"
                )
        before: list[Entry] = []

        def replace(known: list[Entry] | None) -> list[Entry]:
            before[:] = known or []
            return wanted

        self._storage.documents.change(name, replace)
        return wanted, [entry for entry in before if entry not in wanted]

    def config(self, kind: str, name: str) -> Mapping[str, Any]:
        """Return the settings of a certificate, or the hostname limit of SAN certificates.

        Args:
            kind: ``san`` or ``sni``.
            name: the certificate, or :data:`HOSTNAME_LIMIT`.

        Raises:
            InvalidRequest: the certificate has no settings.
        """
        found: Mapping[str, Any] | None = self._storage.documents.get(_config(kind, name)).content
        if found is None and (kind, name) == ("san", HOSTNAME_LIMIT):
            return {HOSTNAME_LIMIT: DEFAULT_HOSTNAME_LIMIT}
        if found is None:
            raise errors.InvalidRequest(f"There are no settings of the {kind} certificate {name}")
        return found

    def put_config(self, kind: str, name: str, document: object) -> Mapping[str, Any]:
        """Change some settings of a certificate; return all of them.

        Raises:
            InvalidRequest: the document is invalid.
        """
        limit = (kind, name) == ("san", HOSTNAME_LIMIT)
        schema: Schema = schemas.SNI_CONFIG
        if kind == "san":
            schema = schemas.HOSTNAME_LIMIT if limit else schemas.SAN_CONFIG
        body = validation.validate(schema, document)
        if not limit:
            host(name, "certificate")

        def change(known: Mapping[str, Any] | None) -> Mapping[str, Any]:
            return body if limit else {**(known or {"enabled": True}), **body}

        result: Mapping[str, Any] = self._storage.documents.change(_config(kind, name), change)
        return result

    def _each(self, entries: Sequence[Entry], work: Callable[[Entry], object]) -> Outcome:
        sent, ignored = [], []
        for entry in entries:
            try:
                work(entry)
            except (errors.InvalidRequest, errors.NotFound, errors.LimitReached) as exc:
                ignored.append({**entry, "error_message": str(exc)})
            else:
                sent.append(entry)
        return sent, ignored

    def _look_again(self, entry: Entry, request_id: str | None) -> None:
        """Repeat the order for the certificate, or else redeploy the domain's service."""
        try:
            self._certificates.redo(entry["domain_name"], entry["cert_type"], request_id)
            return
        except errors.ServiceBusy:
            raise
        except errors.InvalidRequest:
            service = self._service_of(entry)
            if service is None:
                raise
        self._services.redeploy(
            service.project_id, service.service_id, request_id, Priority.TENANT
        )

    def _order_again(self, entry: Entry, request_id: str | None) -> None:
        if entry.get("validate_service") and self._service_of(entry) is None:
            raise errors.NotFound(f"No service has {entry['domain_name']} any more")
        names = ("domain_name", "project_id", "flavor_id")
        order = {**{name: entry[name] for name in names}, "cert_type": "san"}
        self._certificates.create(None, order, request_id)

    def _service_of(self, entry: Entry) -> Service | None:
        try:
            found = self._storage.queries.by_claim(host(entry["domain_name"], "domain_name"))
        except errors.NotFound:
            return None
        return found if found.project_id == entry["project_id"] else None

    def _drop(self, name: str, done: Sequence[Entry]) -> None:
        if done:
            self._storage.documents.change(
                name, lambda known: [it for it in known or [] if it not in done]
            )


def _config(kind: str, name: str) -> str:
    return f"akamai/{kind}_config/{name}"
