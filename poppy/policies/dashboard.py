# SPDX-License-Identifier: Apache-2.0
"""The policy rule of the dashboard."""

from poppy.policies.base import AUDITOR, service_rule

RULES = (
    service_rule(
        "cdn:dashboard:get",
        AUDITOR,
        "View the dashboard, which shows the services of all projects.",
        "GET /dashboard",
        "GET /dashboard/operations",
        "GET /dashboard/services",
        "GET /dashboard/services/{project_id}/{service_id}",
        "GET /dashboard/find",
    ),
)
