# SPDX-License-Identifier: Apache-2.0
"""All configuration options, for oslo.config's sample generator."""

import copy
from collections.abc import Iterator, Sequence

from oslo_config import cfg

from poppy.common import config, driver

KINDS = ("transport", "manager", "storage", "distributed_task", "provider", "dns", "extension")


def list_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """Return the options by group: the shared ones, then those of each installed driver."""
    return [(group, copy.deepcopy(list(options))) for group, options in _groups()]


def _groups() -> Iterator[tuple[str | None, Sequence[cfg.Opt]]]:
    yield from config.GROUPS
    for kind in KINDS:
        for name, plugin in sorted(driver.classes(kind).items()):
            yield from plugin.option_groups(name)
