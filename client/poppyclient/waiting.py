# SPDX-License-Identifier: Apache-2.0
"""Following an operation to its end."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from osc_lib import exceptions

from poppyclient import api

_ENDED = ("succeeded", "failed", "superseded")
#: Seconds between two looks.
_PAUSES = (0.2, 0.5, 1.0, 2.0)
#: Among so many of the latest operations ours is looked for.
_LATEST = 20


def follow(
    client: api.Client,
    service_id: str,
    action: str,
    request_id: str | None,
    timeout: float,
    out: TextIO | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until what was asked of a service is done, and tell whatever changes meanwhile.

    Args:
        action: ``create``, ``update``, ``delete`` or ``purge``.
        request_id: of the request that asked for it. If its answer was lost, another one's: then
            it is the latest operation of that action.
        timeout: seconds.
        out: where to tell; the standard error by default.

    Raises:
        CommandError: it failed, was superseded, or takes longer.
    """
    out = out or sys.stderr
    deadline = time.monotonic() + timeout
    last = ""
    looks = 0
    while True:
        operation = _find(client, service_id, action, request_id)
        text = progress(operation)
        if text != last:
            print(text, file=out, flush=True)
            last = text
            looks = 0
        if operation["state"] in _ENDED:
            break
        pause = _PAUSES[min(looks, len(_PAUSES) - 1)]
        looks += 1
        if time.monotonic() + pause > deadline:
            raise exceptions.CommandError(
                f"The {action} of service {service_id} is not done after {timeout:g} s. It goes "
                f"on; operation {operation['id']} tells how far it is"
            )
        sleep(pause)
    if operation["state"] != "succeeded":
        why = operation["reason"] or operation["state"]
        raise exceptions.CommandError(f"The {action} of service {service_id} failed: {why}")


def progress(operation: Mapping[str, Any]) -> str:
    """How far it is, in a line."""
    steps = [f"{step_name(step)} {step['state']}" for step in operation["steps"]]
    text = f"{operation['action']} {operation['state']}"
    if steps:
        text += f": {', '.join(steps)}"
    if operation["state"] == "waiting" and operation["reason"]:
        text += f" ({operation['reason']}; next try {operation['next_attempt_at']})"
    return text


def step_name(step: Mapping[str, Any]) -> str:
    """Whose step it is: a provider's, or that of another part such as DNS."""
    name = str(step["provider"] or step["driver"])
    return f"remove from {name}" if step["action"] == "remove" else name


def _find(
    client: api.Client, service_id: str, action: str, request_id: str | None
) -> Mapping[str, Any]:
    found = [
        operation
        for operation in client.operations(service_id, _LATEST)
        if operation["action"] == action
    ]
    if not found:
        raise exceptions.CommandError(f"Service {service_id} has no {action} to wait for")
    ours = [operation for operation in found if operation["request_id"] == request_id]
    return (ours or found)[0]
