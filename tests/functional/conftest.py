# SPDX-License-Identifier: Apache-2.0
"""The real application over a manager in memory; and a whole Poppy with poppy-manage."""

import pytest
import webtest

from poppy.common import config
from poppy.transport.pecan.driver import PecanTransport
from tests.functional import fakes
from tests.functional.commands import printed
from tests.functional.harness import Harness


@pytest.fixture
def conf():
    """As for trying out: any host, and who does not say its roles is an operator."""
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
    """Makes the application, with some options set: make(name=value, ...)."""

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
    """As ``app``, for requests that no decent client library would send."""
    return make(lint=False)


@pytest.fixture
def poppy(tmp_path):
    """A real manager, store and board; a worker when the test has it work."""
    made = Harness(tmp_path)
    yield made
    made.close()


@pytest.fixture
def run(poppy, capsys):
    """Runs a command of poppy-manage; gives what it prints."""
    return lambda *line: printed(poppy, capsys, *line)
