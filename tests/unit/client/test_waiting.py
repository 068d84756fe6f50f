# SPDX-License-Identifier: Apache-2.0
"""Following an operation to its end."""

import io
from unittest import mock

import pytest

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
pytest.importorskip("osc_lib")

from osc_lib import exceptions  # noqa: E402
from poppyclient import waiting  # noqa: E402


def operation(state, reason=""):
    return {
        "id": "op-1",
        "action": "create",
        "state": state,
        "steps": [],
        "reason": reason,
        "request_id": "req-1",
        "next_attempt_at": "soon",
    }


def follow(*states, sleep=lambda _pause: None, timeout=60.0):
    """Follow an operation with these states in turn, and return the lines shown."""
    client = mock.Mock()
    client.operations.side_effect = [[it] for it in states]
    shown = io.StringIO()
    try:
        waiting.follow(client, "s-1", "create", "req-1", timeout, shown, sleep)
    finally:
        follow.lines = shown.getvalue().splitlines()
    return follow.lines


def test_each_change_is_shown_once():
    states = [operation(it) for it in ("queued", "queued", "running", "succeeded")]
    assert follow(*states) == ["create queued", "create running", "create succeeded"]


def test_a_failure_has_its_reason():
    with pytest.raises(exceptions.CommandError, match="s-1 failed: no such origin"):
        follow(operation("failed", "no such origin"))


def test_an_interrupt_shows_how_to_go_on():
    with pytest.raises(KeyboardInterrupt):
        follow(operation("queued"), sleep=mock.Mock(side_effect=KeyboardInterrupt))
    assert follow.lines[-1] == (
        'It continues as operation op-1. To see it: "operation show s-1 op-1"'
    )


def test_an_interrupt_before_the_first_answer_does_too():
    with pytest.raises(KeyboardInterrupt):
        follow(mock.MagicMock(__getitem__=mock.Mock(side_effect=KeyboardInterrupt)))
    assert follow.lines == ['The create continues. To see it: "operation list s-1"']


def test_the_end_of_the_time_shows_how_to_go_on():
    with pytest.raises(exceptions.CommandError, match=r"not done after 0.001 s. It continues as"):
        follow(operation("queued"), timeout=0.001)
