# SPDX-License-Identifier: Apache-2.0
"""A request passes through few modules, so that a reader can follow it."""

import contextlib
import pathlib
import sys

import webtest

import poppy as package
from tests.functional.harness import PROJECT

ROOT = pathlib.Path(package.__file__).parent

#: Lower it when modules are merged; the goal is 18.
MOST = 35


@contextlib.contextmanager
def walked(first, last):
    """Yield the set of modules that are entered between two functions: (module, function)."""
    entered, active = set(), False

    def enter(frame, event, _arg):
        nonlocal active
        path = pathlib.PurePath(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(ROOT):
            return
        module, function = str(path.relative_to(ROOT)), frame.f_code.co_name
        active = active or (module, function) == first
        if active:
            entered.add(module)
        active = active and (module, function) != last

    sys.setprofile(enter)
    try:
        yield entered
    finally:
        sys.setprofile(None)


def test_post_of_a_service_passes_few_modules_from_handler_to_store(poppy):
    app = webtest.TestApp(poppy.boot.transport.application)
    headers = {"X-Project-ID": PROJECT}
    first = ("transport/pecan/controllers/services.py", "_create")
    last = ("storage/sqlalchemy/services.py", "create")
    app.post_json("/v1.0/services", poppy.document("www.a.com"), headers=headers, status=202)
    document = poppy.document("www.b.com")
    with walked(first, last) as entered:
        app.post_json("/v1.0/services", document, headers=headers, status=202)
    assert {first[0], last[0]} <= entered
    assert len(entered) <= MOST, "\n".join(sorted(entered))
