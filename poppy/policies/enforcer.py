# SPDX-License-Identifier: Apache-2.0
"""Evaluate the policy rules, including the operator's overrides."""

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import oslo_policy.policy
from oslo_config import cfg

from poppy import policies
from poppy.common import config, errors

#: Seconds that a decision is cached; a change of the policy file takes effect after this time.
MEMORY = 5.0
_MAX_REMEMBERED = 10_000


class Identity(NamedTuple):
    """The sender of a request, with the scope of its token."""

    project_id: str | None = None
    user_id: str | None = None
    roles: tuple[str, ...] = ()
    system_scope: str | None = None
    domain_id: str | None = None
    user_domain_id: str | None = None
    project_domain_id: str | None = None


class Policy:
    """The rules in effect.

    Decisions are cached briefly. oslo.policy checks the policy files for every decision, which
    takes longer than the rest of a GET in the transport. A decision depends only on the rule's
    name and the identity: the target is always the caller's own project.

    Args:
        rules: the rules of all routes, and the rules that they refer to.

    Raises:
        ConfigError: the policy file can't be found or read, or has invalid rules.
    """

    def __init__(
        self, conf: cfg.ConfigOpts, rules: Sequence[oslo_policy.policy.RuleDefault]
    ) -> None:
        self._enforcer = _enforcer(conf, rules)
        self._lock = threading.Lock()
        self._decisions: dict[tuple[str, Identity], bool] = {}
        self._forget_at = 0.0

    def allows(self, rule: str, who: Identity) -> bool:
        """Return whether ``who`` satisfies a rule. An unknown rule allows nothing.

        Raises:
            Exception: the policy file has changed and can't be read.
        """
        now = time.monotonic()
        if now >= self._forget_at or len(self._decisions) > _MAX_REMEMBERED:
            self._decisions = {}
            self._forget_at = now + MEMORY
        decisions = self._decisions
        decision = decisions.get((rule, who))
        if decision is None:
            with self._lock:
                decision = decisions[rule, who] = self._decide(rule, who)
        return decision

    def needs_project(self, rule: str) -> bool:
        """Return whether a rule requires a project-scoped token."""
        return self._enforcer.registered_rules[rule].scope_types == ["project"]

    def require(self, rules: Iterable[str]) -> None:
        """Check that rules are registered.

        Raises:
            ConfigError: a rule is not.
        """
        for rule in rules:
            if rule not in self._enforcer.registered_rules:
                raise errors.ConfigError(f"The policy rule {rule} is not registered")

    def _decide(self, rule: str, who: Identity) -> bool:
        credentials: dict[str, Any] = {**who._asdict(), "roles": list(who.roles)}
        target = {"project_id": who.project_id, "user_id": who.user_id}
        return bool(self._enforcer.enforce(rule, target, credentials))


def get_enforcer() -> oslo_policy.policy.Enforcer:
    """Return an enforcer for oslo.policy's commands; the entry point ``oslo.policy.enforcer``."""
    return _enforcer(config.load(), policies.list_rules())


def _enforcer(
    conf: cfg.ConfigOpts, rules: Sequence[oslo_policy.policy.RuleDefault]
) -> oslo_policy.policy.Enforcer:
    enforcer = oslo_policy.policy.Enforcer(conf)
    options = conf.oslo_policy
    place = conf.get_location("policy_file", group="oslo_policy")
    chosen = place is not None and place.location.name == "user"
    if chosen and conf.find_file(options.policy_file) is None:
        # oslo.policy would use the defaults, which may allow what the file forbids.
        raise errors.ConfigError(
            f"[oslo_policy] policy_file = {options.policy_file}: the file does not exist"
        )
    try:
        enforcer.register_defaults(rules)
        enforcer.load_rules()
        enforcer.check_rules(raise_on_violation=True)
    except Exception as exc:
        raise errors.ConfigError(f"[oslo_policy] the policy is invalid: {exc}") from exc
    return enforcer
