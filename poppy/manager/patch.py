# SPDX-License-Identifier: Apache-2.0
"""Applying a JSON Patch (RFC 6902) that a stranger wrote."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch
import jsonpointer

from poppy.common import errors


def apply(document: Mapping[str, Any], operations: Sequence[Mapping[str, Any]], most: int) -> Any:
    """The patched copy of ``document``. Neither argument is changed.

    The work is bounded by the length of the patch and ``most``: a value that is added or compared
    stands in the patch, and what is copied is counted.

    Args:
        operations: a patch that :func:`poppy.model.validation.patch` accepted.
        most: bytes of JSON that all copies together may have.

    Raises:
        InvalidRequest: an operation can't be applied; says which and why.
    """
    result: Any = json.loads(json.dumps(document))
    copied = 0
    # The library puts the very values of the patch into the document.
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
            # The library lets Python's own errors through where a path leads into a scalar.
            raise errors.InvalidRequest(
                f"[{number}]-can't {operation['op']} {operation['path'][:100]}: {str(exc)[:200]}"
            ) from exc
    return result


def _value(document: Any, pointer: str) -> Any:
    found = jsonpointer.resolve_pointer(document, pointer)
    if isinstance(found, jsonpointer.EndOfList):
        raise jsonpointer.JsonPointerException("there is nothing at the end of a list")
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
