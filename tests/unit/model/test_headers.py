# SPDX-License-Identifier: Apache-2.0
"""The list of header fields that no edge passes from a client to an origin."""

import re

from poppy.model import headers


def test_names_are_in_one_group_and_well_formed() -> None:
    names = [name.lower() for name in headers.UNTRUSTED]

    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", name) for name in names)
    assert {"forwarded", "x-forwarded-host", "x-original-url", "x-http-method-override"} < {*names}


def test_respellings_have_each_mix_of_hyphens_and_underscores() -> None:
    assert headers.respellings("Forwarded") == []
    assert headers.respellings("X-Real-IP") == ["X-Real_IP", "X_Real-IP", "X_Real_IP"]
