# SPDX-License-Identifier: Apache-2.0
"""CloudFront functions, run by Node.js.

The module ``cloudfront`` refuses what Amazon's would ("Helper methods for origin modification" in
the CloudFront developer guide).
"""

import itertools
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.real import unavailable

_CLOUDFRONT = """
export const state = { calls: [], origins: [] };
const OVERRIDES = ['hostHeader', 'sni', 'allowedCertificateNames'];
const PROPERTIES = OVERRIDES.concat(['domainName', 'originPath', 'customHeaders', 'timeouts',
    'connectionAttempts', 'originShield', 'originAccessControlConfig', 'customOriginConfig']);
const FAILOVER = [400, 403, 404, 416, 500, 502, 503, 504];
const IS_ADDRESS = /^[0-9.]+$/;

function check(properties, allowed) {
    Object.keys(properties).forEach(function (name) {
        if (allowed.indexOf(name) < 0) throw new Error('there is no property ' + name);
    });
    ['hostHeader', 'sni', 'domainName'].forEach(function (name) {
        const value = properties[name];
        if (value === undefined) return;
        if (typeof value !== 'string' || !value || value.length > 253 || value.includes(':')
                || IS_ADDRESS.test(value)) {
            throw new Error('invalid value for origin rewrite: ' + name + ' ' + value);
        }
    });
}

export default {
    updateRequestOrigin: function (properties) {
        check(properties, PROPERTIES);
        state.calls.push({ properties: properties });
    },
    selectRequestOriginById: function (id, overrides) {
        if (state.origins.indexOf(id) < 0) throw new Error('the distribution has no origin ' + id);
        check(overrides || {}, OVERRIDES);
        state.calls.push({ id: id, properties: overrides || {} });
    },
    createRequestOriginGroup: function (properties) {
        const ids = properties.originIds.map(function (it) { return it.originId; });
        const statuses = properties.failoverCriteria.statusCodes;
        if (Object.keys(properties).length > 2 || ids.length !== 2 || ids[0] === ids[1]
                || ids.some(function (id) { return !state.origins.includes(id); })
                || !statuses.length
                || statuses.some(function (it) { return !FAILOVER.includes(it); })) {
            throw new Error('invalid origin group ' + JSON.stringify(properties));
        }
        state.calls.push({ id: ids[0], properties: {}, backup: ids[1], statuses: statuses });
    }
};
"""
_RUNNER = """
import { state } from 'cloudfront';
import { createInterface } from 'node:readline';

createInterface({ input: process.stdin }).on('line', async function (line) {
    const { file, origins, event, query } = JSON.parse(line);
    const { handler } = await import(file);
    Object.assign(state, { calls: [], origins: origins });
    if (event.request) {
        Object.defineProperty(event.request, 'rawQueryString', { value: () => query });
    }
    const result = await handler(event);
    console.log(JSON.stringify({ result: result, origin: state.calls }));
});
"""


class Node:
    """A context manager: a process that runs functions of CloudFront and Lambda@Edge."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            unavailable("Node.js is not installed", "apt-get install nodejs")
        self._directory = tempfile.TemporaryDirectory(prefix="poppy-node-")
        self._path = Path(self._directory.name)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        module = self._path / "node_modules" / "cloudfront"
        module.mkdir(parents=True)
        (module / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
        (module / "index.js").write_text(_CLOUDFRONT)
        (self._path / "run.mjs").write_text(_RUNNER)
        self._errors = (self._path / "errors").open("w+")
        self._process = subprocess.Popen(
            [node, str(self._path / "run.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=60)
        self._errors.close()
        self._directory.cleanup()

    def load(self, code: str, origins: Sequence[str] = ()) -> "Function":
        """Load a function.

        Args:
            code: with a function ``handler``, which need not be exported.
            origins: ids of the distribution's origins.
        """
        file = self._path / f"function{next(self._numbers)}.mjs"
        code = code.replace("export { handler };", "")
        file.write_text(f"{code}\nexport {{ handler }};\n")
        return Function(self, file.as_uri(), tuple(origins))

    def run(
        self, file: str, origins: Sequence[str], event: Mapping[str, Any], query: str | None
    ) -> dict[str, Any]:
        """See :meth:`Function.run`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        call = {"file": file, "origins": origins, "event": event}
        with self._lock:
            self._process.stdin.write(
                json.dumps(call if query is None else {**call, "query": query}) + "\n"
            )
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise AssertionError(self._errors.read())
        answer: dict[str, Any] = json.loads(line)
        return answer


class Function(NamedTuple):
    """A function that is loaded in Node.js."""

    node: Node
    file: str
    origins: Sequence[str]

    def run(self, event: Mapping[str, Any], query: str | None = None) -> dict[str, Any]:
        """Return the function's answer to an event.

        Args:
            event: as its function gets it.
            query: what ``rawQueryString()`` of the request returns ("General helper methods" in
                the CloudFront developer guide); None if the request has no question mark.

        Returns:
            ``result``, the handler's return value, and ``origin``, the changes of the request's
            origin: ``properties``, and the ``id`` of a selected origin.
        """
        return self.node.run(self.file, self.origins, event, query)


def run_function(
    code: str, events: Sequence[Mapping[str, Any]], origins: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the answers of a viewer-request function to the events; see :class:`Function`."""
    with Node() as node:
        function = node.load(code, origins)
        return [function.run(event) for event in events]
