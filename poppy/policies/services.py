# SPDX-License-Identifier: Apache-2.0
"""Policy rules of services. The store, not the policy, limits them to the caller's project."""

from poppy.policies.base import MEMBER, READER, project_rule

_SERVICE = "/v1.0/services/{service_id}"

RULES = (
    project_rule(
        "cdn:services:list", READER, "List the project's services.", "GET /v1.0/services"
    ),
    project_rule("cdn:services:get", READER, "Show a service.", f"GET {_SERVICE}"),
    project_rule("cdn:services:create", MEMBER, "Create a service.", "POST /v1.0/services"),
    project_rule("cdn:services:update", MEMBER, "Change a service.", f"PATCH {_SERVICE}"),
    project_rule("cdn:services:delete", MEMBER, "Delete a service.", f"DELETE {_SERVICE}"),
    project_rule(
        "cdn:services:purge",
        MEMBER,
        "Purge cached content of a service.",
        f"DELETE {_SERVICE}/assets",
    ),
    project_rule(
        "cdn:services:analytics",
        READER,
        "Show the analytics of a service.",
        f"GET {_SERVICE}/analytics",
    ),
    project_rule(
        "cdn:operations:list",
        READER,
        "List the operations of a service.",
        f"GET {_SERVICE}/operations",
    ),
    project_rule(
        "cdn:operations:get",
        READER,
        "Show an operation.",
        f"GET {_SERVICE}/operations/{{operation_id}}",
    ),
    project_rule(
        "cdn:operations:action",
        MEMBER,
        "Cancel a waiting operation of the project.",
        f"POST {_SERVICE}/operations/{{operation_id}}/action",
    ),
)
