# SPDX-License-Identifier: Apache-2.0
"""Policy rules of flavors: tenants read them, operators define them."""

from poppy.policies.base import ADMIN, READER, service_rule

RULES = (
    service_rule("cdn:flavors:list", READER, "List the flavors.", "GET /v1.0/flavors"),
    service_rule("cdn:flavors:get", READER, "Show a flavor.", "GET /v1.0/flavors/{flavor_id}"),
    service_rule("cdn:flavors:create", ADMIN, "Define a flavor.", "POST /v1.0/flavors"),
    service_rule(
        "cdn:flavors:delete", ADMIN, "Delete a flavor.", "DELETE /v1.0/flavors/{flavor_id}"
    ),
)
