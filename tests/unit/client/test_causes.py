# SPDX-License-Identifier: Apache-2.0
"""The causes of failed connections, and whether another try may help."""

import socket
import ssl
from unittest import mock

import pytest

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
pytest.importorskip("osc_lib")

import requests  # noqa: E402
import urllib3  # noqa: E402
from keystoneauth1 import adapter, noauth, session  # noqa: E402
from keystoneauth1 import exceptions as keystone  # noqa: E402
from poppyclient import causes, connection  # noqa: E402

URL = "https://cdn.example.com"
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
LATER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
UNVERIFIED = ssl.SSLCertVerificationError(1, "failed")
UNVERIFIED.verify_message = "self-signed certificate"
PLAIN = ssl.SSLError(1, "record layer failure")


def wrapped(error):
    """Return an error as urllib3 and requests wrap it."""
    reason = urllib3.exceptions.NewConnectionError(None, "failed")
    reason.__cause__ = error
    failed = urllib3.exceptions.MaxRetryError(None, "/", reason)
    kind = requests.exceptions.SSLError if isinstance(error, ssl.SSLError) else None
    return (kind or requests.exceptions.ConnectionError)(failed)


@pytest.mark.parametrize(
    ("error", "text", "tries"),
    [
        (NO_NAME, "can't be resolved (Name or service not known)", 1),
        (LATER, "can't be resolved (Temporary", 2),
        (ConnectionRefusedError(111, "Connection refused"), "refuses connections", 2),
        (TimeoutError("timed out"), "does not answer", 2),
        (UNVERIFIED, "can't be verified: self-signed certificate", 1),
        (PLAIN, "does not speak TLS", 1),
    ],
)
def test_the_cause_is_shown_at_once(caplog, error, text, tries):
    transport = mock.Mock()
    transport.request.side_effect = wrapped(error)
    http = adapter.Adapter(
        session.Session(auth=noauth.NoAuth(), session=transport), endpoint_override=URL
    )
    now = [0.0]
    with mock.patch.object(connection.time, "monotonic", lambda: now[0]):
        sleep = mock.Mock(side_effect=lambda _pause: now.__setitem__(0, 60.0))
        link = connection.Connection(http, "42", 30.0, sleep)
        with pytest.raises(connection.Unanswered) as caught:
            link.send("GET", "/flavors")
    assert str(caught.value).startswith(f"{URL}/v1.0 ")
    assert text in str(caught.value)
    assert transport.request.call_count == tries
    assert [text in line for line in caplog.messages if "trying again" in line] == [True] * (
        tries - 1
    )


def test_a_missing_keystone_is_named():
    http = mock.Mock()
    http.get_endpoint.side_effect = keystone.ConnectFailure("x")
    with pytest.raises(connection.Unanswered, match="^Keystone does not answer"):
        connection.Connection(http, None, 0.0).send("GET", "/flavors")


def test_errors_that_wrap_each_other_end():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert causes.cause_of(one).text == "does not answer"
