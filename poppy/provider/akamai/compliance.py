# SPDX-License-Identifier: Apache-2.0
"""The compliance record of activations on the production network.

Some accounts need it; see ``complianceRecord`` in
https://techdocs.akamai.com/property-mgr/reference/post-property-activations.
"""

from collections.abc import Mapping

from poppy.common.errors import ConfigError
from poppy.provider.akamai.edgegrid import Document

_REASON, _TICKET, _TESTED = "noncomplianceReason", "ticketId", "unitTested"
#: The required fields, by reason. ``NONE`` means that the activation complies.
_FIELDS = {
    "NONE": ("customerEmail", "peerReviewedBy", _TESTED),
    "OTHER": ("otherNoncomplianceReason",),
    "NO_PRODUCTION_TRAFFIC": (),
    "EMERGENCY": (),
}


def record(option: Mapping[str, str], group: str) -> Document | None:
    """Return the record in the option ``compliance_record``; None if it is not set.

    Raises:
        ConfigError: a field is missing, unknown or invalid; the message names it.
    """
    if not option:
        return None
    reason = option.get(_REASON, "")
    if reason not in _FIELDS:
        known = ", ".join(_FIELDS)
        raise _error(group, f"{_REASON} must be one of {known}, not {reason!r}")
    fields = _FIELDS[reason]
    missing = [name for name in fields if not option.get(name)]
    if missing:
        raise _error(group, f"{reason} needs {', '.join(missing)}")
    unknown = sorted(set(option) - {_REASON, _TICKET, *fields})
    if unknown:
        raise _error(group, f"{reason} has no {', '.join(unknown)}")
    found: Document = dict(option)
    if _TESTED in fields:
        # Akamai refuses any other value on the production network.
        if option[_TESTED].lower() != "true":
            raise _error(group, f"{_TESTED} must be true")
        found[_TESTED] = True
    return found


def _error(group: str, message: str) -> ConfigError:
    return ConfigError(f"[{group}] compliance_record: {message}")
