# SPDX-License-Identifier: Apache-2.0
"""Rules of flavors: everybody may choose from them, the operator makes them."""

from poppy.policies.base import ADMIN, READER, service_rule

RULES = (
    service_rule("cdn:flavors:list", READER, "List the flavors.", "GET /v1.0/flavors"),
    service_rule("cdn:flavors:get", READER, "See a flavor.", "GET /v1.0/flavors/{flavor_id}"),
    service_rule("cdn:flavors:create", ADMIN, "Define a flavor.", "POST /v1.0/flavors"),
    service_rule(
        "cdn:flavors:delete", ADMIN, "Remove a flavor.", "DELETE /v1.0/flavors/{flavor_id}"
    ),
)
