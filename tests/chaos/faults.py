# SPDX-License-Identifier: Apache-2.0
"""Inject faults into a site by a plan, one at a time, and restore it at the end."""

import contextlib
import datetime
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from tests.chaos.orders import Action
from tests.chaos.plan import Blow, Fault
from tests.chaos.site import CALL_TIMEOUT, Site

#: The double's permanent faults: (action, operation, probability, value).
_ALWAYS = (
    (Action.LIMIT, "*", 0.02, 0.5),
    (Action.FAIL, "*", 0.03, 0),
    (Action.LOSE, "*", 0.03, 0),
    (Action.CUT, "*", 0.02, 0),
    (Action.HANG, "*", 0.01, CALL_TIMEOUT + 0.5),
    (Action.SLOW, "create", 0.2, 3),
    (Action.SLOW, "replace", 0.2, 3),
    (Action.SLOW, "delete", 0.2, 3),
)
#: The double's faults during a provider outage.
_OUT = (
    (Action.LIMIT, "*", 0.5, 1.0),
    (Action.FAIL, "*", 0.5, 0),
    (Action.LOSE, "*", 0.9, 0),
)

#: Objects and names that are changed by hand at once.
_HANDFUL = 3


class Breaker:
    """A thread that injects faults.

    ``with Breaker(site, blows) as breaker:`` starts it; at the end the last fault is over and the
    site works again.

    Attributes:
        dealt: the number of injected faults of each kind.
        failure: an error of the thread itself.
    """

    def __init__(self, site: Site, blows: Iterator[Blow]) -> None:
        self.dealt: Counter[Fault] = Counter()
        self.failure: BaseException | None = None
        self._site = site
        self._blows = blows
        # The timestamps have the format of the daemons' log.
        self._log = site.log.with_name("faults.log")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="breaker")
        self._deal: dict[Fault, Callable[[Blow], None]] = {
            Fault.WORKER_KILLED: self._kill_worker,
            Fault.WORKER_FROZEN: self._freeze_worker,
            Fault.WORKER_REPLACED: self._replace_worker,
            Fault.SERVER_KILLED: self._kill_server,
            Fault.ZOOKEEPER_KILLED: self._kill_zookeeper,
            Fault.ZOOKEEPER_FROZEN: self._freeze_zookeeper,
            Fault.ZOOKEEPER_WIPED: lambda _blow: site.zookeeper.wipe(),
            Fault.CASSANDRA_FROZEN: self._freeze_cassandra,
            Fault.CASSANDRA_RESTARTED: self._restart_cassandra,
            Fault.PROVIDER_OUT: self._provider_out,
            Fault.HANDS: self._tamper,
        }

    def __enter__(self) -> "Breaker":
        self._order(_ALWAYS)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._site.double.behave()

    def _run(self) -> None:
        try:
            for blow in self._blows:
                if self._stopped.wait(blow.after):
                    return
                began = datetime.datetime.now()
                self._deal[blow.fault](blow)
                self.dealt[blow.fault] += 1
                with self._log.open("a") as log:
                    log.write(f"{began} to {datetime.datetime.now()}: {blow.fault}\n")
        except BaseException as exc:  # noqa: BLE001 - the caller raises it after the run
            self.failure = exc

    def _kill_worker(self, blow: Blow) -> None:
        workers = self._site.workers
        self._site.kill_worker(workers[blow.which % len(workers)])
        self._site.start_worker()

    def _freeze_worker(self, blow: Blow) -> None:
        workers = self._site.workers
        worker = workers[blow.which % len(workers)]
        self._site.freeze(worker)
        time.sleep(blow.lasts)
        self._site.thaw(worker)

    def _replace_worker(self, blow: Blow) -> None:
        self._site.start_worker()
        workers = self._site.workers[:-1]
        self._site.end_worker(workers[blow.which % len(workers)])

    def _kill_server(self, blow: Blow) -> None:
        self._site.kill_server()
        time.sleep(min(blow.lasts, 1.0))
        self._site.start_server()

    def _kill_zookeeper(self, blow: Blow) -> None:
        self._site.zookeeper.kill()
        time.sleep(blow.lasts)
        self._site.zookeeper.start()

    def _freeze_zookeeper(self, blow: Blow) -> None:
        self._site.zookeeper.pause()
        time.sleep(blow.lasts)
        self._site.zookeeper.resume()

    def _freeze_cassandra(self, blow: Blow) -> None:
        self._site.cassandra.pause()
        time.sleep(blow.lasts)
        self._site.cassandra.resume()

    def _restart_cassandra(self, _blow: Blow) -> None:
        self._site.cassandra.stop()
        self._site.cassandra.start()

    def _provider_out(self, blow: Blow) -> None:
        self._order(_OUT)
        time.sleep(blow.lasts)
        self._order(_ALWAYS)

    def _tamper(self, blow: Blow) -> None:
        for number in range(_HANDFUL):
            self._site.double.tamper(blow.which + 7 * number)

    def _order(self, orders: tuple[tuple[Action, str, float, float], ...]) -> None:
        double = self._site.double
        double.behave()
        for action, operation, probability, value in orders:
            details = {"probability": probability, "value": value, "times": None}
            with contextlib.suppress(ConnectionError):
                double.order(action, operation, **details)
