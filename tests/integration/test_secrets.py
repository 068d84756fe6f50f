# SPDX-License-Identifier: Apache-2.0
"""A run at debug level; its log and output are searched for every secret in use."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import secrets

import pytest

from tests.real.fixtures import keystone  # noqa: F401
from tests.real.poppy import Installation, free_port

pytestmark = pytest.mark.real


@pytest.fixture
def project(keystone):
    return keystone.project(f"secrets-{secrets.token_hex(4)}")


def test_log_names_the_user_but_has_no_secrets(keystone, project, tmp_path):
    user = keystone.user(project, "admin")
    token = keystone.token(user, project)
    revoked = keystone.token(user, project)
    keystone.revoke(revoked)
    forged = "gAAAAAB" + secrets.token_hex(60)
    options = keystone.conf
    options["DEFAULT"]["debug"] = True
    installation = Installation(tmp_path, options)
    session = installation.session
    session.headers["X-Auth-Token"] = token
    base = f"{installation.base}/v1.0"
    ids = []
    with installation.daemon("poppy-standalone") as process:
        installation.wait_until_up()
        installation.create_flavor()
        url = installation.create_service()
        installation.wait_for(url, "deployed")
        for method, where in [
            ("GET", url),
            ("DELETE", f"{url}/assets?all=true"),
            ("GET", f"{base}/services?token={token}"),
            ("GET", f"{base}/services/{token}"),
            ("GET", f"{base}/flavors/{token}"),
            ("POST", f"{base}/services"),
        ]:
            answer = session.request(method, where, timeout=20)
            ids.append(answer.headers["x-openstack-request-id"])
        for wrong in (revoked, forged):
            headers = {"X-Auth-Token": wrong, "X-Service-Token": wrong}
            assert session.get(url, headers=headers, timeout=20).status_code == 401
    output = process.stdout.read() if not process.stdout.closed else ""
    written = (tmp_path / "poppy.log").read_text() + output
    assert "log_opt_values" in written, "the options were written, without secrets"
    for secret in (token, revoked, forged, options["keystone_authtoken"]["password"]):
        assert secret not in written
    lines = written.splitlines()
    asked = next(line for line in lines if "cdn:services:purge" in line and ids[1] in line)
    assert f" {ids[1]} {user} {project} " in asked
    done = next(line for line in lines if "poppy.distributed_task" in line and ids[1] in line)
    assert f" {ids[1]} - {project} " in done, "who asked is not stored with an operation"


def test_errors_of_commands_have_no_passwords(tmp_path):
    password = secrets.token_hex(8)
    connection = f"postgresql+psycopg2://poppy:{password}@127.0.0.1:{free_port()}/poppy"
    installation = Installation(
        tmp_path, {"drivers:storage:sqlalchemy": {"connection": connection}}
    )
    run = installation.manage("db", "check")
    assert run.returncode == 1
    written = run.stdout + run.stderr + (tmp_path / "poppy.log").read_text()
    assert "does not answer" in written
    assert password not in written
