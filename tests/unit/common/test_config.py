# SPDX-License-Identifier: Apache-2.0
"""Configuration: documented option names, and invalid values."""

import pytest

from poppy import opts
from poppy.common import config, errors

#: Options in operators' files, which no version may rename.
KEPT = {
    None: {"datacenter", "project_id_in_url", "auth_strategy"},
    "drivers": {"transport", "manager", "storage", "providers", "dns", "distributed_task"},
    "drivers:transport:pecan": {"bind", "port", "workers"},
    "drivers:transport:limits": {"max_services_per_page"},
    "drivers:storage": {"max_services_per_project"},
    "drivers:storage:sqlalchemy": {"connection"},
    "drivers:distributed_task:taskflow": {
        "jobboard_backend_type",
        "jobboard_backend_host",
        "jobboard_backend_port",
    },
    "drivers:provider": {"default_cache_ttl"},
}


def test_documented_option_names_exist():
    known = {group: {option.name for option in options} for group, options in opts.list_opts()}
    for group, names in KEPT.items():
        assert names <= known[group]


def test_every_option_has_a_help_text():
    for group, options in opts.list_opts():
        for option in options:
            assert option.help, f"[{group}] {option.name}"


@pytest.mark.parametrize(
    ("text", "offender"),
    [
        ("[DEFAULT]\nauth_strategy = magic", r"\[DEFAULT\] auth_strategy"),
        ("[drivers:storage]\nmax_services_per_project = -1", "max_services_per_project"),
        ("[drivers:provider]\ndefault_cache_ttl = long", "default_cache_ttl"),
    ],
)
def test_an_invalid_value_is_reported_with_its_option(tmp_path, text, offender):
    path = tmp_path / "poppy.conf"
    path.write_text(text + "\n")
    with pytest.raises(errors.ConfigError, match=offender):
        config.validate(config.load([], files=[str(path)]))


def test_the_defaults_are_valid():
    config.validate(config.load([], files=[]))
