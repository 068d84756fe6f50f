# SPDX-License-Identifier: Apache-2.0
"""What the end of an operation means for the service's providers."""

from collections.abc import Sequence
from dataclasses import replace

from poppy.model.operations import Kind, Step
from poppy.model.services import ProviderDetail, ProviderStatus

Details = dict[str, ProviderDetail]


def settle(details: Details, kind: Kind, failed: Sequence[Step]) -> None:
    """Give every provider its final status.

    Args:
        kind: of the operation that has ended.
        failed: the steps that failed for good. One that is not a provider's (DNS, or the whole
            operation, whose step has no name) failed for all of them.
    """
    by_provider = {step.name.rpartition(":")[2]: step for step in failed}
    others = next((step for name, step in by_provider.items() if name not in details), None)
    purge = kind is Kind.PURGE
    for name, detail in details.items():
        step = by_provider.get(name, others)
        # What could not be purged is still deployed, and serves.
        broken = step is not None and not purge
        details[name] = replace(
            detail,
            status=ProviderStatus.FAILED if broken else ProviderStatus.DEPLOYED,
            error_message=_explain(step, purge) if step else None,
            error_info=step.name or None if step else None,
            error_class=step.error_class if step else None,
        )


def _explain(step: Step, purge: bool) -> str:
    where = step.name.rpartition(":")[2]
    words = f"{where}: {step.message}" if where else str(step.message)
    if not purge:
        return words
    return f"purge at {words}" if where else f"purge: {words}"
