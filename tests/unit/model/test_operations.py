# SPDX-License-Identifier: Apache-2.0
"""Operations: conversion to stored documents and back."""

from poppy.model.operations import Operation
from poppy.testing.builders import make_operation, make_service


def test_operations_of_earlier_versions_are_read():
    stored = make_operation(make_service(), request_id="req-1").progress_to_dict()
    del stored["retried_at"], stored["trace"]
    known = Operation.progress_from_dict(stored)
    assert (known["request_id"], known["retried_at"], known["trace"]) == ("req-1", None, None)
