# SPDX-License-Identifier: Apache-2.0
"""Policy rules of certificate orders of the caller's project; see also ``cdn:all_projects``."""

from poppy.policies.base import MEMBER, READER, service_rule

_ONE = "/v1.0/ssl_certificate/{domain}"

RULES = (
    service_rule(
        "cdn:certificates:create", MEMBER, "Order a certificate.", "POST /v1.0/ssl_certificate"
    ),
    service_rule("cdn:certificates:get", READER, "Show a certificate order.", f"GET {_ONE}"),
    service_rule("cdn:certificates:delete", MEMBER, "Delete a certificate.", f"DELETE {_ONE}"),
)
