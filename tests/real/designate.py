# SPDX-License-Identifier: Apache-2.0
"""A real Designate with a real PowerDNS as its name server, for the duration of a test."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.real.nameserver import ZONES, free_port
from tests.real.powerdns import PowerDNS
from tests.real.venv import environment, python

# Designate loads its API with Paste, which needs a module that later setuptools lack.
_REQUIREMENTS = ("designate==23.0.0", "waitress==3.0.2", "setuptools<81")
_APP = Path(__file__).with_name("designate_app.py")
_START_TIMEOUT = 90.0
_POOL = "794ccc2c-d751-44fe-b57f-8894c9f5c842"

_SECONDARY = """
secondary=yes
allow-notify-from=127.0.0.0/8
allow-unsigned-notify=yes
xfr-cycle-interval=1
retrieval-threads=1
"""

_CONFIG = """
[DEFAULT]
transport_url = fake://
state_path = {directory}
[service:api]
auth_strategy = noauth
api_paste_config = {paste}
enable_host_header = True
[service:central]
default_pool_id = {pool}
[service:mdns]
listen = 127.0.0.1:{mdns_port}
[service:worker]
poll_retry_interval = 1
# It takes any answer for a success: the name server must have fetched the zone by then.
poll_delay = 2
poll_timeout = 3
[producer_task:increment_serial]
interval = 1
[producer_task:worker_periodic_recovery]
interval = 5
[storage:sqlalchemy]
connection = sqlite:///{directory}/designate.sqlite3?timeout=30
[oslo_concurrency]
lock_path = {directory}
"""

_POOLS = """
- name: default
  id: {pool}
  description: PowerDNS
  attributes: {{}}
  ns_records:
    - hostname: ns.example.net.
      priority: 1
  nameservers:
    - host: 127.0.0.1
      port: {dns_port}
  targets:
    - type: pdns4
      description: PowerDNS
      masters:
        - host: 127.0.0.1
          port: {mdns_port}
      options:
        host: 127.0.0.1
        port: {dns_port}
        api_endpoint: {url}
        api_token: {secret}
"""


class Designate:
    """Central, worker, producer, mdns and API in one process, with SQLite and without Keystone.

    ``with Designate() as server:`` starts it and its name server.

    Attributes:
        url: of the API, for keystoneauth's ``none``.
        nameserver: the PowerDNS that serves the zones.
    """

    def __init__(self) -> None:
        """Prepare without starting."""
        # Designate creates the zones.
        self.nameserver = PowerDNS(_SECONDARY, zones=())
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._session = requests.Session()

    def __enter__(self) -> Self:
        program = python("designate", _REQUIREMENTS)
        self._directory = Path(tempfile.mkdtemp(prefix="poppy-designate-"))
        try:
            self.nameserver.start()
            self._write(Path(program).parents[1] / "etc" / "designate" / "api-paste.ini")
            self._start(program)
            for zone in ZONES:
                self.call("POST", "/zones", name=f"{zone}.", email="hostmaster@example.net")
            self.wait_until_active()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            # It has nothing to lose.
            self._process.kill()
            self._process.wait()
            self._process = None
        self.nameserver.__exit__(None, None, None)
        self._session.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def call(self, method: str, path: str, **body: object) -> Any:
        """Send a request to the API; return the decoded answer."""
        answer = self._session.request(
            method, f"{self.url}/v2{path}", json=body or None, timeout=30
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def recordsets(self) -> list[dict[str, Any]]:
        """Return all recordsets with their zones' ids, without those of the zones themselves."""
        found = []
        for zone in self.call("GET", "/zones")["zones"]:
            entries = self.call("GET", f"/zones/{zone['id']}/recordsets?limit=1000")["recordsets"]
            found += [entry for entry in entries if entry["type"] not in ("SOA", "NS")]
        return found

    def wait_until_active(self) -> None:
        """Wait until the name server has all changes."""
        deadline = time.monotonic() + 60
        while {zone["status"] for zone in self.call("GET", "/zones")["zones"]} != {"ACTIVE"}:
            assert time.monotonic() < deadline, self._log()
            time.sleep(0.2)

    def _write(self, paste: Path) -> None:
        server = self.nameserver
        values = {
            "directory": self._directory,
            "pool": _POOL,
            "paste": paste,
            "mdns_port": free_port(),
            "dns_port": server.port,
            "url": server.url,
            "secret": server.secret,
        }
        (self._directory / "designate.conf").write_text(_CONFIG.format(**values))
        (self._directory / "pools.yaml").write_text(_POOLS.format(**values))

    def _start(self, program: str) -> None:
        command = [program, "-P", str(_APP), str(self._directory), self.url.rpartition(":")[2]]
        with (self._directory / "log").open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=self._directory, env=environment(), stdout=output, stderr=output
            )
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Designate did not start: {self._log()}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return self._session.get(f"{self.url}/v2/zones", timeout=5).ok
        except requests.RequestException:
            return False

    def _log(self) -> str:
        return (self._directory / "log").read_text()[-4000:]
