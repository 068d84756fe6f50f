# SPDX-License-Identifier: Apache-2.0
"""Amazon's command line client, in an environment of its own: it pins its botocore."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.real import venv
from tests.real.moto import Moto

_REQUIREMENTS = ("awscli==1.46.3",)
_TIMEOUT = 60.0


class AWSCLI:
    """The client for a moto server."""

    def __init__(self, moto: Moto) -> None:
        """Install the client if it is missing."""
        self._program = Path(venv.python("awscli", _REQUIREMENTS)).with_name("aws")
        self._environment = {
            **venv.environment(),
            "AWS_ENDPOINT_URL": moto.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": moto.options["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": moto.options["secret_access_key"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }

    def run(self, command: str, *arguments: str, **options: object) -> Any:
        """Run a command and return the document that it prints; None for none.

        Args:
            options: ``if_match="E1"`` is ``--if-match E1``; what is no string is sent as JSON.

        Raises:
            RuntimeError: it failed; the message has its output.
        """
        given = [*command.split(), *arguments]
        for name, value in options.items():
            text = value if isinstance(value, str) else json.dumps(value)
            given += [f"--{name.replace('_', '-')}", text]
        run = subprocess.run(
            [self._program, *given, "--output", "json"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
        if run.returncode:
            raise RuntimeError(f"{command} failed: {run.stderr}")
        return json.loads(run.stdout) if run.stdout else None
