# SPDX-License-Identifier: Apache-2.0
"""The API's policy rules, for oslo.policy.

A handler names its rule (``@handler("cdn:services:list")``), a module here defines it, and
:class:`poppy.policies.enforcer.Policy` evaluates it. Operators override rules in ``policy.yaml``.
Extensions add their own rules (:mod:`poppy.extensions.base`).
"""

from poppy.extensions.base import installed
from poppy.policies import admin, base, certificates, dashboard, flavors, home, services

_API = (base, home, flavors, services, certificates, admin)


def list_rules() -> list[base.Rule]:
    """Return all rules; the entry point ``oslo.policy.policies``."""
    return [
        *(rule for module in _API for rule in module.RULES),
        *(rule for extension in installed().values() for rule in extension.rules()),
        *dashboard.RULES,
    ]
