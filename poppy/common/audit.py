# SPDX-License-Identifier: Apache-2.0
"""Audit events: who did what to which resource, and with which outcome.

Each event is one line of JSON in the logger ``poppy.audit``. The format is the Cloud Auditing Data
Federation (CADF, DMTF DSP0262), which OpenStack's services and log collectors share. Events hold
only names and ids: no documents, header fields or tokens.
"""

import functools
import json
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from oslo_config import cfg
from oslo_log import log

LOG = log.getLogger("poppy.audit")

GROUP = "audit"

OPTS = (
    cfg.BoolOpt(
        "enabled",
        default=True,
        help="Write an audit event (CADF, one line of JSON) to the logger poppy.audit for every "
        "request that changes something or is refused, for every sign-in to the dashboard, and "
        "for every poppy-manage command.",
    ),
)

#: Maximum characters of a request's value in an event.
MAX_VALUE = 256


class Initiator(NamedTuple):
    """The actor of an event.

    Attributes:
        user_id: the Keystone user id; None if only the project is known.
        project_id: the project of the credentials.
        address: the client's IP address, or the host of a command.
        agent: the client's User-Agent or program name.
    """

    user_id: str | None = None
    project_id: str | None = None
    address: str | None = None
    agent: str | None = None


class Target(NamedTuple):
    """The resource of an event.

    Attributes:
        kind: a plural noun, such as ``services``.
        id: the resource's id; None if the action affects all of them.
        details: further names by which an auditor can find the event.
    """

    kind: str
    id: str | None = None
    details: Mapping[str, str] = {}


def record(
    action: str, outcome: str, initiator: Initiator, target: Target, reason: str = ""
) -> None:
    """Write an event.

    Args:
        action: starts with a term of CADF's action taxonomy, such as ``update/purge``.
        outcome: ``success``, ``pending`` or ``failure``.
        reason: the HTTP status or exit status.
    """
    LOG.info("%s", json.dumps(event(action, outcome, initiator, target, reason), sort_keys=True))


def event(
    action: str, outcome: str, initiator: Initiator, target: Target, reason: str
) -> dict[str, Any]:
    """Return an event as a JSON document (DSP0262, section 6)."""
    # Imported here, so that a process without audit events does not load it.
    from pycadf import attachment, cadftaxonomy, host, resource
    from pycadf import event as cadf
    from pycadf import reason as cadf_reason

    name = _short(initiator.user_id or initiator.project_id or "unknown")
    who = resource.Resource(
        id=_identifier(name),
        name=name,
        typeURI=cadftaxonomy.ACCOUNT_USER,
        host=host.Host(
            address=_short(initiator.address or "unknown"),
            agent=_short(initiator.agent) if initiator.agent else None,
        ),
    )
    if initiator.project_id:
        who.project_id = _short(initiator.project_id)
    named = _short(target.id or target.kind)
    what = resource.Resource(
        id=_identifier(named), name=named, typeURI=f"service/cdn/{target.kind}"
    )
    made = cadf.Event(
        action=action,
        outcome=outcome,
        initiator=who,
        target=what,
        observer=_observer(),
        reason=cadf_reason.Reason(reasonType="HTTP", reasonCode=reason) if reason else None,
    )
    for name, value in target.details.items():
        made.add_attachment(attachment.Attachment("string", _short(value), name))
    return dict(made.as_dict())


@functools.cache
def _observer() -> Any:
    from pycadf import resource

    return resource.Resource(id=_identifier("poppy"), typeURI="service/cdn", name="poppy")


def _identifier(name: str) -> str:
    """Return a UUID, which CADF requires; equal names give equal UUIDs."""
    try:
        uuid.UUID(name)
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"poppy:{name}"))
    return name


def _short(text: str) -> str:
    return text[:MAX_VALUE]
