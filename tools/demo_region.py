# SPDX-License-Identifier: Apache-2.0
"""What the demo of two regions is built of: a region, and the name server in front of all."""

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
from tools.demo_service import DemoError

ZONE = "example.org"
NAME = f"poppy.{ZONE}"
#: A client near each region: of the networks for documentation (RFC 5737).
CLIENTS = {"dc1": "198.51.100.7", "dc2": "203.0.113.7"}
SUBNET = 24
BOTH = "class:NetworkTopologyStrategy,dc1:1,dc2:1"
#: Seconds after which work that nobody is seen to do is done by another; short, for a demo.
LEASE = 4.0


class Region:
    """All of Poppy in one region.

    Args:
        name: of its Cassandra data centre.
        options: option by name by group, the same for all regions.
        port: of the API, the same in all regions.
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
        """Start its ZooKeeper."""
        self._stack.enter_context(self._board)

    def start(self) -> None:
        """Start its server and worker."""
        self._stack.enter_context(self.installation.session)
        for program in ("poppy-server", "poppy-worker"):
            process = self._stack.enter_context(self.installation.daemon(program))
            self._processes[program] = process

    def manage(self, *arguments: str) -> str:
        """Run poppy-manage; gives what it prints."""
        run = self.installation.manage(*arguments)
        if run.returncode:
            raise DemoError(f"poppy-manage {' '.join(arguments)}: {run.stderr}")
        return run.stdout

    def lose_worker(self) -> None:
        """Kill its worker."""
        kill(self._processes["poppy-worker"])

    def lose(self) -> None:
        """Kill all that is left of it, as when its site burns down."""
        kill(self._processes["poppy-server"])
        self._board.kill()
        self._node.kill()

    def close(self) -> None:
        """End and remove what it started."""
        self._stack.close()


class Directory:
    """The name server: the API's one name, with an answer for each client.

    Args:
        regions: their addresses by name, the port is the same.
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
        """The Lua record: the nearest region that is up, else another that is."""
        # ifurlup wants a 200, and 4.7 no other; that storage is not there, the body tells.
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
        """The address that a client of an address is told, or ''."""
        answer = self._answer(client)
        return str(answer.answer[0][0].address) if answer and answer.answer else ""

    def scope(self, client: str) -> int:
        """For how large a network a resolver may keep that answer, as the length of its prefix.

        With 0 it would tell it to everybody (RFC 7871, section 7.3.1).
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
        """Whether a client is told that address time and again.

        Before its first checks are done, and when none succeeds, PowerDNS tells any address.
        """
        return all(self.ask(client) == host for _ in range(10))
