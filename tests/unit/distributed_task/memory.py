# SPDX-License-Identifier: Apache-2.0
"""Parts of a store in memory."""

from poppy.common import errors
from poppy.storage.queries import Document, DocumentStore


class Documents(DocumentStore):
    """Shared documents by name."""

    def __init__(self):
        self.stored = {}

    def get(self, name):
        return self.stored.get(name, Document(None, 0))

    def put(self, name, content, version):
        if version != self.get(name).version:
            raise errors.Changed(name)
        self.stored[name] = Document(content, version + 1)
