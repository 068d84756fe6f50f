# SPDX-License-Identifier: Apache-2.0
"""CloudFront functions, run by Node.js.

The module ``cloudfront`` refuses what Amazon's would ("Helper methods for origin modification" in
the CloudFront developer guide).
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.real import unavailable

_CLOUDFRONT = """
export const state = { calls: [], origins: [] };
const OVERRIDES = ['hostHeader', 'sni', 'allowedCertificateNames'];
const PROPERTIES = OVERRIDES.concat(['domainName', 'originPath', 'customHeaders', 'timeouts',
    'connectionAttempts', 'originShield', 'originAccessControlConfig', 'customOriginConfig']);
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
    }
};
"""
_RUNNER = """
import { state } from 'cloudfront';
import { handler } from './function.mjs';
import { createInterface } from 'node:readline';

state.origins = JSON.parse(process.argv[2]);
createInterface({ input: process.stdin }).on('line', async function (line) {
    state.calls = [];
    const result = await handler(JSON.parse(line));
    console.log(JSON.stringify({ result: result, origin: state.calls }));
});
"""


class Function:
    """A context manager: a function of CloudFront or Lambda@Edge in a process of its own.

    Args:
        code: with a function ``handler``, which need not be exported.
        origins: ids of the distribution's origins.
    """

    def __init__(self, code: str, origins: Sequence[str] = ()) -> None:
        node = shutil.which("node")
        if node is None:
            unavailable("Node.js is not installed", "apt-get install nodejs")
        self._directory = tempfile.TemporaryDirectory(prefix="poppy-node-")
        directory = Path(self._directory.name)
        module = directory / "node_modules" / "cloudfront"
        module.mkdir(parents=True)
        (module / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
        (module / "index.js").write_text(_CLOUDFRONT)
        code = code.replace("export { handler };", "")
        (directory / "function.mjs").write_text(f"{code}\nexport {{ handler }};\n")
        (directory / "run.mjs").write_text(_RUNNER)
        self._errors = (directory / "errors").open("w+")
        self._process = subprocess.Popen(
            [node, str(directory / "run.mjs"), json.dumps(list(origins))],
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

    def run(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the function's answer to an event.

        Returns:
            ``result``, the handler's return value, and ``origin``, the changes of the request's
            origin: ``properties``, and the ``id`` of a selected origin.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(event) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise AssertionError(self._errors.read())
        answer: dict[str, Any] = json.loads(line)
        return answer


def run_function(
    code: str, events: Sequence[Mapping[str, Any]], origins: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the answers of a viewer-request function to the events; see :class:`Function`."""
    with Function(code, origins) as function:
        return [function.run(event) for event in events]
