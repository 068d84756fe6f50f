# SPDX-License-Identifier: Apache-2.0
"""Waiting for an operation to end."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

from osc_lib import exceptions

from poppyclient import api

_ENDED = ("succeeded", "failed", "superseded")
#: Seconds between polls.
_PAUSES = (0.2, 0.5, 1.0, 2.0)
#: How many of the latest operations are searched for ours.
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
    """Wait until an operation of a service ends, and print its progress.

    Args:
        action: ``create``, ``update``, ``delete`` or ``purge``.
        request_id: id of the request that started the operation. If no operation has it (its
            response was lost), the latest operation of this action is followed.
        timeout: the maximum time to wait, in seconds.
        out: where to print progress; standard error by default.

    Raises:
        CommandError: the operation failed, was superseded, or did not end in time.
    """
    out = out or sys.stderr
    deadline = time.monotonic() + timeout
    operation: Mapping[str, Any] = {}
    try:
        for operation in _changes(client, service_id, action, request_id, sleep, deadline):
            print(progress(operation), file=out, flush=True)
    except KeyboardInterrupt:
        print(_continues(service_id, action, operation), file=out, flush=True)
        raise
    if operation["state"] not in _ENDED:
        raise exceptions.CommandError(
            f"The {action} of service {service_id} is not done after {timeout:g} s. "
            + _continues(service_id, action, operation)
        )
    if operation["state"] != "succeeded":
        why = operation["reason"] or operation["state"]
        raise exceptions.CommandError(f"The {action} of service {service_id} failed: {why}")


def _changes(
    client: api.Client,
    service_id: str,
    action: str,
    request_id: str | None,
    sleep: Callable[[float], None],
    deadline: float,
) -> Iterator[Mapping[str, Any]]:
    """Yield the operation at first, and whenever its progress has changed, until it ends."""
    last = ""
    looks = 0
    while True:
        operation = _find(client, service_id, action, request_id)
        text = progress(operation)
        if text != last:
            yield operation
            last = text
            looks = 0
        pause = _PAUSES[min(looks, len(_PAUSES) - 1)]
        looks += 1
        if operation["state"] in _ENDED or time.monotonic() + pause > deadline:
            return
        sleep(pause)


def _continues(service_id: str, action: str, operation: Mapping[str, Any]) -> str:
    """Return how to see the rest of an operation that is no longer followed."""
    if not operation:
        return f'The {action} continues. To see it: "operation list {service_id}"'
    operation_id = operation["id"]
    return (
        f"It continues as operation {operation_id}. "
        f'To see it: "operation show {service_id} {operation_id}"'
    )


def progress(operation: Mapping[str, Any]) -> str:
    """Describe an operation's progress in one line."""
    steps = [f"{step_name(step)} {step['state']}" for step in operation["steps"]]
    text = f"{operation['action']} {operation['state']}"
    if steps:
        text += f": {', '.join(steps)}"
    if operation["state"] == "waiting" and operation["reason"]:
        text += f" ({operation['reason']}; next try {operation['next_attempt_at']})"
    return text


def step_name(step: Mapping[str, Any]) -> str:
    """Return the name of a step: the provider, or another driver such as DNS."""
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
