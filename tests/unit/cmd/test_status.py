# SPDX-License-Identifier: Apache-2.0
"""poppy-status upgrade check with real drivers and a real database."""

import json

import pytest
from oslo_config import cfg

from poppy.bootstrap import Bootstrap
from poppy.cmd import status
from poppy.common import config, errors
from poppy.manager import removed_providers
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.provider.mock import MockProvider
from poppy.testing.builders import make_flavor, make_operation, make_service

OK, WARNING, FAILURE = 0, 1, 2


class Installed:
    """A configuration and a database."""

    def __init__(self, directory, capsys):
        self._capsys = capsys
        self.path = directory / "poppy.conf"
        self._text = f"[DEFAULT]\nstate_path = {directory}\n"
        self.path.write_text(self._text)
        boot = Bootstrap(config.load([], files=[str(self.path)]))
        boot.storage.sync()
        boot.close()

    def store(self, *providers):
        """Store a service at these providers."""
        boot = Bootstrap(config.load([], files=[str(self.path)]))
        flavor_id = "-".join(providers)
        if all(it.flavor_id != flavor_id for it in boot.storage.flavors.list()):
            boot.storage.flavors.create(make_flavor(flavor_id, providers))
        details = dict.fromkeys(providers, ProviderDetail(ProviderStatus.DEPLOYED))
        service = make_service(flavor_id=flavor_id, provider_details=details)
        boot.storage.services.create(service, make_operation(service), 100)
        boot.close()

    def check(self, options=""):
        """Return the exit status, and (code, details) by check."""
        self.path.write_text(self._text + options)
        code = status.main(["--config-file", str(self.path), "upgrade", "check", "--json"])
        document = json.loads(self._capsys.readouterr().out)
        return code, {it["check"]: (it["result"], it["details"]) for it in document["checks"]}


@pytest.fixture
def installed(tmp_path, capsys):
    return Installed(tmp_path, capsys)


def test_a_valid_installation_passes(installed):
    code, checks = installed.check("[drivers:provider:edge]\nedge_name = not-in-use\n")
    assert code == OK
    assert set(checks) == {
        "Drivers",
        "Options",
        "Schema",
        "Durability",
        "Job board",
        "DNS",
        "Providers",
    }
    assert set(checks.values()) == {(OK, None)}


def test_the_removed_driver_varnish_is_a_failure_that_names_the_page(installed):
    code, checks = installed.check("[drivers]\nproviders = mock, north:varnish\n")
    assert code == FAILURE
    result, details = checks["Drivers"]
    assert result == FAILURE
    assert "no provider driver 'varnish'" in details
    assert "'Move from varnish to edge'" in details


def test_a_store_that_does_not_sync_to_disk_gives_a_warning(installed):
    group = "[drivers:storage:sqlalchemy]\nsqlite_synchronous = normal\n"
    code, checks = installed.check(group)
    assert code == WARNING
    result, details = checks["Durability"]
    assert result == WARNING
    assert "sqlite_synchronous is normal" in details


def test_an_unknown_option_gives_a_warning(installed):
    code, checks = installed.check("[drivers]\nprovider = mock\n[oslo_middleware]\nx = 1\n")
    assert code == WARNING
    result, details = checks["Options"]
    assert result == WARNING
    assert "[drivers] provider is unknown" in details
    assert "[oslo_middleware] x is unknown" in details


def test_a_deprecated_option_gives_a_warning_with_its_replacement(installed, monkeypatch):
    options = (
        cfg.StrOpt("directory", deprecated_name="folder", deprecated_group="mock"),
        cfg.StrOpt("suffix", default="a", deprecated_for_removal=True, deprecated_reason="old"),
        cfg.FloatOpt("latency", default=0.0),
    )
    monkeypatch.setattr(MockProvider, "OPTS", options)
    text = "[mock]\nfolder = /tmp\n[drivers:provider:mock]\nsuffix = b\nlatency = 0\n"
    code, checks = installed.check(text)
    assert code == WARNING
    assert (
        "[mock] folder is deprecated; use [drivers:provider:mock] directory"
        in (checks["Options"][1])
    )
    assert "suffix is deprecated: old" in checks["Options"][1]
    assert "latency" not in checks["Options"][1]


def test_an_unloadable_driver_fails_and_other_checks_still_run(installed):
    code, checks = installed.check("[drivers]\nproviders = nosuch\n")
    assert code == FAILURE
    assert "'nosuch'" in checks["Drivers"][1]
    assert checks["Schema"] == (OK, None)


def test_an_invalid_value_fails(installed):
    code, checks = installed.check("[drivers:distributed_task:taskflow]\nconcurrency = none\n")
    assert code == FAILURE
    assert "concurrency" in checks["Drivers"][1]


def test_an_outdated_schema_fails_and_names_the_command(installed, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    code, checks = installed.check(
        f"[drivers:storage:sqlalchemy]\nconnection = sqlite:///{other}/poppy.sqlite3\n"
    )
    assert code == FAILURE
    assert "poppy-manage db sync" in checks["Schema"][1]


def test_an_unreachable_board_fails(installed):
    code, checks = installed.check(
        "[drivers:distributed_task:taskflow]\njobboard_backend_type = zookeeper\n"
        "jobboard_backend_host = 127.0.0.1\njobboard_backend_port = 1\n"
        "jobboard_timeout = 0.5\n"
    )
    assert code == FAILURE
    assert checks["Job board"][0] == FAILURE


def test_a_dns_server_that_does_not_answer_fails(installed):
    code, checks = installed.check(
        "[drivers]\ndns = powerdns\n"
        "[drivers:dns:powerdns]\napi_key = k\nurls = http://127.0.0.1:1\n"
    )
    assert code == FAILURE
    result, details = checks["DNS"]
    assert result == FAILURE
    assert "powerdns (127.0.0.1:1) did not answer" in details


def test_services_at_removed_providers_fail_with_their_counts_and_a_command(installed):
    installed.store("mock")
    installed.store("mock", "cdn-b")
    installed.store("cdn-b")
    installed.store("cdn-c")
    code, checks = installed.check("[drivers]\nproviders = mock\n")
    assert code == FAILURE
    result, details = checks["Providers"]
    assert result == FAILURE
    assert "provider 'cdn-b' is not loaded, but 2 services" in details
    assert "provider 'cdn-c' is not loaded, but 1 service may" in details
    assert "poppy-manage services list --provider cdn-b" in details
    assert "'mock'" not in details


def test_named_providers_are_not_removed(installed):
    installed.store("mock", "cdn-b")
    code, checks = installed.check("[drivers]\nproviders = mock, cdn-b:mock\n")
    assert (code, checks["Providers"]) == (OK, (OK, None))


def test_counting_services_at_removed_providers_is_bounded(installed):
    for _ in range(3):
        installed.store("cdn-b")
    boot = Bootstrap(config.load([], files=[str(installed.path)]))
    with pytest.raises(errors.InUse, match="at least 2 services"):
        removed_providers.check_unused(boot.storage, {"mock"}, counted=2)
    boot.close()


def test_a_missing_file_is_named(capsys):
    assert status.main(["--config-file", "/no/such.conf", "upgrade", "check"]) == FAILURE
    assert "/no/such.conf" in capsys.readouterr().err
