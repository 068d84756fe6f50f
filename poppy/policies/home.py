# SPDX-License-Identifier: Apache-2.0
"""The policy rule of the home document."""

from poppy.policies.base import READER, service_rule

RULES = (service_rule("cdn:home:get", READER, "Show the home document.", "GET /v1.0"),)
