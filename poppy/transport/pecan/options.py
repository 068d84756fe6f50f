# SPDX-License-Identifier: Apache-2.0
"""Options of the REST API that have their own groups: limits and the dashboard."""

from collections.abc import Sequence

from oslo_config import cfg

from poppy.common.config import LIMITS_GROUP as LIMITS_GROUP
from poppy.transport.pecan import rate_limit

LIMITS_OPTS: Sequence[cfg.Opt] = (
    cfg.IntOpt(
        "max_services_per_page",
        default=20,
        min=1,
        max=1000,
        help="The largest limit that a client may request when it lists services. A page is read "
        "and rendered as a whole, so large pages delay other requests.",
    ),
    cfg.BoolOpt(
        "purge_without_query_is_all",
        default=False,
        help="Treat a purge (DELETE .../assets) without url and all as all=true, as clients of "
        "2016 such as gophercloud send it. Otherwise it is refused with 400, so that a forgotten "
        "or misspelt parameter never empties the caches of a whole service.",
    ),
    *rate_limit.OPTS,
)

DASHBOARD_GROUP = "drivers:transport:dashboard"

DASHBOARD_OPTS: Sequence[cfg.Opt] = (
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Serve the read-only operator dashboard at /dashboard. It shows services, "
        "operations, workers and providers. The policy rule cdn:dashboard:get controls access.",
    ),
    cfg.StrOpt(
        "password",
        secret=True,
        help="The password that operators sign in with, at least 12 characters; only with "
        "auth_strategy = noauth. If it is set, the dashboard requires it. If it is not, sign-in "
        "is disabled, and your own auth middleware controls access with X-Project-ID and X-Roles.",
    ),
    cfg.IntOpt(
        "session_lifetime",
        default=28800,
        min=60,
        max=604800,
        help="Seconds until an operator has to sign in again. (A Keystone token may expire "
        "earlier.)",
    ),
    cfg.IntOpt(
        "refresh",
        default=5,
        min=1,
        max=3600,
        help="Seconds between refreshes of an open page.",
    ),
)
