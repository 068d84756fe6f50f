# SPDX-License-Identifier: Apache-2.0
"""Where nodes of the operator's own edge put access logs."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from poppy.common import errors
from poppy.model import edge_logs, validation
from poppy.model.edge import Node
from poppy.model.edge_logs import LogObject


@runtime_checkable
class TakesLogs(Protocol):
    """A provider with nodes that deliver access logs."""

    def log_upload(self, upload: LogObject, node: str) -> str | None:
        """Return the URL for a PUT of an object; None if the provider has no bucket."""
        ...


class EdgeLogs:
    """Give nodes URLs for objects with access logs.

    Args:
        providers: by name.
    """

    def __init__(self, providers: Mapping[str, object]) -> None:
        self._providers = providers

    def upload(self, node: Node, document: object) -> str:
        """Return the URL for a PUT of an object.

        Raises:
            SchemaInvalid: the document is invalid; names the field.
            InvalidRequest: the service belongs to another project, or the project can't have logs.
            NotFound: no provider has a bucket.
        """
        body = validation.validate(edge_logs.SCHEMA, document)
        upload = LogObject(**{name: body[name] for name in LogObject._fields})
        for provider in self._providers.values():
            if not isinstance(provider, TakesLogs):
                continue
            try:
                url = provider.log_upload(upload, node.name)
            except errors.PermanentError as exc:
                raise errors.InvalidRequest(str(exc)) from exc
            if url is not None:
                return url
        raise errors.NotFound("The edge has no log_bucket")
