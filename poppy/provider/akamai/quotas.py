# SPDX-License-Identifier: Apache-2.0
"""Limits in the header fields of Akamai's responses.

See https://techdocs.akamai.com/property-mgr/reference/rate-and-resource-limiting.
"""

import re
from collections.abc import Mapping

from poppy.common.http import QUOTA_FIELDS, Quota, QuotaFields, quotas

#: Limits on calls. The last field is the time at which a call is possible again.
CALLS = (
    QuotaFields("requests", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Next"),
    QuotaFields(
        "requests",
        "Akamai-RateLimit-Limit",
        "Akamai-RateLimit-Remaining",
        "Akamai-RateLimit-Next",
    ),
)
#: Limits on objects of a contract or property: X-Limit-Hosts-Per-Property-Remaining.
_OBJECTS = re.compile(r"(?i)x-limit-([a-z-]+)-remaining")


def read_quotas(headers: Mapping[str, str]) -> dict[str, Quota]:
    """Return the limits by name: ``requests``, or the kind of object (``hosts-per-property``)."""
    kinds = [(field, match[1]) for field in headers if (match := _OBJECTS.fullmatch(field))]
    objects = (
        QuotaFields(kind.lower(), f"X-Limit-{kind}-Limit", field, "") for field, kind in kinds
    )
    return quotas(headers, (*QUOTA_FIELDS, *CALLS, *objects))
