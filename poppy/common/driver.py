# SPDX-License-Identifier: Apache-2.0
"""The base class of all drivers, and how drivers are loaded.

A driver is one class. It declares its kind and its options. The entry point in the stevedore
namespace ``poppy.<kind>`` gives its name. Its options are in the configuration group
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
        name: the driver's name: the entry point's name, unless the configuration names it.

    Attributes:
        name: the driver's name in the configuration.
        conf: the whole configuration, for the few drivers that need a shared option.
        group: the name of the driver's own option group.
        options: the driver's own option group.
    """

    KIND: ClassVar[str]
    OPTS: ClassVar[Sequence[cfg.Opt]] = ()
    #: Options of every driver of the kind.
    KIND_OPTS: ClassVar[Sequence[cfg.Opt]] = ()

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        self.conf = conf
        self.name = name
        self.group = f"drivers:{self.KIND}:{name}"
        for group, options in self.option_groups(name):
            conf.register_group(cfg.OptGroup(group))
            conf.register_opts(options, group=group)
            logs.register_secrets(_secret_values(conf[group], options))
        self.options: Any = conf[self.group]

    def config_error(self, message: str) -> errors.ConfigError:
        """Return the error for invalid options; it names the option group."""
        return errors.ConfigError(f"[{self.group}] {message}")

    def require(self, *options: str) -> None:
        """Check that options have values.

        Raises:
            ConfigError: one has none; the message names it.
        """
        for option in options:
            if not self.options[option]:
                raise self.config_error(f"{option} is not set")

    @classmethod
    def option_groups(cls, name: str) -> list[tuple[str, Sequence[cfg.Opt]]]:
        """Return the option groups that a driver of this name reads; usually only its own."""
        return [(f"drivers:{cls.KIND}:{name}", (*cls.OPTS, *cls.KIND_OPTS))]


def _secret_values(group: Any, options: Sequence[cfg.Opt]) -> Iterator[object]:
    """Yield the values to mask in logs. ``config.validate`` reports those that can't be read."""
    for option in options:
        if option.secret:
            with contextlib.suppress(cfg.Error, ValueError):
                yield group[option.dest]


#: ``<driver>``, or ``<name>:<driver>`` if several instances use the same driver.
#: Where to read about a driver of earlier releases, by kind and name.
_REMOVED = {
    ("provider", "varnish"): "; 'edge' replaces it: see 'Move from varnish to edge' in the "
    "documentation",
}
_ENTRY = re.compile(r"(?:(?P<name>[a-z0-9][a-z0-9_-]*):)?(?P<driver>[^:]+)")


def load_each(kind: str, entries: Sequence[str], conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Load several drivers of a kind and return them by name, in order.

    Args:
        entries: the entry point's name for each driver, or ``<name>:<entry point>``. The latter
            allows several instances of one driver, each with its own name and option group.

    Raises:
        ConfigError: see :func:`load`; or an entry is malformed, or a name is used twice.
    """
    made: dict[str, Any] = {}
    for entry in entries:
        parsed = _ENTRY.fullmatch(entry)
        if parsed is None:
            raise errors.ConfigError(
                f"'{entry}' is not a valid {kind}: use a driver's name, or <name>:<driver> with a "
                "name of lower-case letters, digits, - and _"
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
    """Load a driver from the namespace ``poppy.<kind>``.

    Args:
        name: the name in its option group and messages.
        entry_point: the name of its entry point, if it differs.
        collaborators: keyword arguments of the driver's constructor.

    Raises:
        ConfigError: there is no such driver, it can't be imported or created, or two packages
            register a driver of the kind under one name. The message names the driver and the
            cause. A daemon must not start without one of its drivers.
    """
    namespace, entry_point, installed = f"poppy.{kind}", entry_point or name, names(kind)
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
        known = ", ".join(sorted(installed)) or "none"
        raise errors.ConfigError(
            f"There is no {kind} driver '{entry_point}' (installed: {known})"
            + _REMOVED.get((kind, entry_point), "")
        ) from exc
    try:
        return found.driver(conf, name, **collaborators)
    except cfg.Error as exc:
        raise errors.ConfigError(f"[drivers:{kind}:{name}] {exc}") from exc


def names(kind: str) -> list[str]:
    """Return the names of all installed drivers of a kind; nothing is imported.

    Raises:
        ConfigError: two packages register a driver under one name. Which of them would be loaded
            depends on the order of installation.
    """
    targets: dict[str, str] = {}
    for found in stevedore.NamedExtensionManager(f"poppy.{kind}", []).list_entry_points():
        other = targets.setdefault(found.name, found.value)
        if other != found.value:
            raise errors.ConfigError(
                f"Two installed packages register a {kind} '{found.name}': {other} and "
                f"{found.value}. Uninstall one of them"
            )
    return list(targets)


def classes(kind: str) -> dict[str, Any]:
    """Return every importable driver of a kind by name; raises as :func:`names`."""
    names(kind)
    return {e.name: e.plugin for e in stevedore.ExtensionManager(f"poppy.{kind}")}
