# SPDX-License-Identifier: Apache-2.0
"""Create drivers with options for tests."""

from typing import TypeVar

from poppy.common import config
from poppy.dns.base import DNSDriver

D = TypeVar("D", bound=DNSDriver)


def make_driver(cls: type[D], name: str = "tested", **options: object) -> D:
    """Return a driver with these options in its group."""
    conf = config.new()
    conf([])
    for group, declared in cls.option_groups(name):
        conf.register_opts(declared, group=group)
    for option, value in options.items():
        conf.set_override(option, value, group=f"drivers:dns:{name}")
    return cls(conf, name)
