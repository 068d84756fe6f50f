# SPDX-License-Identifier: Apache-2.0
"""Contract: operators' corrections of services."""

from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model.operations import State
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service, Status
from poppy.storage.base import Storage
from poppy.testing.builders import PROJECT_ID, make_service
from poppy.testing.storage.case import StorageCase, add, remove, settle, submit

BROKEN = {"mock": ProviderDetail(ProviderStatus.FAILED, "id-1", error_message="so it seems")}


def read(storage: Storage, service: Service) -> Service:
    """Return the stored service."""
    return storage.services.get(service.project_id, service.service_id)


class AmendmentContract(StorageCase):
    """A service can be amended while no operation of it is unfinished."""

    def test_amended_service_is_read_back_and_nothing_is_queued(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        changed = replace(service.with_details(BROKEN), disabled=True, log_url="https://logs/1")
        stocked.services.amend(changed)
        assert read(stocked, service) == replace(changed, revision=service.revision + 1)
        operations = stocked.operations.list(service.project_id, service.service_id)
        assert [operation.state for operation in operations] == [State.SUCCEEDED]

    def test_amended_service_is_listed_as_it_is_now(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        stocked.services.amend(service.with_details(BROKEN))
        (listed,) = stocked.services.list(PROJECT_ID, None, 10)
        assert listed == read(stocked, service)
        assert list(stocked.services.list(PROJECT_ID, None, 10, Status.FAILED)) == [listed]

    def test_amendment_of_a_changed_service_is_refused(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        stocked.services.amend(service)
        with pytest.raises(errors.Changed):
            stocked.services.amend(service.with_details(BROKEN))
        assert read(stocked, service).provider_details == service.provider_details

    def test_amendment_while_an_operation_is_unfinished_is_refused(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        submit(stocked, service)
        stored = read(stocked, service)
        with pytest.raises(errors.ServiceBusy):
            stocked.services.amend(stored.with_details(BROKEN))
        assert read(stocked, service) == stored

    def test_amendment_of_a_missing_service_is_not_found(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        remove(stocked, service)
        for missing in (service, make_service()):
            with pytest.raises(errors.NotFound):
                stocked.services.amend(missing)
