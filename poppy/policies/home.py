# SPDX-License-Identifier: Apache-2.0
"""Rules of the home document."""

from poppy.policies.base import READER, service_rule

RULES = (service_rule("cdn:home:get", READER, "See which resources there are.", "GET /v1.0"),)
