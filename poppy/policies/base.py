# SPDX-License-Identifier: Apache-2.0
"""The personas, and how rules for them are made.

Keystone's own roles, each of which implies the next: ``admin``, ``member``, ``reader``. The rules
name all that are enough, so that they also hold where roles imply nothing.
"""

from typing import Any

from oslo_policy import policy

Rule = policy.RuleDefault

READER = "rule:cdn:reader"
MEMBER = "rule:cdn:member"
ADMIN = "rule:cdn:admin"
AUDITOR = "rule:cdn:auditor"
#: What decides whether a handler shows more than the caller's own project.
ALL_PROJECTS = "cdn:all_projects"

RULES = (
    policy.RuleDefault(
        "cdn:admin",
        "role:admin",
        "The operator: changes what belongs to no tenant, and looks at every tenant's services.",
    ),
    policy.RuleDefault(
        "cdn:auditor",
        "(role:reader and system_scope:all) or rule:cdn:admin",
        "An auditor: reads what operators read, in /v1.0/admin and on the dashboard, and changes "
        "nothing. A token on the system with the role reader is enough.",
    ),
    policy.RuleDefault(
        "cdn:member",
        "role:member or rule:cdn:admin",
        "A tenant: changes the services of its project.",
    ),
    policy.RuleDefault(
        "cdn:reader",
        "role:reader or rule:cdn:member",
        "Looks at the services of its project, and changes nothing.",
    ),
    policy.RuleDefault(
        ALL_PROJECTS,
        "rule:cdn:admin and not role:noauth",
        "Reaches the certificates of any project. The role noauth is that of a client which, "
        "without Keystone, does not say which roles it has: a tenant, for all we know.",
    ),
)


def project_rule(name: str, who: str, what: str, *operations: str) -> policy.DocumentedRuleDefault:
    """A rule about what belongs to a project: the token must be for one, and is for that only.

    Args:
        who: the persona that it takes.
        operations: what it rules, as ``GET /v1.0/services``.
    """
    return _rule(name, who, what, operations, ["project"])


def service_rule(name: str, who: str, what: str, *operations: str) -> policy.DocumentedRuleDefault:
    """A rule about what belongs to no project: the token may be for a project or the system."""
    return _rule(name, who, what, operations, ["system", "project"])


def _rule(
    name: str, who: str, what: str, operations: tuple[str, ...], scopes: list[str]
) -> policy.DocumentedRuleDefault:
    pairs = [operation.split(" ", 1) for operation in operations]
    documented: Any = [{"method": method, "path": path} for method, path in pairs]
    return policy.DocumentedRuleDefault(name, who, what, documented, scope_types=scopes)
