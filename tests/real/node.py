# SPDX-License-Identifier: Apache-2.0
"""CloudFront functions, run by Node.js."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.real import unavailable

_CLOUDFRONT = """
export const updates = [];
export default { updateRequestOrigin: function (properties) { updates.push(properties); } };
"""
_RUNNER = """
import { updates } from 'cloudfront';
import { handler } from './function.mjs';
import { readFileSync } from 'node:fs';

const results = JSON.parse(readFileSync(0)).map(function (event) {
    updates.length = 0;
    const result = handler(event);
    return { result: result, origin: updates.slice() };
});
console.log(JSON.stringify(results));
"""


def run_function(code: str, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers of a viewer-request function to the events.

    Returns:
        for each event ``result``, the handler's return value, and ``origin``, the arguments of
        ``cf.updateRequestOrigin``.
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
            input=json.dumps(events),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results
