# SPDX-License-Identifier: Apache-2.0
"""Policy rules of the admin API, which covers all projects."""

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
        "Enable, disable or delete all services of a project, or the service of a domain.",
        f"POST {_ADMIN}/services/action",
    ),
    service_rule(
        "cdn:admin_services:set_status",
        ADMIN,
        "Set the status of a service.",
        f"POST {_ADMIN}/services/status",
    ),
    service_rule(
        "cdn:admin_services:set_provider_details",
        ADMIN,
        "Set the operator name and the provider's name of a domain.",
        f"PATCH {_ADMIN}/services/provider_details/{{service_id}}",
    ),
    service_rule(
        "cdn:admin_domains:list",
        AUDITOR,
        "List the domains with a given provider URL.",
        f"GET {_ADMIN}/domains",
    ),
    service_rule(
        "cdn:admin_domains:get",
        AUDITOR,
        "Show the service of a domain.",
        f"GET {_ADMIN}/domains/{{domain}}",
    ),
    service_rule(
        "cdn:admin_limits:get",
        AUDITOR,
        "Show the service limit of a project.",
        f"GET {_ADMIN}/limits/{{project_id}}",
    ),
    service_rule(
        "cdn:admin_limits:update",
        ADMIN,
        "Set the service limit of a project.",
        f"PUT {_ADMIN}/limits/{{project_id}}",
    ),
    service_rule(
        "cdn:admin_certificates:list",
        AUDITOR,
        "List the certificate orders of all projects by status.",
        f"GET {_ADMIN}/certificates",
    ),
    service_rule(
        "cdn:admin_certificates:update",
        ADMIN,
        "Set the status of a certificate.",
        f"PATCH {_ADMIN}/certificates/{{domain}}",
    ),
    service_rule(
        "cdn:admin_operations:list",
        AUDITOR,
        "List the unfinished and failed operations of all projects.",
        f"GET {_ADMIN}/operations",
    ),
    service_rule(
        "cdn:admin_operations:action",
        ADMIN,
        "Retry or cancel an operation.",
        f"POST {_ADMIN}/operations/{{operation_id}}/action",
    ),
)
