# SPDX-License-Identifier: Apache-2.0
"""The API's policy rules, for oslo.policy.

A handler names its rule (``@handler("cdn:services:list")``), a module here defines it, and
:class:`poppy.policies.enforcer.Policy` evaluates it. Operators override rules in ``policy.yaml``.
"""

from poppy.policies import admin, akamai, base, certificates, dashboard, flavors, home, services

_MODULES = (base, home, flavors, services, certificates, admin, akamai, dashboard)


def list_rules() -> list[base.Rule]:
    """Return all rules; the entry point ``oslo.policy.policies``."""
    return [rule for module in _MODULES for rule in module.RULES]
