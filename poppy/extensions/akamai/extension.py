# SPDX-License-Identifier: Apache-2.0
"""What the Akamai extension adds to Poppy."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from oslo_config import cfg

from poppy.extensions.akamai.manager import AkamaiManager
from poppy.extensions.base import Extension

if TYPE_CHECKING:
    from poppy.manager.manager import Manager
    from poppy.policies.base import Rule
    from poppy.storage.base import Storage
    from poppy.transport.pecan.controllers.base import Resource
    from poppy.transport.pecan.openapi.operation import Operation


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
    def rules(cls) -> Sequence["Rule"]:
        """Return the policy rules."""
        from poppy.extensions.akamai import policies

        return policies.RULES

    @classmethod
    def resources(cls) -> Mapping[str, type["Resource"]]:
        """Return the resources."""
        from poppy.extensions.akamai import resources

        return resources.RESOURCES

    @classmethod
    def operations(cls) -> Mapping[str, Mapping[str, "Operation"]]:
        """Return the descriptions of the routes."""
        from poppy.extensions.akamai import openapi

        return openapi.OPERATIONS
