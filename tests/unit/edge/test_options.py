# SPDX-License-Identifier: Apache-2.0
"""The settings of a node."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from poppy.common.errors import ConfigError
from poppy.edge import options


def read(tmp_path: Path, *lines: str) -> options.Settings:
    file = tmp_path / "poppy-edge.conf"
    file.write_text("[edge]\n" + "\n".join(lines))
    conf = cfg.ConfigOpts()
    options.register(conf)
    conf(["--config-file", str(file)], project="poppy-edge")
    return options.read(conf)


def test_a_node_needs_no_settings(tmp_path: Path) -> None:
    settings = read(tmp_path)

    assert settings.http == ("0.0.0.0:80", "[::]:80")
    assert settings.nameservers
    assert settings.max_object_size < settings.cache_size * 1024 * 1024
    assert settings.geography_database is None


def test_settings_are_parsed(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        "http = 127.0.0.1:8080, [0:0::1]:80",
        "nameservers = 192.0.2.1, 2001:db8::1, 192.0.2.1:5353",
        "trusted_proxies = 192.0.2.7",
        "cookies = strip",
        "geography_database = /etc/poppy/countries",
    )

    assert settings.http == ("127.0.0.1:8080", "[::1]:80")
    assert settings.nameservers == ("192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.1:5353")
    assert settings.trusted_proxies == (ipaddress.ip_network("192.0.2.7/32"),)
    assert settings.strip_cookies
    assert settings.geography_database == Path("/etc/poppy/countries")


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["http ="], "http"),
        (["http = *:80"], "http.*[*]:80"),
        (["http = 127.0.0.1:0"], "127.0.0.1:0"),
        (["http = 127.0.0.1:99999"], "99999"),
        (["http = 127.0.0.1"], "127.0.0.1"),
        (["metrics = localhost:1"], "metrics.*localhost"),
        (["nameservers = dns.example"], "nameservers.*dns.example"),
        (["refused_origins = 10.0.0.0/33"], "refused_origins.*10.0.0.0/33"),
        (["max_object_size = 1073741824"], "max_object_size"),
        (["client_ip_header = X-Real-IP"], "client_ip_header.*trusted_proxies"),
        (["trusted_proxies = 192.0.2.1", "client_ip_header = X Y"], "'X Y'"),
        (['geography_database = /etc/a" b'], "geography_database"),
        (["run_directory = run"], "run_directory"),
        (["run_directory = /" + "x" * 80], "run_directory.*80 bytes"),
    ],
)
def test_an_error_names_the_option(tmp_path: Path, lines: Sequence[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read(tmp_path, *lines)


NUMBERS = [it for it in options.OPTS if isinstance(it, cfg.IntOpt | cfg.FloatOpt)]


@pytest.mark.parametrize("option", NUMBERS, ids=[it.name for it in NUMBERS])
def test_every_number_has_a_bound(tmp_path: Path, option: Any) -> None:
    with pytest.raises(ValueError, match=option.name):
        read(tmp_path, f"{option.name} = {option.type.max + 1}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# none\n", ("127.0.0.1:53",)),
        ("nameserver 192.0.2.1\nsearch x\n", ("192.0.2.1:53",)),
        ("nameserver fe80::1%eth0\n", ("[fe80::1]:53",)),
    ],
)
def test_the_system_s_name_servers(tmp_path: Path, text: str, expected: Sequence[str]) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(text)

    assert options._system_nameservers(file) == expected
    assert options._system_nameservers(tmp_path / "none") == ("127.0.0.1:53",)
