# SPDX-License-Identifier: Apache-2.0
"""Conformance suite of storage drivers.

A driver's tests subclass :class:`StorageContract` and provide two fixtures::

    class TestExampleStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            driver = make_driver()
            driver.sync()
            yield driver
            driver.close()

        @pytest.fixture
        def connect_again(self, storage):
            return make_driver

A store that supports the operator's own edge also passes :class:`EdgeContract`.

``storage`` is empty and has its schema; the suite sets options of its ``conf``.
``connect_again()`` returns another driver on the same data, which the suite closes. Race tests
use one driver per thread, to simulate separate processes.
"""

import pytest

_PARTS = (
    *("amendments", "case", "crashes", "documents", "domains", "edge", "edge_commands"),
    *("edge_traffic", "flavors"),
    *(
        "membership",
        "joining",
        "keys",
        "listing",
        "queries",
        "overtaking",
        "queue",
        "removal",
        "runs",
        "selecting",
        "services",
    ),
    *("submissions", "superseding", "turns"),
)
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

# Import these after the call above, which enables detailed assertion messages in the modules.
from poppy.testing.storage.amendments import AmendmentContract  # noqa: E402
from poppy.testing.storage.crashes import CrashContract  # noqa: E402
from poppy.testing.storage.documents import DocumentContract, LimitContract  # noqa: E402
from poppy.testing.storage.domains import ProofContract, QuarantineContract  # noqa: E402
from poppy.testing.storage.edge import EdgeContract  # noqa: E402
from poppy.testing.storage.flavors import FlavorContract  # noqa: E402
from poppy.testing.storage.joining import JoiningContract  # noqa: E402
from poppy.testing.storage.keys import KeyContract  # noqa: E402
from poppy.testing.storage.listing import ListingContract  # noqa: E402
from poppy.testing.storage.membership import MembershipContract  # noqa: E402
from poppy.testing.storage.overtaking import OvertakingContract  # noqa: E402
from poppy.testing.storage.queries import QueriesContract  # noqa: E402
from poppy.testing.storage.queue import QueueContract  # noqa: E402
from poppy.testing.storage.removal import RemovalContract, StoreContract  # noqa: E402
from poppy.testing.storage.runs import RunContract  # noqa: E402
from poppy.testing.storage.selecting import SelectionContract  # noqa: E402
from poppy.testing.storage.services import ServiceContract  # noqa: E402
from poppy.testing.storage.submissions import SubmissionContract  # noqa: E402
from poppy.testing.storage.superseding import SupersedingContract  # noqa: E402
from poppy.testing.storage.turns import TurnsContract  # noqa: E402

__all__ = ["EdgeContract", "StorageContract"]


class StorageContract(
    FlavorContract,
    ServiceContract,
    SubmissionContract,
    QueueContract,
    TurnsContract,
    JoiningContract,
    RunContract,
    CrashContract,
    SupersedingContract,
    OvertakingContract,
    MembershipContract,
    ListingContract,
    SelectionContract,
    RemovalContract,
    StoreContract,
    QueriesContract,
    KeyContract,
    AmendmentContract,
    LimitContract,
    DocumentContract,
    QuarantineContract,
    ProofContract,
):
    """Tests of the whole interface in :mod:`poppy.storage.base`."""
