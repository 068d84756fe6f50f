# SPDX-License-Identifier: Apache-2.0
"""Clients of the API as of 2016: pkgcloud (Node.js) and gophercloud (Go).

pkgcloud has version 1.7.0, because no server can accept a change by a later one: its patches also
remove members of its own object, such as ``/client``.

Each runs in a small program of ``tests/real/clients``, which calls the client's own methods.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.real import golang, npm

_PKGCLOUD = "1.7.0"
_SOURCES = Path(__file__).with_name("clients")


class OldClient:
    """A context manager: a client in a process of its own.

    Args:
        name: ``gophercloud``, or the name of a provider of pkgcloud: ``openstack`` or
            ``rackspace``.
        url: of the API, up to the version.
        project: the project ID.
    """

    def __init__(self, name: str, url: str, project: str) -> None:
        self._variables: Mapping[str, str] = {}
        if name == "gophercloud":
            self._command = [golang.program(_SOURCES / "gophercloud"), url, project]
        else:
            package = Path(npm.program("pkgcloud", _PKGCLOUD, "pkgcloud"))
            script = str(_SOURCES / "pkgcloud" / "drive.js")
            self._command = [str(shutil.which("node")), script, name, url, project]
            self._variables = {"NODE_PATH": str(package.parent)}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [
                "env",
                *(f"{name}={value}" for name, value in self._variables.items()),
                *self._command,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=30)

    def call(self, action: str, *values: str) -> Any:
        """Return the result of an action; its program says which there are.

        Raises:
            AssertionError: the client reports an error, or its process has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([action, *values]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "it has ended"}')
        assert "error" not in answer, answer["error"]
        return answer["result"]
