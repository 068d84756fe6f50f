# SPDX-License-Identifier: Apache-2.0
"""The client with the credentials and the catalog of a real Keystone."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import json
import os
import pathlib
import secrets

import pytest
import yaml

from tests.real.client import run
from tests.real.fixtures import keystone  # noqa: F401
from tests.real.poppy import Installation

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
pytest.importorskip(
    "openstackclient", reason="not installed: pip install -e './client[openstack]'"
)
import openstack  # noqa: E402
from poppyclient import sdk  # noqa: E402

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def region(keystone, tmp_path_factory):
    """The region of a Poppy that uses this Keystone."""
    installation = Installation(tmp_path_factory.mktemp("poppy"), keystone.conf)
    name = f"region-{secrets.token_hex(4)}"
    keystone.endpoint(f"{installation.base}/v1.0/%(project_id)s", name)
    with installation.daemon("poppy-standalone"):
        installation.wait_until_up()
        yield name
    installation.session.close()


@pytest.fixture
def project(keystone):
    return keystone.project(f"project-{secrets.token_hex(4)}")


@pytest.fixture
def log_in(keystone, region, project, monkeypatch, tmp_path):
    """A function that puts a project user with a role into the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("OS_", "POPPY_"))]:
        monkeypatch.delenv(name)

    def log_in(role):
        name = f"user-{secrets.token_hex(4)}"
        keystone.user(project, role, name=name)
        for variable, value in {
            "OS_AUTH_URL": keystone.url,
            "OS_USERNAME": name,
            "OS_PASSWORD": keystone.user_password,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_ID": project,
            "OS_REGION_NAME": region,
        }.items():
            monkeypatch.setenv(variable, value)

    return log_in


def test_catalog_gives_the_endpoint_and_token_the_project(log_in, project):
    log_in("admin")
    made = run("flavor", "create", "standard", "--provider", "mock=http://www.example.com")
    assert made.code == 0, made.shown
    log_in("member")
    document = {
        "name": "site",
        "flavor_id": "standard",
        "domains": [{"domain": "www.example.com"}],
        "origins": [{"origin": "origin.example.net"}],
    }
    pathlib.Path("service.yaml").write_text(yaml.safe_dump(document))
    made = run("service", "create", "-f", "service.yaml", "--wait", "--format", "json")
    assert made.code == 0, made.shown
    shown = json.loads(made.out)
    assert (shown["project_id"], shown["status"]) == (project, "deployed")
    listed = run("openstack", "cdn", "service", "list", "-f", "json")
    assert listed.code == 0, listed.shown
    assert [entry["ID"] for entry in json.loads(listed.out)] == [shown["id"]]
    refused = run("flavor", "create", "other", "--provider", "mock=http://www.example.com")
    assert (refused.code, "Traceback" in refused.shown) == (1, False)
    assert "policy" in refused.shown.lower()


@pytest.mark.parametrize(
    "line", ["--os-cloud mycloud service list", "openstack --os-cloud mycloud cdn service list"]
)
def test_credentials_can_come_from_clouds_yaml(
    keystone, region, project, tmp_path, monkeypatch, line
):
    for name in [name for name in os.environ if name.startswith(("OS_", "POPPY_"))]:
        monkeypatch.delenv(name)
    # The library chooses its search path when it is imported.
    file = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    name = f"user-{secrets.token_hex(4)}"
    keystone.user(project, "reader", name=name)
    auth = {
        "auth_url": keystone.url,
        "username": name,
        "password": keystone.user_password,
        "user_domain_id": "default",
        "project_id": project,
    }
    cloud = {"auth": auth, "region_name": region}
    file.write_text(yaml.safe_dump({"clouds": {"mycloud": cloud}}))
    listed = run(*line.split(), "-f", "json")
    assert (listed.code, listed.out.strip()) == (0, "[]"), listed.shown


def test_wrong_password_is_reported_without_a_traceback(log_in, monkeypatch):
    log_in("member")
    monkeypatch.setenv("OS_PASSWORD", "wrong")
    refused = run("service", "list")
    assert (refused.code, "Traceback" in refused.shown) == (1, False)
    assert "401" in refused.shown


def test_missing_catalog_entry_is_reported(log_in, monkeypatch):
    log_in("member")
    monkeypatch.setenv("OS_REGION_NAME", "elsewhere")
    refused = run("service", "list")
    assert (refused.code, "Traceback" in refused.shown) == (1, False)
    assert "no service of type 'cdn'" in refused.shown


@pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning")
@pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK60Warning")
def test_sdk_finds_the_endpoint_in_the_catalog(log_in, project):
    log_in("member")
    connection = sdk.add_to(openstack.connect(load_yaml_config=False))
    assert list(connection.cdn.services(name="none")) == []
    assert connection.cdn.quota()["services"]["limit"] > 0
    connection.close()
