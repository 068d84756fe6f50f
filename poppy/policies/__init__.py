# SPDX-License-Identifier: Apache-2.0
"""The API's policy rules, for oslo.policy.

A route declares its rule, and :class:`poppy.policies.enforcer.Policy` evaluates it. Operators
override rules in ``policy.yaml``.
"""

from oslo_policy.policy import RuleDefault

from poppy.common import driver
from poppy.policies import base


def list_rules() -> list[RuleDefault]:
    """Return the rules of all installed transports; the entry point ``oslo.policy.policies``."""
    transports = driver.classes("transport").values()
    return [*base.RULES, *(rule for transport in transports for rule in transport.rules())]
