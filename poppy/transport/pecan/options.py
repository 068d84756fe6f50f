# SPDX-License-Identifier: Apache-2.0
"""Options of parts of the REST API that have a group of their own."""

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
        help="The largest limit that a client may ask for when it lists services. A page is "
        "read and rendered as a whole, so large pages delay other requests.",
    ),
    cfg.BoolOpt(
        "purge_without_query_is_all",
        default=False,
        help="Read a purge (DELETE .../assets) without url and all as all=true, as clients of "
        "2016 such as gophercloud send it. Otherwise it is refused with 400: a parameter that "
        "was forgotten or misspelt then never empties the caches of a whole service.",
    ),
    *rate_limit.OPTS,
)

DASHBOARD_GROUP = "drivers:transport:dashboard"

DASHBOARD_OPTS: Sequence[cfg.Opt] = (
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Serve pages for operators at /dashboard, which show services, operations, workers "
        "and providers, and change nothing. They are for whom the policy allows "
        "cdn:dashboard:get.",
    ),
    cfg.StrOpt(
        "password",
        secret=True,
        help="The password that operators sign in with, 12 characters or more; only with "
        "auth_strategy = noauth. If it is set, the pages are shown to nobody else. If it is "
        "not, sign-in is off, and the pages are shown to whom your own auth middleware lets "
        "through, by X-Project-ID and X-Roles.",
    ),
    cfg.IntOpt(
        "session_lifetime",
        default=28800,
        min=60,
        max=604800,
        help="Seconds after which an operator has to sign in again. (A Keystone token may end "
        "before that.)",
    ),
    cfg.IntOpt(
        "refresh",
        default=5,
        min=1,
        max=3600,
        help="Seconds between looks of an open page.",
    ),
)
