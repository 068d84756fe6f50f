# SPDX-License-Identifier: Apache-2.0
"""A real BIND for the duration of a test."""

from collections.abc import Sequence

from tests.real.nameserver import ZONE_FILE, ZONES, NameServer

_CONFIG = """
options {{
    directory "{directory}";
    pid-file "named.pid";
    session-keyfile "session.key";
    lock-file none;
    listen-on port {port} {{ {host}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    notify no;
}};
controls {{ }};
key "{key_name}" {{ algorithm hmac-sha256; secret "{secret}"; }};
key "stranger" {{ algorithm hmac-sha256; secret "{secret}"; }};
"""

_ZONE = """
zone "{zone}" {{
    type primary;
    file "{zone}.zone";
    allow-update {{ key "{key_name}"; }};
    allow-transfer {{ key "{key_name}"; }};
}};
"""


#: A further zone without names of its own.
EMPTY_ZONE = """$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 1
@ NS ns
ns A 127.0.0.1
"""


class Bind(NameServer):
    """BIND 9 with a TSIG key that may change the zones, and one, ``stranger``, that may not."""

    PROGRAM = "named"
    PACKAGE = "bind9"

    def __init__(self, **zone_files: str) -> None:
        """Prepare without starting.

        Args:
            zone_files: further zones by name.
        """
        super().__init__()
        self.zone_files = {**zone_files, **dict.fromkeys(ZONES, ZONE_FILE)}

    def prepare(self) -> None:
        """Write named.conf and the zones."""
        values = {
            "directory": self.directory,
            "host": self.host,
            "port": self.port,
            "key_name": self.key_name,
            "secret": self.secret,
        }
        config = [_CONFIG.format(**values)]
        for zone, content in self.zone_files.items():
            config.append(_ZONE.format(zone=zone, **values))
            (self.directory / f"{zone}.zone").write_text(content)
        (self.directory / "named.conf").write_text("".join(config))

    def command(self, program: str) -> Sequence[str]:
        """Run in the foreground, with the log on standard error."""
        return [program, "-g", "-n", "1", "-U", "1", "-c", str(self.directory / "named.conf")]
