# SPDX-License-Identifier: Apache-2.0
"""Drivers are loaded by name, and a wrong name or option gives a clear error at start."""

import importlib.metadata

import pytest
import stevedore
from oslo_config import cfg

from poppy.bootstrap import Bootstrap
from poppy.common import config, driver, errors
from poppy.dns.mock import MockDNS
from poppy.extensions import base as extensions


@pytest.fixture
def conf():
    return config.load([], files=[])


def test_a_driver_is_found_by_the_name_of_its_entry_point(conf):
    made = driver.load("dns", "mock", conf)
    assert isinstance(made, MockDNS)
    assert made.name == "mock"


def test_a_drivers_option_group_has_its_kind_and_name(conf):
    made = driver.load("dns", "mock", conf)
    assert made.options.suffix == conf["drivers:dns:mock"].suffix


def test_an_unknown_driver_is_reported_with_the_installed_ones(conf):
    with pytest.raises(errors.ConfigError, match="no dns driver 'nosuch' .*mock"):
        driver.load("dns", "nosuch", conf)


def test_an_import_failure_is_reported_with_the_driver_and_cause(conf, monkeypatch):
    def broken(*args, on_load_failure_callback, **kwargs):
        on_load_failure_callback(None, None, ImportError("No module named 'vendorlib'"))
        raise stevedore.exception.NoMatches("nothing")

    monkeypatch.setattr(stevedore, "DriverManager", broken)
    with pytest.raises(errors.ConfigError, match="'mock' can't be loaded: .*vendorlib"):
        driver.load("dns", "mock", conf)


@pytest.fixture
def register(monkeypatch):
    """A function that registers an entry point in addition to the installed ones."""

    def register(kind, name, target):
        group, manager = f"poppy.{kind}", stevedore.ExtensionManager
        known = stevedore.NamedExtensionManager(group, []).list_entry_points()
        added = importlib.metadata.EntryPoint(name, target, group)
        monkeypatch.setitem(manager.ENTRY_POINT_CACHE, group, [*known, added])

    return register


@pytest.mark.parametrize("target", ["other.dns:OtherDNS", "poppy.dns.mock:OtherDNS"])
@pytest.mark.parametrize("loaded", ["mock", "rfc2136"])
def test_a_name_registered_twice_is_refused_with_both_targets(conf, register, target, loaded):
    register("dns", "mock", target)
    with pytest.raises(errors.ConfigError, match=f"dns 'mock': poppy.dns.mock:MockDNS .*{target}"):
        driver.load("dns", loaded, conf)


def test_an_entry_point_found_twice_is_not_a_conflict(register):
    register("dns", "mock", "poppy.dns.mock:MockDNS")
    assert driver.names("dns").count("mock") == 1


def test_a_provider_name_registered_twice_stops_the_start(conf, register):
    register("provider", "mock", "other:Provider")
    with pytest.raises(errors.ConfigError, match="provider 'mock': .* and other:Provider"):
        _ = Bootstrap(conf).providers


def test_an_extension_name_registered_twice_is_refused(register):
    register("extension", "akamai", "other.akamai:Extension")
    with pytest.raises(errors.ConfigError, match="'akamai': .*AkamaiExtension and other.akamai"):
        extensions.installed()


def test_an_invalid_option_value_is_reported(tmp_path):
    path = tmp_path / "poppy.conf"
    path.write_text("[drivers:dns:mock]\nshared_ssl_num_shards = many\n")
    conf = config.load([], files=[str(path)])
    with pytest.raises((errors.ConfigError, cfg.Error), match="shared_ssl_num_shards"):
        _ = driver.load("dns", "mock", conf).shared_domains("label")


def test_one_driver_can_be_loaded_several_times(tmp_path):
    path = tmp_path / "poppy.conf"
    path.write_text("[drivers:provider:north]\nsuffix = north.example.net\n")
    conf = config.load([], files=[str(path)])
    made = driver.load_each("provider", ["north:mock", "mock", "south:mock"], conf)
    assert {name: it.options.suffix for name, it in made.items()} == {
        "north": "north.example.net",
        "mock": made["south"].options.suffix,
        "south": made["mock"].options.suffix,
    }
    assert [it.name for it in made.values()] == ["north", "mock", "south"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["mock", "mock"], "provider 'mock' is named twice"),
        (["a:mock", "a:mock"], "provider 'a' is named twice"),
        (["A b:mock"], "'A b:mock' is not a valid provider"),
        (["a:b:mock"], "'a:b:mock' is not a valid provider"),
        (["a:nosuch"], "no provider driver 'nosuch'"),
    ],
)
def test_invalid_lists_of_drivers_are_refused(conf, entries, words):
    with pytest.raises(errors.ConfigError, match=words):
        driver.load_each("provider", entries, conf)
