# SPDX-License-Identifier: Apache-2.0
"""A real Knot DNS for the duration of a test."""

from collections.abc import Sequence

from tests.real.nameserver import ZONE_FILE, ZONES, NameServer

_CONFIG = """
server:
    rundir: "{directory}"
    listen: {host}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: "{directory}"
    journal-db-max-size: 16M
    kasp-db-max-size: 16M
    timer-db-max-size: 1M
key:
  - id: {key_name}
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: poppy
    key: {key_name}
    action: [update, transfer]
zone:
"""


class Knot(NameServer):
    """Knot DNS with a TSIG key that may change the zones."""

    PROGRAM = "knotd"
    PACKAGE = "knot"

    def prepare(self) -> None:
        """Write knot.conf and the zones."""
        config = _CONFIG.format(
            directory=self.directory,
            host=self.host,
            port=self.port,
            key_name=self.key_name,
            secret=self.secret,
        )
        for zone in ZONES:
            file = self.directory / f"{zone}.zone"
            file.write_text(ZONE_FILE)
            config += f'  - domain: {zone}\n    file: "{file}"\n    acl: poppy\n'
        (self.directory / "knot.conf").write_text(config)

    def command(self, program: str) -> Sequence[str]:
        """Run in the foreground."""
        return [program, "-c", str(self.directory / "knot.conf")]
