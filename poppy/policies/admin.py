# SPDX-License-Identifier: Apache-2.0
"""Rules of what operators do to, and see of, every project."""

from poppy.policies.base import ADMIN, AUDITOR, service_rule

_ADMIN = "/v1.0/admin"

RULES = (
    service_rule(
        "cdn:admin_services:list",
        AUDITOR,
        "List the services of all projects by status.",
        f"GET {_ADMIN}/services",
    ),
    service_rule(
        "cdn:admin_services:action",
        ADMIN,
        "Enable, disable or delete the services of a project, or the one with a domain.",
        f"POST {_ADMIN}/services/action",
    ),
    service_rule(
        "cdn:admin_services:set_status",
        ADMIN,
        "Say what became of a service.",
        f"POST {_ADMIN}/services/status",
    ),
    service_rule(
        "cdn:admin_services:set_provider_details",
        ADMIN,
        "Say where the name of a domain points.",
        f"PATCH {_ADMIN}/services/provider_details/{{service_id}}",
    ),
    service_rule(
        "cdn:admin_domains:list",
        AUDITOR,
        "List the domains that a provider serves by a name.",
        f"GET {_ADMIN}/domains",
    ),
    service_rule(
        "cdn:admin_domains:get",
        AUDITOR,
        "See the service that has a domain.",
        f"GET {_ADMIN}/domains/{{domain}}",
    ),
    service_rule(
        "cdn:admin_limits:get",
        AUDITOR,
        "See how many services a project may have.",
        f"GET {_ADMIN}/limits/{{project_id}}",
    ),
    service_rule(
        "cdn:admin_limits:update",
        ADMIN,
        "Say how many services a project may have.",
        f"PUT {_ADMIN}/limits/{{project_id}}",
    ),
    service_rule(
        "cdn:admin_certificates:list",
        AUDITOR,
        "List the orders for certificates of all projects by status.",
        f"GET {_ADMIN}/certificates",
    ),
    service_rule(
        "cdn:admin_certificates:update",
        ADMIN,
        "Say what became of a certificate.",
        f"PATCH {_ADMIN}/certificates/{{domain}}",
    ),
    service_rule(
        "cdn:admin_operations:list",
        AUDITOR,
        "List the unfinished and the failed operations of all projects.",
        f"GET {_ADMIN}/operations",
    ),
    service_rule(
        "cdn:admin_operations:action",
        ADMIN,
        "Retry or cancel an operation.",
        f"POST {_ADMIN}/operations/{{operation_id}}/action",
    ),
)
