# SPDX-License-Identifier: Apache-2.0
"""Measurement functions, and a Poppy to measure."""

import contextlib
import gc
import io
import json
import logging
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from poppy.bootstrap import Bootstrap
from poppy.common import config, logs
from poppy.testing.builders import make_flavor
from tests.functional import fakes
from tests.real.poppy import PROJECT, Installation, Options

Application = Callable[..., Any]
Measure = Callable[[], float]
T = TypeVar("T")

#: One process and as many services as a benchmark needs; the rest is the default.
OPTIONS = {
    # Keep the mocks in memory: real drivers do not have the cost of their files.
    "drivers:provider:mock": {"directory": ""},
    "drivers:dns:mock": {"file": ""},
    "drivers:storage": {
        "max_services_per_project": 1_000_000,
        "max_open_operations_per_project": 0,
    },
    "drivers:distributed_task:taskflow": {
        "claim_lease": 15,
        "poll_interval": 0.2,
        "dispatch_interval": 1.0,
    },
}


class Effort(NamedTuple):
    """The effort of a run."""

    short: bool

    def pick(self, full: int, short: int) -> int:
        """Return one of two numbers by the effort."""
        return short if self.short else full


def alternate(rounds: int, a: Callable[[], T], b: Callable[[], T]) -> tuple[list[T], list[T]]:
    """Measure A B A B ..., after one round of each as warm-up."""
    pairs = []
    for _ in range(rounds + 1):
        pair = []
        for measure in (a, b):
            gc.collect()  # so that neither pays for the garbage of the other
            pair.append(measure())
        pairs.append(pair)
    return [pair[0] for pair in pairs[1:]], [pair[1] for pair in pairs[1:]]


def rate(work: Callable[[], object], times: int) -> float:
    """Return the calls of a function per second."""
    begin = time.perf_counter()
    for _ in range(times):
        work()
    return times / (time.perf_counter() - begin)


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds of a call."""
    begin = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begin)


def call(
    application: Application,
    method: str,
    target: str,
    document: Any = None,
    *,
    project: str = PROJECT,
    status: int = 200,
) -> bytes:
    """Make a direct WSGI call with the environment of Waitress; return the body.

    Raises:
        RuntimeError: the answer's status is not the expected one.
    """
    path, _, query = target.partition("?")
    body = b"" if document is None else json.dumps(document).encode()
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8888",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost:8888",
        "HTTP_ACCEPT": "application/json",
        "HTTP_X_PROJECT_ID": project,
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
    }
    if body:
        environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}
    statuses = []

    def start_response(line: str, headers: object, exc_info: object = None) -> None:
        statuses.append(line)

    answer = b"".join(application(environ, start_response))
    if not statuses[-1].startswith(str(status)):
        raise RuntimeError(f"{method} {target}: {statuses[-1]}: {answer[:500]!r}")
    return answer


def document(domain: str) -> dict[str, Any]:
    """Return a typical service document of a tenant, of a few hundred bytes."""
    return {**fakes.SPEC, "domains": [{"domain": domain, "protocol": "http"}]}


class Poppy:
    """A complete Poppy except the daemons, in this process, with mock drivers.

    Args:
        options: options of the store and the job board, by group; by default SQLite for both.

    Attributes:
        installation: the configuration file, for daemons with the same store and job board.
        url: the URL of the SQLite database, if that is the store.
    """

    def __init__(self, directory: pathlib.Path, options: Options | None = None) -> None:
        groups: dict[str, dict[str, Any]] = {name: {**it} for name, it in OPTIONS.items()}
        for name, values in (options or {}).items():
            groups.setdefault(name, {}).update(values)
        self.installation = Installation(directory, groups)
        conf = config.load([], files=[str(self.installation.config)])
        # Set up logging as in a daemon, to include its cost.
        logs.setup(conf)
        self.boot = Bootstrap(conf)
        self.boot.storage.sync()
        self.boot.storage.flavors.create(make_flavor())
        self.url = f"sqlite:///{directory}/poppy.sqlite3"
        self.application: Application = self.boot.transport.application


@contextlib.contextmanager
def poppy(options: Options | None = None) -> Iterator[Poppy]:
    """Make a Poppy without services in a temporary directory."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers = list(root.handlers)
    with tempfile.TemporaryDirectory(prefix="poppy-perf-") as directory:
        made = Poppy(pathlib.Path(directory), options)
        try:
            yield made
        finally:
            made.boot.close()
            made.installation.session.close()
            root.handlers[:], sys.excepthook = handlers, hook
