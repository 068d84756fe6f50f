# SPDX-License-Identifier: Apache-2.0
"""Applying a JSON Patch (RFC 6902) that a stranger wrote."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch
import jsonpointer

from poppy.common import errors

#: A "copy" can double a document, so a short patch could make it fill the memory.
MAX_LENGTH = 512 * 1024


def apply(document: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> Any:
    """The patched copy of ``document``.

    Args:
        operations: a patch that :func:`poppy.model.validation.patch` accepted.

    Raises:
        InvalidRequest: an operation can't be applied; says which and why.
    """
    result: Any = json.loads(json.dumps(document))
    for number, operation in enumerate(operations):
        try:
            result = jsonpatch.apply_patch(result, [operation], in_place=True)
        except jsonpatch.JsonPatchTestFailed as exc:
            raise errors.InvalidRequest(
                f"[{number}]-the test of {operation['path']} failed"
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
                f"[{number}]-can't {operation['op']} {operation['path']}: {exc}"
            ) from exc
        if operation["op"] == "copy" and len(json.dumps(result)) > MAX_LENGTH:
            raise errors.InvalidRequest(f"[{number}]-the patched document is too large")
    return result
