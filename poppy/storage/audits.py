# SPDX-License-Identifier: Apache-2.0
"""The state of audits, as a shared document."""

import datetime

from poppy.model.audits import ALL, AuditPass, AuditState
from poppy.storage.queries import DocumentStore

_NAME = "audit"


class AuditStore:
    """Read and change the document. Every method may raise Unavailable."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def get(self) -> AuditState:
        """Return the state."""
        return AuditState.from_dict(self._documents.get(_NAME).content)

    def schedule(self, now: datetime.datetime) -> AuditState:
        """Schedule passes, if none ever was, and return the state."""
        state = self.get()
        if state.scheduled is not None:
            return state
        return AuditState.from_dict(
            self._documents.change(
                _NAME, lambda it: AuditState.from_dict(it).scheduling(now).to_dict()
            )
        )

    def request(self, providers: tuple[str, ...], now: datetime.datetime) -> None:
        """Request a pass over the services at providers; over all services if there are none."""
        names = providers or (ALL,)
        self._documents.change(
            _NAME, lambda it: AuditState.from_dict(it).request(names, now).to_dict()
        )

    def put(self, found: AuditPass) -> None:
        """Store a pass that has begun or ended."""
        self._documents.change(
            _NAME, lambda it: AuditState.from_dict(it).with_pass(found).to_dict()
        )
