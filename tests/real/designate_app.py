# SPDX-License-Identifier: Apache-2.0
"""Designate's central, worker, producer, mdns and API in one process, without a message queue.

Run it in its own environment, with a directory that has ``designate.conf`` and ``pools.yaml``,
and the port of the API.
"""

import sys
import warnings

warnings.simplefilter("ignore")

import designate.cmd  # noqa: E402,F401 - chooses threads
import designate.conf  # noqa: E402
import waitress  # noqa: E402
from designate import utils  # noqa: E402
from designate.central import rpcapi  # noqa: E402
from designate.central import service as central  # noqa: E402
from designate.manage.database import DatabaseCommands  # noqa: E402
from designate.manage.pool import PoolCommands  # noqa: E402
from designate.mdns import service as mdns  # noqa: E402
from designate.producer import service as producer  # noqa: E402
from designate.worker import service as worker  # noqa: E402
from oslo_log import log  # noqa: E402
from paste import deploy  # noqa: E402


class Pools(PoolCommands):
    """The pool command on this process's message bus, since the ``fake`` bus is local to it."""

    def _setup(self, dry_run: bool = False, skip_verify_drivers: bool = False) -> None:
        self.dry_run = dry_run
        self.skip_verify_drivers = skip_verify_drivers
        self.central_api = rpcapi.CentralAPI()


def main(directory: str, port: int) -> None:
    """Serve until killed."""
    conf = designate.conf.CONF
    conf.import_group("keystone_authtoken", "keystonemiddleware.auth_token")
    utils.read_config("designate", ["designate", "--config-file", f"{directory}/designate.conf"])
    log.setup(conf, "designate")
    DatabaseCommands().sync()
    services = [central.Service(), worker.Service(), mdns.Service(), producer.Service()]
    services[0].start()
    Pools().update(f"{directory}/pools.yaml", delete=False, skip_verify_drivers=True)
    for service in services[1:]:
        service.start()
    paste = conf["service:api"].api_paste_config
    app = deploy.loadapp(f"config:{paste}", name="osapi_dns")
    waitress.serve(app, host="127.0.0.1", port=port, threads=4)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
