# SPDX-License-Identifier: Apache-2.0
"""Options of the API limits and the dashboard, which have their own groups."""

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
        help="The largest limit that a client may request when it lists services. Poppy reads "
        "and renders a page as a whole, so large pages delay other requests.",
    ),
    cfg.BoolOpt(
        "purge_without_query_is_all",
        default=False,
        help="Treat a purge (DELETE .../assets) without url and all as all=true, for clients "
        "of the 2016 API such as gophercloud. Otherwise it is refused with 400, so that a "
        "forgotten or misspelt parameter never purges a whole service.",
    ),
    *rate_limit.OPTS,
)

DASHBOARD_GROUP = "drivers:transport:dashboard"

DASHBOARD_OPTS: Sequence[cfg.Opt] = (
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Serve the operator dashboard at /dashboard. It shows services, operations, workers "
        "and providers, and is read-only. Access needs the policy rule cdn:dashboard:get.",
    ),
    cfg.StrOpt(
        "password",
        secret=True,
        help="The password that operators sign in with, at least 12 characters; only with "
        "auth_strategy = noauth. If it is set, the dashboard requires it. If it is not set, "
        "there is no sign-in: your own auth middleware controls access with X-Project-ID and "
        "X-Roles.",
    ),
    cfg.IntOpt(
        "session_lifetime",
        default=28800,
        min=60,
        max=604800,
        help="Seconds after which an operator must sign in again. (A Keystone token may expire "
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
