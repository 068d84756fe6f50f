# SPDX-License-Identifier: Apache-2.0
"""A Keystone for tests, and a client of it.

Keystone needs other versions of libraries than Poppy, so it has its own virtual environment.
"""

import contextlib
import functools
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.real import venv
from tests.real.poppy import free_port

_REQUIREMENTS = ("keystone==30.0.0", "waitress==3.0.2")
_APP = Path(__file__).with_name("keystone_app.py")
_START_TIMEOUT = 60.0
_TIMEOUT = 20.0
_PASSWORD = "of-all-users-of-tests"
_CONF = """[DEFAULT]
log_file = {directory}/keystone.log
[database]
connection = sqlite:///{directory}/keystone.db
[fernet_tokens]
key_repository = {directory}/fernet
[credential]
key_repository = {directory}/credential
[identity]
password_hash_rounds = 4
"""


class KeystoneClient:
    """A client with the administrator's requests that tests need.

    Args:
        url: of the v3 API.
        password: of the user ``admin``.
        directory: of its configuration.
    """

    def __init__(self, url: str, password: str, directory: Path) -> None:
        self.url = url
        self.password = password
        self.directory = directory
        self._session = requests.Session()
        self._roles: dict[str, str] = {}

    @property
    def user_password(self) -> str:
        """The password of all users but ``admin``."""
        return _PASSWORD

    @property
    def conf(self) -> dict[str, dict[str, Any]]:
        """The options for poppy.conf, by group."""
        return {
            "DEFAULT": {"auth_strategy": "keystone"},
            "keystone_authtoken": {
                "www_authenticate_uri": self.url,
                "auth_url": self.url,
                "auth_type": "password",
                "username": "poppy",
                "password": _PASSWORD,
                "user_domain_id": "default",
                "project_name": "service",
                "project_domain_id": "default",
                "service_type": "cdn",
            },
        }

    def project(self, name: str) -> str:
        """Create a project; return its id."""
        body = {"project": {"name": name, "domain_id": "default"}}
        return str(self._admin("POST", "/projects", body)["project"]["id"])

    def user(
        self, project_id: str | None, *roles: str, system: bool = False, name: str | None = None
    ) -> str:
        """Create a user with roles in a project or on the system; return its id."""
        name = name or f"user-{secrets.token_hex(8)}"
        body = {"user": {"name": name, "domain_id": "default", "password": _PASSWORD}}
        user_id = str(self._admin("POST", "/users", body)["user"]["id"])
        where = "/system" if system else f"/projects/{project_id}"
        for role in roles:
            self._admin("PUT", f"{where}/users/{user_id}/roles/{self._role(role)}")
        return user_id

    def endpoint(self, url: str, region: str) -> None:
        """Add a URL of a Poppy to the catalog, in a new region."""
        self._admin("POST", "/regions", {"region": {"id": region}})
        found = self._admin("GET", "/services?type=cdn")["services"]
        service = found or [
            self._admin("POST", "/services", {"service": {"type": "cdn"}})["service"]
        ]
        body = {
            "interface": "public",
            "service_id": service[0]["id"],
            "region": region,
            "url": url,
        }
        self._admin("POST", "/endpoints", {"endpoint": body})

    def token(self, user_id: str, scope: object) -> str:
        """Return a token for a user.

        Args:
            scope: a project's id, a scope in the form of Keystone's API, or None for no scope.
        """
        return self._issue(_request(user_id, scope))

    def expired_token(self, user_id: str, scope: object) -> str:
        """Return an expired token."""
        answer = subprocess.run(
            [python(), "-P", _APP, "expired"],
            input=json.dumps(_request(user_id, scope)).encode(),
            env={**venv.environment(), "OS_KEYSTONE_CONFIG_DIR": str(self.directory)},
            capture_output=True,
            timeout=_START_TIMEOUT,
        )
        assert answer.returncode == 0, answer.stderr.decode()
        time.sleep(1.1)  # it expires at a full second
        return answer.stdout.decode().strip().splitlines()[-1]

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        self._admin("DELETE", "/auth/tokens", **{"X-Subject-Token": token})

    def knows(self, token: str) -> bool:
        """Return whether a token is valid."""
        headers = {"X-Auth-Token": self.admin_token, "X-Subject-Token": token}
        url = f"{self.url}/auth/tokens"
        return self._session.get(url, headers=headers, timeout=_TIMEOUT).ok

    @functools.cached_property
    def admin_token(self) -> str:
        """Return a token of the user ``admin`` for the project ``admin``."""
        user = {"name": "admin", "domain": {"id": "default"}, "password": self.password}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        return self._issue({"auth": {"identity": identity, "scope": scope}})

    def _issue(self, body: object) -> str:
        answer = self._session.post(f"{self.url}/auth/tokens", json=body, timeout=_TIMEOUT)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["X-Subject-Token"])

    def _role(self, name: str) -> str:
        if name not in self._roles:
            found = self._admin("GET", f"/roles?name={name}")["roles"]
            self._roles[name] = found[0]["id"]
        return self._roles[name]

    def _admin(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        answer = self._session.request(
            method,
            self.url + path,
            json=body,
            headers={"X-Auth-Token": self.admin_token, **headers},
            timeout=_TIMEOUT,
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


class Keystone(KeystoneClient):
    """A Keystone in a temporary directory, on loopback, with SQLite and Fernet tokens.

    As a context manager, it starts, and at the end stops and removes its directory. It has the
    user ``admin`` with the role ``admin`` in the project ``admin`` and on the system, the service
    user ``poppy`` of Poppy itself, and the roles ``reader``, ``member`` and ``admin``, each of
    which implies the one before.
    """

    def __init__(self) -> None:
        """Prepare without starting."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = python()
        directory = Path(tempfile.mkdtemp(prefix="poppy-keystone-"))
        port = free_port()
        super().__init__(f"http://127.0.0.1:{port}/v3", secrets.token_hex(16), directory)
        try:
            self._prepare(program)
            self._serve(program, port)
            self.user(self.project("service"), "service", name="poppy")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._remove()

    def _prepare(self, program: str) -> None:
        conf = self.directory / "keystone.conf"
        conf.write_text(_CONF.format(directory=self.directory))
        whose = ("--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
        for step in (
            ("db_sync",),
            ("fernet_setup", *whose),
            (
                "bootstrap",
                *("--bootstrap-password", self.password),
                *("--bootstrap-public-url", self.url, "--bootstrap-internal-url", self.url),
                *("--bootstrap-region-id", "RegionOne"),
            ),
        ):
            command = [program, "-c", "from keystone.cmd.manage import main; main()"]
            self._run([*command, "--config-file", str(conf), *step])

    def _run(self, command: list[str]) -> None:
        run = subprocess.run(
            command,
            cwd=self.directory,
            env=venv.environment(),
            capture_output=True,
            text=True,
            timeout=_START_TIMEOUT,
        )
        if run.returncode:
            raise RuntimeError(f"{command[5:]} failed:\n{run.stderr}\n{self._log()}")

    def _serve(self, program: str, port: int) -> None:
        with (self.directory / "output.log").open("wb") as output:
            self._process = subprocess.Popen(
                [program, "-P", _APP, "serve", "127.0.0.1", str(port)],
                cwd=self.directory,
                env={**venv.environment(), "OS_KEYSTONE_CONFIG_DIR": str(self.directory)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Keystone did not start:\n{self._log()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return self._session.get(self.url, timeout=2).ok
        return False

    def _log(self) -> str:
        files = (self.directory / name for name in ("output.log", "keystone.log"))
        return "\n".join(file.read_text()[-4000:] for file in files if file.exists())

    def _remove(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)


def python() -> str:
    """Return the Python that has Keystone; skip the test if it can't be installed."""
    return venv.python("keystone", _REQUIREMENTS)


def _request(user_id: str, scope: object) -> dict[str, Any]:
    """Return the body of a request for a token."""
    user = {"id": user_id, "password": _PASSWORD}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if isinstance(scope, str):
        scope = {"project": {"id": scope}}
    if scope is not None:
        auth["scope"] = scope
    return {"auth": auth}
