# SPDX-License-Identifier: Apache-2.0
"""The real application with a manager in memory, and a complete Poppy with poppy-manage."""

import pytest
import webtest

from poppy.common import config
from poppy.transport.pecan.driver import PecanTransport
from tests.functional import fakes
from tests.functional.commands import printed
from tests.functional.harness import Harness


@pytest.fixture
def conf():
    """A configuration that allows any host and makes clients without roles operators."""
    conf = config.new()
    conf([])
    conf.set_override("noauth_default_roles", ["admin", "member", "reader"])
    conf.set_override("allowed_hosts", ["*"])
    return conf


@pytest.fixture
def manager():
    return fakes.FakeManager()


@pytest.fixture
def make(conf, manager):
    """Make the application with options: make(name=value, ...)."""

    def make(lint=True, **options):
        first = PecanTransport(conf, "pecan", manager=manager)  # registers the options
        for name, value in options.items():
            group, _, option = name.rpartition("__")
            conf.set_override(option, value, group=GROUPS.get(group))
        transport = PecanTransport(conf, "pecan", manager=manager) if options else first
        environ = {"HTTP_X_PROJECT_ID": fakes.PROJECT}
        return webtest.TestApp(transport.application, extra_environ=environ, lint=lint)

    return make


GROUPS = {
    "limits": "drivers:transport:limits",
    "middleware": "oslo_middleware",
    "cors": "cors",
    "tracing": "tracing",
}


@pytest.fixture
def app(make):
    return make()


@pytest.fixture
def loose(make):
    """The application without lint, for invalid requests."""
    return make(lint=False)


@pytest.fixture
def poppy(tmp_path):
    """A Poppy with a real manager, store and job board, and a worker if the test starts one."""
    made = Harness(tmp_path)
    yield made
    made.close()


@pytest.fixture
def run(poppy, capsys):
    """Run a poppy-manage command and return its output."""
    return lambda *line: printed(poppy, capsys, *line)
