# SPDX-License-Identifier: Apache-2.0
"""Rules of certificates that are ordered by themselves; of one's own project, or see
``cdn:all_projects``.
"""

from poppy.policies.base import MEMBER, READER, service_rule

_ONE = "/v1.0/ssl_certificate/{domain}"

RULES = (
    service_rule(
        "cdn:certificates:create", MEMBER, "Order a certificate.", "POST /v1.0/ssl_certificate"
    ),
    service_rule("cdn:certificates:get", READER, "See an order.", f"GET {_ONE}"),
    service_rule("cdn:certificates:delete", MEMBER, "Give a certificate up.", f"DELETE {_ONE}"),
)
