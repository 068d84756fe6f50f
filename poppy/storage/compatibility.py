# SPDX-License-Identifier: Apache-2.0
"""Whether code may use a schema that is newer than its own.

During an upgrade, and after a rollback, code of the previous version runs on the schema of the
next one. That works as long as migrations only add. So ``db sync`` notes the oldest schema version
whose code still works (``OLDEST`` beside the migrations), in a document that all versions can
read. A migration that drops or changes something in use raises it.
"""

from typing import Any

from oslo_log import log

from poppy.common import errors
from poppy.storage.queries import DocumentStore

LOG = log.getLogger(__name__)

_NAME = "schema"


def declare(documents: DocumentStore, oldest: str) -> None:
    """Note the oldest schema version whose code works on this schema. It never goes down.

    Raises:
        Unavailable: storage does not answer.
    """

    def work(content: Any) -> dict[str, str]:
        return {"oldest": max(oldest, _oldest(content) or oldest)}

    if _oldest(documents.get(_NAME).content) != oldest:
        documents.change(_NAME, work)


def accept_newer(documents: DocumentStore, stored: str, own: str) -> None:
    """Accept a newer schema if it only adds to what this code uses.

    Args:
        stored: the version of the schema; versions are numbers with leading zeros.
        own: the schema version of this code.

    Raises:
        ConfigError: this code is too old for the schema.
        Unavailable: storage does not answer.
    """
    oldest = _oldest(documents.get(_NAME).content)
    if oldest is None or own < oldest:
        needed = f"at least {oldest}" if oldest else "a newer Poppy"
        raise errors.ConfigError(
            f"The database has a newer schema ({stored}) than this Poppy knows ({own}), and needs "
            f"{needed}: install the newer Poppy here as well; 'poppy-manage db sync' can't go back"
        )
    LOG.warning(
        "The database has a newer schema (%s) than this Poppy knows (%s). They are compatible; "
        "upgrade this installation, or run it until a rollback is complete",
        stored,
        own,
    )


def _oldest(content: Any) -> str | None:
    found = content.get("oldest") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None
