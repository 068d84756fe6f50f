# SPDX-License-Identifier: Apache-2.0
"""Decides by the rules, and by what the operator's policy file makes of them."""

import threading
import time
from typing import Any, NamedTuple

import oslo_policy.policy
from oslo_config import cfg

from poppy import policies
from poppy.common import config, errors

#: Seconds that a decision is remembered, and a change of the policy file may go unnoticed.
MEMORY = 5.0
_MAX_REMEMBERED = 10_000


class Identity(NamedTuple):
    """Who sends a request, and for what the token is good."""

    project_id: str | None = None
    user_id: str | None = None
    roles: tuple[str, ...] = ()
    system_scope: str | None = None
    domain_id: str | None = None
    user_domain_id: str | None = None
    project_domain_id: str | None = None


class Policy:
    """The rules in force.

    Asking oslo.policy takes longer than all else that a GET needs from the transport (it looks
    at the policy files each time, so that a change counts at once), so its decisions are
    remembered for a moment. A rule sees nothing but the rule's name and the identity: its target
    is the caller's own project.

    Raises:
        ConfigError: the policy file can't be found or read, or has rules that can't work.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._enforcer = _enforcer(conf)
        self._lock = threading.Lock()
        self._decisions: dict[tuple[str, Identity], bool] = {}
        self._forget_at = 0.0

    def allows(self, rule: str, who: Identity) -> bool:
        """Whether ``who`` may do what the rule is about; never for a rule that there is none of.

        Raises:
            Exception: the policy file was changed to something that can't be read.
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
        """Whether the rule is about what belongs to a project."""
        return self._enforcer.registered_rules[rule].scope_types == ["project"]

    def _decide(self, rule: str, who: Identity) -> bool:
        credentials: dict[str, Any] = {**who._asdict(), "roles": list(who.roles)}
        target = {"project_id": who.project_id, "user_id": who.user_id}
        return bool(self._enforcer.enforce(rule, target, credentials))


def get_enforcer() -> oslo_policy.policy.Enforcer:
    """For oslo.policy's own commands; the entry point ``oslo.policy.enforcer``."""
    return _enforcer(config.load())


def _enforcer(conf: cfg.ConfigOpts) -> oslo_policy.policy.Enforcer:
    enforcer = oslo_policy.policy.Enforcer(conf)
    enforcer.register_defaults(policies.list_rules())
    options = conf.oslo_policy
    place = conf.get_location("policy_file", group="oslo_policy")
    chosen = place is not None and place.location.name == "user"
    if chosen and conf.find_file(options.policy_file) is None:
        # oslo.policy would go on with the defaults, which may allow what the file forbids.
        raise errors.ConfigError(
            f"[oslo_policy] policy_file = {options.policy_file}: there is no such file"
        )
    try:
        enforcer.load_rules()
        enforcer.check_rules(raise_on_violation=True)
    except Exception as exc:
        raise errors.ConfigError(f"[oslo_policy] the policy can't be used: {exc}") from exc
    return enforcer
