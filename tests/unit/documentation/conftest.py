# SPDX-License-Identifier: Apache-2.0
"""All options of the configuration."""

import pytest
from oslo_config import generator

from poppy import opts
from tests.unit.documentation.written import ROOT


@pytest.fixture(scope="module")
def known_settings():
    """The names of all options by group, including those of the Oslo libraries."""
    namespaces = [
        line.partition("= ")[2]
        for line in (ROOT / "etc" / "config-generator.conf").read_text().splitlines()
        if line.startswith("namespace")
    ]
    known = {}
    groups = list(opts.list_opts())
    for _, listed in generator._list_opts(namespaces):
        groups += listed
    for group, options in groups:
        names = known.setdefault(getattr(group, "name", group) or "DEFAULT", set())
        for option in options:
            names.update({option.dest, *(old.name for old in option.deprecated_opts)})
    known["keystone_authtoken"] |= keystone_options("password")
    known["DEFAULT"].add("config_source")  # an option of oslo.config that is not listed
    return known


def keystone_options(plugin):
    from keystoneauth1 import loading

    return {option.dest for option in loading.get_plugin_loader(plugin).get_options()}
