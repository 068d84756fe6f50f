# SPDX-License-Identifier: Apache-2.0
"""Application of an untrusted JSON Patch (RFC 6902)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch
import jsonpointer

from poppy.common import errors


def apply(document: Mapping[str, Any], operations: Sequence[Mapping[str, Any]], most: int) -> Any:
    """Return a patched copy of ``document``; neither argument is changed.

    The work is bounded by the length of the patch and ``most``: values to add or compare are part
    of the patch, and copied values are counted.

    Args:
        document: the document.
        operations: a patch that :func:`poppy.model.validation.patch` has accepted.
        most: the maximum size of all copies together, in bytes of JSON.

    Raises:
        InvalidRequest: an operation can't be applied; the message names it and the reason.
    """
    result: Any = json.loads(json.dumps(document))
    copied = 0
    # Copy the patch: the library puts its values into the document by reference.
    for number, operation in enumerate(json.loads(json.dumps(operations))):
        try:
            if operation["op"] == "test":
                _test(result, operation)
                continue
            if operation["op"] == "copy":
                copied += len(json.dumps(_value(result, operation["from"])))
                if copied > most:
                    raise errors.InvalidRequest(
                        f"[{number}]-the patch copies more than {most} bytes"
                    )
            result = jsonpatch.apply_patch(result, [operation], in_place=True)
        except jsonpatch.JsonPatchTestFailed as exc:
            raise errors.InvalidRequest(
                f"[{number}]-the test of {operation['path'][:100]} failed"
            ) from exc
        except (
            jsonpatch.JsonPatchException,
            jsonpointer.JsonPointerException,
            TypeError,
            ValueError,
            LookupError,
            RecursionError,
        ) as exc:
            # The library raises Python's own errors for a path into a scalar.
            # One of the messages quotes the document, which may have a new secret by now.
            reason = str(exc).partition(" not found in ")
            raise errors.InvalidRequest(
                f"[{number}]-can't {operation['op']} {operation['path'][:100]}:"
                f" {reason[0][:200]}{' not found' if reason[1] else ''}"
            ) from None
    return result


def _value(document: Any, pointer: str) -> Any:
    found = jsonpointer.resolve_pointer(document, pointer)
    if isinstance(found, jsonpointer.EndOfList):
        raise jsonpointer.JsonPointerException("there is no value at the end of a list")
    return found


def _test(document: Any, operation: Mapping[str, Any]) -> None:
    if not _same(_value(document, operation["path"]), operation["value"]):
        raise jsonpatch.JsonPatchTestFailed


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal (RFC 6902, section 4.6); for Python, True equals 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _same(value, other[key]) for key, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
