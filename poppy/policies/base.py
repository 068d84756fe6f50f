# SPDX-License-Identifier: Apache-2.0
"""The personas of the policy, and helpers to define rules.

The personas use Keystone's roles ``admin``, ``member`` and ``reader``, each of which implies the
next. The rules list every sufficient role, so they also work without implied roles.
"""

from typing import NamedTuple

from oslo_policy import policy

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


class Rule(NamedTuple):
    """The policy rule of one or more routes.

    Attributes:
        scopes: the allowed scopes of tokens.
    """

    name: str
    check: str
    description: str
    scopes: tuple[str, ...]


def project_rule(name: str, check: str, description: str = "") -> Rule:
    """Return a rule for resources of a project; it requires a project-scoped token.

    Args:
        check: the required persona.
        description: what it allows; by default the summary of its first route.
    """
    return Rule(name, check, description, ("project",))


def service_rule(name: str, check: str, description: str = "") -> Rule:
    """Return a rule for resources outside of projects; project or system scope is allowed."""
    return Rule(name, check, description, ("system", "project"))
