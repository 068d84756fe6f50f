# SPDX-License-Identifier: Apache-2.0
"""What workers of another version say is understood."""

from poppy.model.fleet import Worker
from poppy.testing.storage.fleet import make_worker


def test_what_a_newer_version_adds_is_passed_over():
    worker = make_worker()
    assert Worker.from_dict({**worker.to_dict(), "mood": "fine"}) == worker


def test_what_an_older_version_does_not_say_is_empty():
    document = make_worker().to_dict()
    assert document.pop("quotas") and document.pop("down")
    worker = Worker.from_dict(document)
    assert (worker.quotas, worker.down) == ((), ())
