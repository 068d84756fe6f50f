# SPDX-License-Identifier: Apache-2.0
"""The personas of the policy, and helpers to define rules.

The personas use Keystone's roles ``admin``, ``member`` and ``reader``, each of which implies the
next. The rules list every sufficient role, so they also work without implied roles.
"""

from typing import Any

from oslo_policy import policy

Rule = policy.RuleDefault

READER = "rule:cdn:reader"
MEMBER = "rule:cdn:member"
ADMIN = "rule:cdn:admin"
AUDITOR = "rule:cdn:auditor"
#: The rule that lets a handler access other projects than the caller's.
ALL_PROJECTS = "cdn:all_projects"

RULES = (
    policy.RuleDefault(
        "cdn:admin",
        "role:admin",
        "Operator: manages resources outside of projects, and the services of all projects.",
    ),
    policy.RuleDefault(
        "cdn:auditor",
        "(role:reader and system_scope:all) or rule:cdn:admin",
        "Auditor: read-only access to /v1.0/admin and the dashboard. A system-scoped token with "
        "the reader role is sufficient.",
    ),
    policy.RuleDefault(
        "cdn:member",
        "role:member or rule:cdn:admin",
        "Tenant: manages the services of its project.",
    ),
    policy.RuleDefault(
        "cdn:reader",
        "role:reader or rule:cdn:member",
        "Reader: read-only access to the services of its project.",
    ),
    policy.RuleDefault(
        ALL_PROJECTS,
        "rule:cdn:admin and not role:noauth",
        "Access to the certificates of all projects. Without Keystone, a client that sends no "
        "roles gets the role noauth; it may be a tenant, so it is excluded.",
    ),
)


def project_rule(name: str, who: str, what: str, *operations: str) -> policy.DocumentedRuleDefault:
    """Return a rule for resources of a project; it requires a project-scoped token.

    Args:
        who: the required persona.
        operations: the requests that it covers, such as ``GET /v1.0/services``.
    """
    return _rule(name, who, what, operations, ["project"])


def service_rule(name: str, who: str, what: str, *operations: str) -> policy.DocumentedRuleDefault:
    """Return a rule for resources outside of projects; project or system scope is allowed."""
    return _rule(name, who, what, operations, ["system", "project"])


def _rule(
    name: str, who: str, what: str, operations: tuple[str, ...], scopes: list[str]
) -> policy.DocumentedRuleDefault:
    pairs = [operation.split(" ", 1) for operation in operations]
    documented: Any = [{"method": method, "path": path} for method, path in pairs]
    return policy.DocumentedRuleDefault(name, who, what, documented, scope_types=scopes)
