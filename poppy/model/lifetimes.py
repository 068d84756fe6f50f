# SPDX-License-Identifier: Apache-2.0
"""How long edges keep responses, in seconds: the same wherever a provider lets a driver choose."""

#: For a response without a lifetime, on a path without a caching rule.
DEFAULT_TTL = 120
#: The maximum that a caching rule keeps "not found" (404 and 410).
MISSING_TTL = 60
