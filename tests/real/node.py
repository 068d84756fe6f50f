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
from typing import Any

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
import { readFileSync } from 'node:fs';

const input = JSON.parse(readFileSync(0));
state.origins = input.origins;
const results = input.events.map(function (event) {
    state.calls = [];
    const result = handler(event);
    return { result: result, origin: state.calls };
});
console.log(JSON.stringify(results));
"""


def run_function(
    code: str, events: Sequence[Mapping[str, Any]], origins: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the answers of a viewer-request function to the events.

    Args:
        origins: ids of the distribution's origins.

    Returns:
        for each event ``result``, the handler's return value, and ``origin``, the changes of the
        request's origin: ``properties``, and the ``id`` of a selected origin.
    """
    node = shutil.which("node")
    if node is None:
        unavailable("Node.js is not installed", "apt-get install nodejs")
    with tempfile.TemporaryDirectory(prefix="poppy-node-") as name:
        directory = Path(name)
        module = directory / "node_modules" / "cloudfront"
        module.mkdir(parents=True)
        (module / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
        (module / "index.js").write_text(_CLOUDFRONT)
        (directory / "function.mjs").write_text(f"{code}\nexport {{ handler }};\n")
        (directory / "run.mjs").write_text(_RUNNER)
        done = subprocess.run(
            [node, str(directory / "run.mjs")],
            input=json.dumps({"events": events, "origins": origins}),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results
