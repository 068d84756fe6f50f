# SPDX-License-Identifier: Apache-2.0
"""Secrets from a secret store or from a separate file.

The real castellan reads from a double of HashiCorp Vault's key/value engine, version 2, over HTTP.
Like Vault, the double requires the right token and an existing path:
https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version
"""

import http.server
import json
import threading

import pytest

from poppy.bootstrap import Bootstrap
from poppy.common import config, errors, logs

TOKEN = "hvs.poppy"
PASSWORD = "correct horse battery"
STORED = {"dashboard-password": PASSWORD, "database": "postgresql://poppy:stable@db/poppy"}


class _Vault(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802
        name = self.path.removeprefix("/v1/secret/data/")
        if self.headers.get("X-Vault-Token") != TOKEN:
            return self._answer(403, {"errors": ["permission denied"]})
        if name not in STORED:
            return self._answer(404, {"errors": []})
        secret = {
            "type": "passphrase",
            "value": STORED[name].encode().hex(),
            "algorithm": None,
            "bit_length": None,
            "name": name,
            "created": 1764500000,
        }
        return self._answer(200, {"data": {"data": secret, "metadata": {"version": 1}}})

    def _answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def vault():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Vault)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def load(tmp_path, vault):
    """Load a configuration with secrets in Vault."""

    def load(mapping, token=TOKEN):
        (tmp_path / "castellan.conf").write_text(
            "[key_manager]\nbackend = vault\n"
            f"[vault]\nvault_url = {vault}\nroot_token_id = {token}\ntimeout = 10\n"
        )
        (tmp_path / "mapping.conf").write_text(mapping)
        main = tmp_path / "poppy.conf"
        main.write_text(
            f"[DEFAULT]\nstate_path = {tmp_path}\nconfig_source = secrets\n"
            f"[secrets]\ndriver = castellan\nconfig_file = {tmp_path}/castellan.conf\n"
            f"mapping_file = {tmp_path}/mapping.conf\n"
            "[drivers:transport:dashboard]\nenabled = true\n"
        )
        return config.load([], files=[str(main)])

    return load


def test_secrets_are_read_from_a_secret_store(load):
    conf = load("[drivers:transport:dashboard]\npassword = dashboard-password\n")
    boot = Bootstrap(conf)
    boot.storage.sync()
    assert boot.transport is not None
    assert conf["drivers:transport:dashboard"].password == PASSWORD
    boot.close()


def test_secrets_of_a_secret_store_are_masked_in_the_log(load):
    conf = load("[drivers:storage:sqlalchemy]\nconnection = database\n")
    boot = Bootstrap(conf)
    assert boot.storage is not None
    assert conf["drivers:storage:sqlalchemy"].connection == STORED["database"]
    assert "stable" not in logs.mask("could not reach it with stable")
    boot.close()


def test_missing_secret_is_a_config_error(load):
    boot = Bootstrap(load("[drivers:transport:dashboard]\npassword = no-such-secret\n"))
    assert boot.transport is not None
    with pytest.raises(errors.ConfigError, match="dashboard.* password"):
        config.validate(boot.conf)
    boot.close()


def test_refused_token_stops_the_start(load):
    boot = Bootstrap(
        load("[drivers:transport:dashboard]\npassword = dashboard-password\n", "hvs.wrong")
    )
    with pytest.raises(Exception, match="not authorized"):
        _ = boot.transport
    boot.close()


def test_secrets_are_read_from_a_separate_file(tmp_path):
    main, secrets = tmp_path / "poppy.conf", tmp_path / "secrets.conf"
    main.write_text("[drivers:transport:dashboard]\nenabled = true\n")
    secrets.write_text(f"[drivers:transport:dashboard]\npassword = {PASSWORD}\n")
    secrets.chmod(0o600)
    conf = config.load([], files=[str(main), str(secrets)])
    boot = Bootstrap(conf)
    assert boot.transport is not None
    assert conf["drivers:transport:dashboard"].password == PASSWORD
    boot.close()
