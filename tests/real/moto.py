# SPDX-License-Identifier: Apache-2.0
"""Amazon's APIs (CloudFront, ACM, Route 53, CloudWatch) on a loopback server."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import requests

from tests.real import unavailable

_ROOT = Path(__file__).parents[2]
_CREDENTIALS = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "secret"}


class Moto:
    """A moto server, made stricter by :mod:`tests.real.amazon`; use it as a context manager.

    Attributes:
        url: the endpoint of all services.
    """

    def __init__(self) -> None:
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if importlib.util.find_spec("flask_cors") is None:
            unavailable("moto's server is not installed", "pip install 'moto[server]'")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.real.amazon", "127.0.0.1"],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            self.__exit__(None, None, None)
            raise RuntimeError("moto did not start; run: python -m tests.real.amazon 127.0.0.1")
        self.url = f"http://127.0.0.1:{int(port)}"
        return self

    @property
    def options(self) -> dict[str, str]:
        """The options of a driver for this server."""
        return {
            "endpoint_url": self.url,
            "access_key_id": _CREDENTIALS["aws_access_key_id"],
            "secret_access_key": _CREDENTIALS["aws_secret_access_key"],
        }

    def client(self, service: str) -> Any:
        """Return a boto3 client for direct access."""
        return boto3.client(
            service, endpoint_url=self.url, region_name="us-east-1", **_CREDENTIALS
        )

    def reset(self) -> None:
        """Delete everything, issue certificates and find tags at once, and limit no rate."""
        requests.post(f"{self.url}/moto-api/reset", timeout=10).raise_for_status()
        self.check_keys(False)
        self.validate("ISSUED")
        self.find_tags("on")
        self.limit_route53(0)
        self.publish({})

    def check_keys(self, whether: bool) -> None:
        """Set whether the access key must belong to the account, which has none."""
        url = f"{self.url}/moto-api/reset-auth"
        requests.post(url, data="0" if whether else "inf", timeout=10).raise_for_status()

    def validate(self, status: str) -> None:
        """Set the ACM status of waiting certificates."""
        requests.post(f"{self.url}/lab/acm", data=status, timeout=10).raise_for_status()

    def find_tags(self, state: str) -> None:
        """Set whether tags of certificates are found: ``on`` or ``off``."""
        requests.post(f"{self.url}/lab/tagging", data=state, timeout=10).raise_for_status()

    def publish(self, records: Mapping[str, str]) -> None:
        """Set the TXT records that CloudFront finds in DNS, by name."""
        requests.post(f"{self.url}/lab/txt", json=records, timeout=10).raise_for_status()

    def limit_route53(self, rate: int) -> None:
        """Set how many requests per second Route 53 takes; 0 for no limit."""
        requests.post(f"{self.url}/lab/route53", data=str(rate), timeout=10).raise_for_status()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=10)
            self._process = None
