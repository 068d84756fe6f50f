# SPDX-License-Identifier: Apache-2.0
"""The base class of extensions, and how they are loaded.

An extension adds routes for operators below ``/v1.0/admin/provider/<name>``. It is one class,
which an entry point in the namespace ``poppy.extension`` names. Every installed extension is
active.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import stevedore
from oslo_config import cfg

from poppy.common import driver, errors
from poppy.common.driver import Driver

if TYPE_CHECKING:
    from poppy.manager.manager import Manager
    from poppy.storage.base import Storage
    from poppy.transport.pecan.routes import Route


class Extension(Driver):
    """Base of all extensions.

    A manager creates one object of each extension; handlers find it in ``manager.extensions``.
    The options in ``OPTS`` are read from ``[drivers:extension:<name>]``.

    The class method :meth:`routes` is called before any object exists. It imports what it
    returns, so that a process loads only what it needs: ``poppy-manage`` has a manager, but no
    transport.

    Args:
        conf: the loaded configuration.
        name: the name of the entry point.
        storage: the storage driver.
        manager: the manager. Its attribute ``extensions`` is still incomplete.
    """

    KIND: ClassVar[str] = "extension"

    def __init__(
        self, conf: cfg.ConfigOpts, name: str, storage: "Storage", manager: "Manager"
    ) -> None:
        super().__init__(conf, name)

    @classmethod
    def routes(cls) -> Sequence["Route"]:
        """Return the routes; their URL templates are below the extension's URL.

        The names of their rules must differ from those of all other rules; use
        ``cdn:admin_<name>:...``.
        """
        return ()


def installed() -> dict[str, type[Extension]]:
    """Return all installed extensions by name, in the order of their names.

    Raises:
        ConfigError: an extension can't be imported, or two packages register one under the same
            name. An extension's routes must not disappear unnoticed.
    """
    driver.names(Extension.KIND)
    found = stevedore.ExtensionManager("poppy.extension", on_load_failure_callback=_refuse)
    return {each.name: each.plugin for each in sorted(found, key=lambda each: each.name)}


def url(name: str, template: str) -> str:
    """Return the complete URL template of an extension's resource."""
    return f"/v1.0/admin/provider/{name}{template}"


def _refuse(_manager: object, entry_point: object, cause: BaseException) -> None:
    name = getattr(entry_point, "name", entry_point)
    raise errors.ConfigError(f"The extension '{name}' can't be loaded: {cause}") from cause
