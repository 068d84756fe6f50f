# SPDX-License-Identifier: Apache-2.0
"""Find services at providers that are no longer loaded."""

import itertools
from collections import Counter
from collections.abc import Container

from poppy.common import errors
from poppy.manager.admin_search import every_service
from poppy.storage.base import Storage

#: The number of services at which counting ends.
COUNTED = 1000


def check_unused(storage: Storage, loaded: Container[str], counted: int = COUNTED) -> None:
    """Check that each service is at loaded providers only.

    All services are read, one batch at a time, until ``counted`` of them are at other providers.

    Args:
        storage: the storage driver.
        loaded: the names of the loaded providers.
        counted: the number of services at which counting ends.

    Raises:
        InUse: services are at a provider that is not loaded; the message names each provider,
            its number of services, and a command that lists them.
        Unavailable: storage does not answer.
    """
    remaining = (
        [name for name in service.provider_details if name not in loaded]
        for service in every_service(storage)
    )
    found = list(itertools.islice(filter(None, remaining), counted))
    if not found:
        return
    least = "at least " if len(found) == counted else ""
    counts = Counter(itertools.chain.from_iterable(found))
    raise errors.InUse(
        "; ".join(
            f"provider '{name}' is not loaded, but {least}{count} service"
            f"{'' if count == 1 else 's'} may exist there: keep it in [drivers] providers until "
            f"'poppy-manage services list --provider {name}' lists none"
            for name, count in sorted(counts.items())
        )
    )
