# SPDX-License-Identifier: Apache-2.0
"""What every kind of driver has in common, and how drivers are found.

A driver is one class. It names its kind and its options; its entry point in the stevedore
namespace ``poppy.<kind>`` gives it its name, and its options live in the configuration group
``[drivers:<kind>:<name>]``::

    class ExampleProvider(Provider):
        OPTS = (cfg.StrOpt("api_key", secret=True, required=True, help="..."),)
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import stevedore
import stevedore.exception
from oslo_config import cfg

from poppy.common import errors, logs


class Driver:
    """Base of all drivers.

    Args:
        conf: the loaded configuration.
        name: the name of the driver's entry point.

    Attributes:
        name: the driver's name, as operators write it in the configuration.
        conf: the whole configuration, for the few drivers that need a shared option.
        options: the driver's own option group.
    """

    KIND: ClassVar[str]
    OPTS: ClassVar[Sequence[cfg.Opt]] = ()
    #: Options that all drivers of the kind have.
    KIND_OPTS: ClassVar[Sequence[cfg.Opt]] = ()

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        self.conf = conf
        self.name = name
        for group, options in self.option_groups(name):
            conf.register_group(cfg.OptGroup(group))
            conf.register_opts(options, group=group)
            logs.learn(_secret_values(conf[group], options))
        self.options: Any = conf[f"drivers:{self.KIND}:{name}"]

    @classmethod
    def option_groups(cls, name: str) -> list[tuple[str, Sequence[cfg.Opt]]]:
        """The groups of options that a driver of this name reads; mostly just its own."""
        return [(f"drivers:{cls.KIND}:{name}", (*cls.OPTS, *cls.KIND_OPTS))]


def _secret_values(group: Any, options: Sequence[cfg.Opt]) -> Iterator[object]:
    """What may never be logged; values that can't be read are for ``config.validate``."""
    for option in options:
        if option.secret:
            with contextlib.suppress(cfg.Error, ValueError):
                yield group[option.dest]


def load(kind: str, name: str, conf: cfg.ConfigOpts, **collaborators: Any) -> Any:
    """Make the driver ``name`` of the namespace ``poppy.<kind>``.

    Args:
        collaborators: passed on to the driver's constructor by name.

    Raises:
        ConfigError: there is no such driver, or it can't be imported or made; names the
            driver and the cause, because a daemon that half works is worse than none.
    """
    namespace = f"poppy.{kind}"
    failures: list[BaseException] = []

    def remember(_manager: object, _entry_point: object, cause: BaseException) -> None:
        failures.append(cause)

    try:
        found = stevedore.DriverManager(namespace, name, on_load_failure_callback=remember)
    except (stevedore.exception.NoMatches, RuntimeError) as exc:
        if failures:
            raise errors.ConfigError(
                f"The {kind} driver '{name}' can't be loaded: {failures[0]}"
            ) from failures[0]
        known = ", ".join(sorted(names(kind))) or "none"
        raise errors.ConfigError(
            f"There is no {kind} driver '{name}' (installed: {known})"
        ) from exc
    try:
        return found.driver(conf, name, **collaborators)
    except cfg.Error as exc:
        raise errors.ConfigError(f"[drivers:{kind}:{name}] {exc}") from exc


def names(kind: str) -> list[str]:
    """The names of all installed drivers of a kind, loaded or not."""
    return list(stevedore.ExtensionManager(f"poppy.{kind}").entry_points_names())


def classes(kind: str) -> dict[str, type[Driver]]:
    """Every installed driver of a kind that can be imported, by name."""
    return {e.name: e.plugin for e in stevedore.ExtensionManager(f"poppy.{kind}")}
