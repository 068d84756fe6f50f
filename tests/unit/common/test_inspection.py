# SPDX-License-Identifier: Apache-2.0
"""Read-only mode of drivers."""

import threading

import pytest

from poppy.common import inspection
from poppy.common.http import Client


def test_difference_is_raised_in_read_only_mode_only():
    inspection.differs("a change")
    with pytest.raises(inspection.Differs, match="a change"), inspection.read_only():
        inspection.differs("a change")
    inspection.differs("a change")


def test_other_threads_are_not_in_read_only_mode():
    raised = []

    def change():
        try:
            inspection.differs("a change")
        except inspection.Differs as exc:
            raised.append(exc)

    with inspection.read_only():
        thread = threading.Thread(target=change)
        thread.start()
        thread.join()
    assert raised == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_client_sends_no_change(method):
    client = Client("example", "http://127.0.0.1:1")
    with pytest.raises(inspection.Differs, match=method), inspection.read_only():
        client.request(method, "/objects")


@pytest.mark.parametrize(("method", "reads"), [("GET", False), ("HEAD", False), ("POST", True)])
def test_client_sends_what_only_reads(method, reads):
    client = Client("example", "http://127.0.0.1:1", timeout=(0.1, 0.1))
    with pytest.raises(Exception, match="did not answer"), inspection.read_only():
        client.request(method, "/objects", reads=reads)
