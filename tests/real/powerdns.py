# SPDX-License-Identifier: Apache-2.0
"""A real PowerDNS Authoritative Server for the duration of a test."""

import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path

import dns.tsig
import requests

from tests.real import unavailable
from tests.real.nameserver import ZONE_FILE, ZONES, NameServer, free_port

_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")

_CONFIG = """
launch=gsqlite3
gsqlite3-database={directory}/pdns.sqlite3
gsqlite3-pragma-synchronous=0
socket-dir={directory}
local-address={host}
local-port={port}
distributor-threads=1
receiver-threads=1
disable-axfr=no
allow-axfr-ips=127.0.0.0/8
enable-lua-records=yes
edns-subnet-processing=yes
api=yes
api-key={secret}
webserver=yes
webserver-address={host}
webserver-port={api_port}
webserver-allow-from=127.0.0.0/8
security-poll-suffix=
"""


class PowerDNS(NameServer):
    """PowerDNS with SQLite; ``secret`` is the key of its API.

    Attributes:
        url: of the API.
    """

    PROGRAM = "pdns_server"
    PACKAGE = "pdns-server pdns-backend-sqlite3"

    def __init__(self, config: str = "", zones: Sequence[str] = ZONES) -> None:
        """Prepare without starting.

        Args:
            config: lines to add to pdns.conf.
            zones: the initial zones.
        """
        super().__init__()
        self._api_port = free_port()
        self._more = config
        self._begins_with = zones
        self.url = f"http://{self.host}:{self._api_port}"

    @property
    def key(self) -> dns.tsig.Key | None:
        """None: zones are changed through the API, and transferred to any client."""
        return None

    def prepare(self) -> None:
        """Write pdns.conf and fill the database."""
        if not _SCHEMA.exists():
            unavailable(f"there is no {_SCHEMA}", f"apt-get install {self.PACKAGE}")
        if "geoip" in self._more and not list(Path("/usr/lib").glob("*/pdns/libgeoipbackend.so")):
            unavailable("PowerDNS has no backend geoip", "apt-get install pdns-backend-geoip")
        values = {"host": self.host, "port": self.port, "api_port": self._api_port}
        config = _CONFIG.format(directory=self.directory, secret=self.secret, **values)
        (self.directory / "pdns.conf").write_text(config + self._more)
        with sqlite3.connect(self.directory / "pdns.sqlite3") as database:
            database.executescript(_SCHEMA.read_text())
        database.close()
        for zone in self._begins_with:
            file = self.directory / f"{zone}.zone"
            file.write_text(ZONE_FILE)
            self.pdnsutil("load-zone", zone, str(file))
            self.pdnsutil("set-meta", zone, "SOA-EDIT-API", "DEFAULT")

    def pdnsutil(self, *arguments: str) -> None:
        """Run an administrator's command on the database."""
        tool = shutil.which("pdnsutil")
        assert tool, "pdnsutil comes with pdns_server"
        command = [tool, f"--config-dir={self.directory}", *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def command(self, program: str) -> Sequence[str]:
        """Run in the foreground."""
        return [program, f"--config-dir={self.directory}", "--daemon=no", "--guardian=no"]

    def answers(self) -> bool:
        """Return whether it serves its zones and its API."""
        try:
            requests.get(self.url, timeout=1)
        except requests.RequestException:
            return False
        return not self._begins_with or super().answers()

    def change(self, zone: str, *changes: tuple[str, ...]) -> None:
        """Change a zone by hand, as in the base class, but through the API."""
        rrsets = []
        for name, rdtype, *data in changes:
            records = [{"content": text, "disabled": False} for text in data]
            how = "REPLACE" if data else "DELETE"
            entry = {"name": f"{name}.", "type": rdtype, "ttl": 60, "changetype": how}
            rrsets.append({**entry, "records": records})
        answer = requests.patch(
            f"{self.url}/api/v1/servers/localhost/zones/{zone}.",
            json={"rrsets": rrsets},
            headers={"X-API-Key": self.secret},
            timeout=10,
        )
        assert answer.status_code == 204, answer.text

    def clear(self) -> None:
        """Remove every CNAME, and the LUA records in place of one."""
        for zone in ZONES:
            found = [key for key in self.records(zone) if key[1] in ("CNAME", "TYPE65402")]
            if found:
                self.change(
                    zone, *((name, kind.replace("TYPE65402", "LUA")) for name, kind in found)
                )
