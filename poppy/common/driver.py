# SPDX-License-Identifier: Apache-2.0
"""What every kind of driver has in common, and how drivers are found.

A driver is one class. It names its kind and its options; its entry point in the stevedore
namespace ``poppy.<kind>`` gives it its name, and its options live in the configuration group
``[drivers:<kind>:<name>]``::

    class ExampleProvider(Provider):
        OPTS = (cfg.StrOpt("api_key", secret=True, required=True, help="..."),)
"""

import contextlib
import re
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
        name: the driver's name: that of its entry point, unless there are several of it.

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


#: ``<driver>``, or ``<name>:<driver>`` for one of several of the same driver.
_ENTRY = re.compile(r"(?:(?P<name>[a-z0-9][a-z0-9_-]*):)?(?P<driver>[^:]+)")


def load_each(kind: str, entries: Sequence[str], conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Make several drivers of a kind; gives them by name, in order.

    Args:
        entries: of each the name of its entry point; or ``<name>:<entry point>``, so that there
            may be several of one driver, each with a name and a group of options of its own.

    Raises:
        ConfigError: as :func:`load`; or an entry is malformed, or a name is there twice.
    """
    made: dict[str, Any] = {}
    for entry in entries:
        parsed = _ENTRY.fullmatch(entry)
        if parsed is None:
            raise errors.ConfigError(
                f"'{entry}' is no {kind}: it is to be a driver's name, or <name>:<driver> with a "
                "name of small letters, digits, - and _"
            )
        name = parsed["name"] or parsed["driver"]
        if name in made:
            raise errors.ConfigError(f"The {kind} '{name}' is named twice")
        made[name] = load(kind, name, conf, entry_point=parsed["driver"])
    return made


def load(
    kind: str,
    name: str,
    conf: cfg.ConfigOpts,
    entry_point: str | None = None,
    **collaborators: Any,
) -> Any:
    """Make a driver of the namespace ``poppy.<kind>``.

    Args:
        name: its name, which its options and messages have.
        entry_point: the name of its entry point, where that is another.
        collaborators: passed on to the driver's constructor by name.

    Raises:
        ConfigError: there is no such driver, or it can't be imported or made; names the
            driver and the cause, because a daemon that half works is worse than none.
    """
    namespace, entry_point = f"poppy.{kind}", entry_point or name
    failures: list[BaseException] = []

    def remember(_manager: object, _entry_point: object, cause: BaseException) -> None:
        failures.append(cause)

    try:
        found = stevedore.DriverManager(namespace, entry_point, on_load_failure_callback=remember)
    except (stevedore.exception.NoMatches, RuntimeError) as exc:
        if failures:
            raise errors.ConfigError(
                f"The {kind} driver '{entry_point}' can't be loaded: {failures[0]}"
            ) from failures[0]
        known = ", ".join(sorted(names(kind))) or "none"
        raise errors.ConfigError(
            f"There is no {kind} driver '{entry_point}' (installed: {known})"
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
