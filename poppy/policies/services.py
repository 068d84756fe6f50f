# SPDX-License-Identifier: Apache-2.0
"""Rules of services; which ones a project has is decided by the store, not here."""

from poppy.policies.base import MEMBER, READER, project_rule

_SERVICE = "/v1.0/services/{service_id}"

RULES = (
    project_rule(
        "cdn:services:list", READER, "List the project's services.", "GET /v1.0/services"
    ),
    project_rule("cdn:services:get", READER, "See a service.", f"GET {_SERVICE}"),
    project_rule("cdn:services:create", MEMBER, "Create a service.", "POST /v1.0/services"),
    project_rule("cdn:services:update", MEMBER, "Change a service.", f"PATCH {_SERVICE}"),
    project_rule("cdn:services:delete", MEMBER, "Delete a service.", f"DELETE {_SERVICE}"),
    project_rule(
        "cdn:services:purge",
        MEMBER,
        "Have cached content of a service purged.",
        f"DELETE {_SERVICE}/assets",
    ),
    project_rule(
        "cdn:services:analytics",
        READER,
        "See what providers have counted for a service.",
        f"GET {_SERVICE}/analytics",
    ),
    project_rule(
        "cdn:operations:list",
        READER,
        "List what was asked of a service.",
        f"GET {_SERVICE}/operations",
    ),
    project_rule(
        "cdn:operations:get",
        READER,
        "See how far an operation got.",
        f"GET {_SERVICE}/operations/{{operation_id}}",
    ),
    project_rule(
        "cdn:operations:action",
        MEMBER,
        "Cancel an operation of the project that waits.",
        f"POST {_SERVICE}/operations/{{operation_id}}/action",
    ),
)
