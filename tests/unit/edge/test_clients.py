# SPDX-License-Identifier: Apache-2.0
"""Expressions of the rules for clients."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oslo_config import cfg

from poppy.edge import options
from poppy.edge.plane import clients
from poppy.edge.plane.files import Files
from poppy.model import paths


@given(st.text(alphabet="/.;?%#\\\\aB2e2f\x00\x7f é", max_size=12))
@example("/a/..")
@example("/a?../#")
def test_a_plain_target_is_neither_ambiguous_nor_has_dot_segments(target: str) -> None:
    for expression in (paths.AMBIGUOUS, paths.DOT_SEGMENTS, clients.DOTS_WITH_PARAMETERS):
        if re.search(expression, target):
            assert not re.search(clients.PLAIN, target)


@pytest.mark.parametrize("target", ["/", "/a", "/a/", "/a/b-c_d~e.tar.gz", "/a?b=../%zz&c"])
def test_most_targets_are_plain(target: str) -> None:
    assert re.search(clients.PLAIN, target)


@pytest.mark.parametrize(
    "values",
    [{}, {"trusted_proxies": ["192.0.2.0/24"], "client_ip_header": "True-Client-IP"}],
    ids=["direct", "behind proxies"],
)
def test_a_request_with_a_field_that_a_rule_reads_is_not_plain(values: dict[str, object]) -> None:
    conf = cfg.ConfigOpts()
    options.register(conf)
    conf([], project="poppy-edge")
    for name, value in values.items():
        conf.set_override(name, value, group="edge")
    settings = options.read(conf)

    short_cut, end, others = clients.rules(settings, Files(settings)).partition(
        "    http-request allow if is_plain is_cached\n"
    )

    assert end
    [names] = set(re.findall("req.hdr_names -m reg '([^']+)'", short_cut))
    read = set(re.findall(r"req[.](?:fhdr|hdr|hdr_val)[(]([^)]+)[)]", others))
    assert {"Authorization", "Cookie"} < read
    # Any request may have these. Policies and the access log get those of plain requests too.
    for name in read - {"host", "referer", "user-agent"}:
        assert re.search(names, name), name
