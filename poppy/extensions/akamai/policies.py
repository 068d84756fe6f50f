# SPDX-License-Identifier: Apache-2.0
"""Policy rules of the Akamai driver's queues, settings and jobs."""

from poppy.policies.base import ADMIN, AUDITOR, service_rule

_AKAMAI = "/v1.0/admin/provider/akamai"
_MAPPING = f"{_AKAMAI}/background_job/san_mapping"
_RETRY = f"{_AKAMAI}/ssl_certificate/retry_list"
_SAN = f"{_AKAMAI}/ssl_certificate/config/{{name}}"
_SNI = f"{_AKAMAI}/ssl_certificate/sni_config/{{name}}"

RULES = (
    service_rule(
        "cdn:admin_akamai:migrate",
        ADMIN,
        "Move a domain to another certificate.",
        f"POST {_AKAMAI}/service",
    ),
    service_rule(
        "cdn:admin_akamai:run", ADMIN, "Run a background job.", f"POST {_AKAMAI}/background_job"
    ),
    service_rule(
        "cdn:admin_akamai:get_queue",
        AUDITOR,
        "Show the queues of domains for background jobs.",
        f"GET {_MAPPING}",
        f"GET {_RETRY}",
    ),
    service_rule(
        "cdn:admin_akamai:update_queue",
        ADMIN,
        "Replace the queues of domains for background jobs.",
        f"PUT {_MAPPING}",
        f"PUT {_RETRY}",
    ),
    service_rule(
        "cdn:admin_akamai:retry",
        ADMIN,
        "Order certificates again.",
        f"POST {_RETRY}",
    ),
    service_rule(
        "cdn:admin_akamai:get_config",
        AUDITOR,
        "Show the settings of certificates.",
        f"GET {_SAN}",
        f"GET {_SNI}",
    ),
    service_rule(
        "cdn:admin_akamai:update_config",
        ADMIN,
        "Change the settings of certificates.",
        f"POST {_SAN}",
        f"POST {_SNI}",
    ),
)
