# SPDX-License-Identifier: Apache-2.0
"""``quota show``, without a server."""

from unittest import mock

import pytest

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
pytest.importorskip("osc_lib")

from poppyclient.commands.limits import ShowQuota  # noqa: E402

OLD = {"services": {"limit": 20, "used": 3}, "operations": {"limit": None, "used": 0}}
RATE = {
    "changes": [
        {"limit": 20, "seconds": 1, "used": 0},
        {"limit": 600, "seconds": 60, "used": 7},
    ],
    "reads": [],
}


@pytest.mark.parametrize(
    ("quota", "rates"),
    [
        (OLD, {}),  # Of a server of an earlier version.
        ({**OLD, "rate": RATE}, {"changes": "0 of 20 in 1 s\n7 of 600 in 60 s", "reads": ""}),
    ],
)
def test_limits_are_shown_with_their_use(monkeypatch, quota, rates):
    client = mock.Mock()
    client.quota.return_value = dict(quota)
    monkeypatch.setattr(ShowQuota, "client", client)
    names, values = ShowQuota(mock.Mock(), None).take_action(None)
    shown = {
        name: value if isinstance(value, str) else "\n".join(value.machine_readable())
        for name, value in zip(names, values, strict=True)
    }
    assert shown == {"services": "3 of 20", "operations": "0, no limit", **rates}
