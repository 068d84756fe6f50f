# SPDX-License-Identifier: Apache-2.0
"""Does what drivers have to do at a certain time, such as renewing a certificate."""

import random
import threading
from collections.abc import Mapping

from oslo_log import log

from poppy.common import errors
from poppy.distributed_task.queueing import queue_update
from poppy.model.services import Status
from poppy.provider.base import Provider
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: Services that are updated after one look.
_LIMIT = 100


class Renewals:
    """Queues an update of each service that a driver names. Several can run side by side.

    A service that is being changed, disabled or failed is left alone: its next operation does the
    work.

    Args:
        interval: seconds between looks.
    """

    def __init__(
        self, storage: Storage, providers: Mapping[str, Provider], interval: float
    ) -> None:
        self._storage = storage
        self._providers = providers
        self._interval = interval

    def run(self, stopped: threading.Event) -> None:
        """Look for such services until ``stopped``."""
        while not stopped.wait(self._interval * random.uniform(0.75, 1.25)):
            for name, provider in self._providers.items():
                try:
                    self.look(provider)
                except errors.Unavailable as exc:
                    LOG.warning("Could not look for work of %s: %s", name, exc)
                except Exception:  # noqa: BLE001 - without this thread nothing is renewed
                    LOG.exception("Looking for work of %s failed; trying again", name)

    def look(self, provider: Provider) -> None:
        """Queue an update of each service for which a driver has work, and do its other work.

        Raises:
            Unavailable: storage does not answer.
        """
        provider.maintain()
        for project_id, service_id in provider.due(_LIMIT):
            update(self._storage, project_id, service_id)


def update(storage: Storage, project_id: str, service_id: str) -> bool:
    """Queue an update of a service, if it is deployed; return whether that was done.

    Raises:
        Unavailable: storage does not answer.
    """
    try:
        service = storage.services.get(project_id, service_id)
        if service.status is not Status.DEPLOYED:
            return False
        queue_update(storage, service)
    except (errors.Changed, errors.NotFound, errors.InvalidRequest) as exc:
        LOG.info("Service %s is not updated: %s", service_id, exc)
        return False
    return True
