# SPDX-License-Identifier: Apache-2.0
"""``poppy.wsgi:application`` under common WSGI servers."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest
import requests
import webtest

import poppy.wsgi
from tests.real import unavailable
from tests.real.poppy import Installation, free_port, wait

#: Command lines with two processes, forked or spawned, and with threads.
SERVERS = {
    "gunicorn": "gunicorn --preload --workers 2 --threads 2 --bind 127.0.0.1:{port} "
    "poppy.wsgi:application",
    "uwsgi": "uwsgi --master --processes 2 --threads 2 --die-on-term "
    "--http11-socket 127.0.0.1:{port} --module poppy.wsgi:application",
    "granian": "granian --interface wsgi --workers 2 --blocking-threads 2 --host 127.0.0.1 "
    "--port {port} poppy.wsgi:application",
}


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path)
    made.sync()
    yield made
    made.session.close()


def answers(installation):
    """Return whether it answers; the first request of each process loads everything."""
    try:
        answer = installation.session.get(installation.base + "/v1.0/ping", timeout=60)
    except requests.ConnectionError:
        return False
    return answer.status_code == 204


@pytest.mark.real
@pytest.mark.parametrize("name", SERVERS)
def test_server_runs_the_application_in_several_processes(installation, tmp_path, name):
    program = pathlib.Path(sys.executable).parent / name
    if not program.exists():
        unavailable(f"{name} is not installed", f"pip install {name}")
    port = free_port()
    installation.base = f"http://127.0.0.1:{port}"
    line = SERVERS[name].format(port=port).split()
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [str(program), *line[1:]],
            env={**os.environ, "POPPY_CONFIG_FILE": str(installation.config)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait(lambda: answers(installation), 90)
        installation.create_flavor()
        urls = [installation.create_service(f"w{n}.example.com") for n in range(8)]
        assert {installation.status(url) for url in urls} == {"create_in_progress"}
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


def test_mod_wsgi_finds_the_application_in_a_script(tmp_path, monkeypatch):
    """mod_wsgi executes a file, our module or one that imports it, and looks up the name."""
    path = tmp_path / "poppy.conf"
    path.write_text(f"[DEFAULT]\nstate_path = {tmp_path}\n")
    monkeypatch.setenv("POPPY_CONFIG_FILE", str(path))
    script = pathlib.Path(poppy.wsgi.__file__)
    names = {"__name__": "_mod_wsgi_0", "__file__": str(script)}
    exec(compile(script.read_text(), str(script), "exec"), names)
    app = webtest.TestApp(names["application"])
    assert app.get("/v1.0/ping").status_int == 204
    imported = {"__name__": "_mod_wsgi_1"}
    exec("from poppy.wsgi import application", imported)
    assert webtest.TestApp(imported["application"]).get("/v1.0/ping").status_int == 204
