# SPDX-License-Identifier: Apache-2.0
"""Parts of the demo of two regions: a region, and the name server in front of both."""

import contextlib
import pathlib
from collections.abc import Mapping
from typing import Any

import dns.edns
import dns.exception
import dns.message
import dns.query
import requests

from tests.real.cassandra import Cassandra
from tests.real.jvm import spare_address
from tests.real.poppy import Installation, kill
from tests.real.powerdns import PowerDNS
from tests.real.zookeeper import ZooKeeper
from tools.demo_story import DemoError

ZONE = "example.org"
NAME = f"poppy.{ZONE}"
#: A client near each region, from the networks for documentation (RFC 5737).
CLIENTS = {"dc1": "198.51.100.7", "dc2": "203.0.113.7"}
SUBNET = 24
BOTH = "class:NetworkTopologyStrategy,dc1:1,dc2:1"
#: Seconds until another worker takes over from a lost one; short, for a demo.
LEASE = 4.0


class Region:
    """Poppy and its servers in one region.

    Args:
        name: the name of its Cassandra data centre.
        node: its Cassandra node.
        directory: the directory for its files.
        options: the options by group, the same for all regions.
        port: the API's port, the same in all regions.
    """

    def __init__(
        self,
        name: str,
        node: Cassandra,
        directory: pathlib.Path,
        options: Mapping[str, Mapping[str, Any]],
        port: int,
    ) -> None:
        self.name = name
        self._node = node
        self._board = ZooKeeper()
        self._processes: dict[str, Any] = {}
        self._stack = contextlib.ExitStack()
        directory.mkdir()
        storage = {"cluster": node.host, "port": node.port, "replication_strategy": BOTH}
        work = {
            "jobboard_backend_type": "zookeeper",
            "jobboard_backend_host": self._board.host,
            "jobboard_backend_port": self._board.port,
            "run_lease": LEASE,
            "redelivery": LEASE,
        }
        self.host = spare_address(port)
        self.installation = Installation(
            directory,
            {
                **options,
                "DEFAULT": {"datacenter": name, "allowed_hosts": f"{NAME},{self.host}"},
                "drivers": {**options["drivers"], "storage": "cassandra"},
                "drivers:storage:cassandra": storage,
                "drivers:distributed_task:taskflow": work,
            },
            host=self.host,
            port=port,
        )

    def start_board(self) -> None:
        """Start the region's ZooKeeper."""
        self._stack.enter_context(self._board)

    def start(self) -> None:
        """Start the region's server and worker."""
        self._stack.enter_context(self.installation.session)
        for program in ("poppy-server", "poppy-worker"):
            process = self._stack.enter_context(self.installation.daemon(program))
            self._processes[program] = process

    def manage(self, *arguments: str) -> str:
        """Run poppy-manage and return its output."""
        run = self.installation.manage(*arguments)
        if run.returncode:
            raise DemoError(f"poppy-manage {' '.join(arguments)}: {run.stderr}")
        return run.stdout

    def lose_worker(self) -> None:
        """Kill the region's worker."""
        kill(self._processes["poppy-worker"])

    def lose(self) -> None:
        """Kill the rest of the region, as in the loss of a site."""
        kill(self._processes["poppy-server"])
        self._board.kill()
        self._node.kill()

    def close(self) -> None:
        """Stop and remove everything that the region started."""
        self._stack.close()


class Directory:
    """The name server of the API's name, with an answer for each client.

    Args:
        server: the PowerDNS server.
        regions: the addresses of the regions by name.
        port: the API's port, the same in all regions.
    """

    def __init__(self, server: PowerDNS, regions: Mapping[str, str], port: int) -> None:
        self._server = server
        self.port = port
        self.names = {address: name for name, address in regions.items()}
        answer = requests.post(
            f"{server.url}/api/v1/servers/localhost/zones",
            headers={"X-API-Key": server.secret},
            json={
                "name": f"{ZONE}.",
                "kind": "Native",
                "nameservers": [f"ns.{ZONE}."],
                "rrsets": [
                    {
                        "name": f"{NAME}.",
                        "type": "LUA",
                        "ttl": 5,
                        "records": [{"content": self.record(regions), "disabled": False}],
                    }
                ],
            },
            timeout=10,
        )
        if answer.status_code != 201:
            raise DemoError(f"PowerDNS refuses the zone: {answer.text}")

    def record(self, regions: Mapping[str, str]) -> str:
        """Return the Lua record: the nearest region if it is up, else another one that is up."""
        # ifurlup of PowerDNS 4.7 accepts only a 200; the body tells whether storage is up.
        url = f"http://{NAME}:{self.port}/v1.0/health/storage/cassandra"
        lines = []
        for name in regions:
            near = [regions[name]]
            far = [address for other, address in regions.items() if other != name]
            sets = ", ".join(
                "{" + ", ".join(f"'{it}'" for it in group) + "}" for group in (near, far)
            )
            up = f"return ifurlup('{url}', {{{sets}}}, {{stringmatch='true', timeout='3'}})"
            lines.append(f"if netmask({{'{CLIENTS[name]}/{SUBNET}'}}) then {up} end")
        lines.append(up)
        return f'A ";{" ".join(lines)}"'

    def ask(self, client: str) -> str:
        """Return the address that the name server gives to a client, or ''."""
        answer = self._answer(client)
        return str(answer.answer[0][0].address) if answer and answer.answer else ""

    def scope(self, client: str) -> int:
        """Return the prefix length of the network for which a resolver may cache the answer.

        With 0, a resolver would give the answer to all clients (RFC 7871, section 7.3.1).
        """
        answer = self._answer(client)
        found = (
            [it for it in answer.options if isinstance(it, dns.edns.ECSOption)] if answer else []
        )
        return int(found[0].scopelen) if found else 0

    def _answer(self, client: str) -> dns.message.Message | None:
        options = [dns.edns.ECSOption(client, SUBNET)]
        query = dns.message.make_query(NAME, "A", use_edns=0, options=options)
        with contextlib.suppress(dns.exception.DNSException, OSError):
            return dns.query.udp(query, self._server.host, 3, self._server.port)
        return None

    def leads(self, client: str, host: str) -> bool:
        """Whether a client gets this address repeatedly.

        PowerDNS returns any address before its first checks, and if all checks fail.
        """
        return all(self.ask(client) == host for _ in range(10))
