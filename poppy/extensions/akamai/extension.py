# SPDX-License-Identifier: Apache-2.0
"""What the Akamai extension adds to Poppy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oslo_config import cfg

from poppy.extensions.akamai.manager import AkamaiManager
from poppy.extensions.base import Extension

if TYPE_CHECKING:
    from poppy.manager.manager import Manager
    from poppy.storage.base import Storage
    from poppy.transport.pecan.routes import Route


class AkamaiExtension(Extension):
    """The operators' API for the Akamai driver.

    Attributes:
        manager: the lists, settings and jobs.
    """

    def __init__(
        self, conf: cfg.ConfigOpts, name: str, storage: "Storage", manager: "Manager"
    ) -> None:
        super().__init__(conf, name, storage, manager)
        self.manager = AkamaiManager(
            storage, manager.services, manager.actions, manager.certificates
        )

    @classmethod
    def routes(cls) -> Sequence["Route"]:
        """Return the routes."""
        from poppy.extensions.akamai import controllers

        return controllers.ROUTES
