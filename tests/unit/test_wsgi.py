# SPDX-License-Identifier: Apache-2.0
"""``poppy.wsgi:application`` under another WSGI server."""

import importlib
import threading
import time

import pytest
import webtest

import poppy.wsgi
from poppy.common import config, tracing
from tests.real.collector import Collector


def test_the_application_is_created_on_first_use(tmp_path, monkeypatch):
    path = tmp_path / "poppy.conf"
    path.write_text(f"[DEFAULT]\nstate_path = {tmp_path}\n")
    monkeypatch.setenv("POPPY_CONFIG_FILE", str(path))
    with monkeypatch.context() as patch:
        patch.setattr(config, "load", None)  # an import must not read the configuration
        module = importlib.reload(poppy.wsgi)
    application = vars(module)["application"]
    assert webtest.TestApp(application).get("/").json["versions"][0]["id"] == "v1.0"


def test_concurrent_first_requests_create_one_application(tmp_path, monkeypatch):
    path = tmp_path / "poppy.conf"
    path.write_text(f"[DEFAULT]\nstate_path = {tmp_path}\n")
    monkeypatch.setenv("POPPY_CONFIG_FILE", str(path))
    module = importlib.reload(poppy.wsgi)
    made = []
    original = config.load

    def load(*args, **options):
        made.append(1)
        time.sleep(0.1)  # lets the other requests arrive
        return original(*args, **options)

    monkeypatch.setattr(config, "load", load)
    together = threading.Barrier(8)
    statuses = []

    def ask():
        together.wait(20)
        statuses.append(webtest.TestApp(module.application).get("/").status_int)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 8
    assert made == [1]


def test_the_application_traces_if_configured(tmp_path, monkeypatch):
    with Collector() as collector:
        path = tmp_path / "poppy.conf"
        path.write_text(
            f"[DEFAULT]\nstate_path = {tmp_path}\n"
            f"[tracing]\nenabled = true\nendpoint = {collector.url}\n"
        )
        monkeypatch.setenv("POPPY_CONFIG_FILE", str(path))
        webtest.TestApp(importlib.reload(poppy.wsgi).application).get("/")
        tracing.stop()
        assert [(span.name, span.service) for span in collector.spans] == [
            ("GET /", "poppy-server")
        ]


def test_other_attributes_do_not_exist():
    with pytest.raises(AttributeError, match="app"):
        _ = poppy.wsgi.app
