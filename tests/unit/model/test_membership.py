# SPDX-License-Identifier: Apache-2.0
"""Heartbeats of other versions can be read."""

from poppy.model.membership import Worker
from poppy.testing.storage.membership import make_worker


def test_fields_of_a_newer_version_are_ignored():
    worker = make_worker()
    assert Worker.from_dict({**worker.to_dict(), "mood": "fine"}) == worker


def test_fields_missing_in_an_older_version_are_empty():
    document = make_worker().to_dict()
    assert document.pop("quotas") and document.pop("down")
    worker = Worker.from_dict(document)
    assert (worker.quotas, worker.down) == ((), ())
