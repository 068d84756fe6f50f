# SPDX-License-Identifier: Apache-2.0
"""Secrets do not reach the log."""

import io
import logging

import pytest
from oslo_config import cfg

from poppy.common import config, driver, errors, logs

SECRET = "s3cr3t-4711"


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr(logs, "_known", set())


@pytest.mark.parametrize(
    "text",
    [
        "connection = postgresql+psycopg2://poppy:{}@db.example.com/poppy",
        "can't reach https://:{}@host",
        "X-Auth-Token: {}",
        "x-subject-token: {}, Accept: */*",
        "{{'X-Auth-Token': '{}', 'Accept': '*/*'}}",
        "[('X-Service-Token', '{}')]",
        "headers={{b'X-Auth-Token': b'{}'}}",
        "Authorization: Bearer {}",
        "'Authorization': 'Basic {}'",
        "Fastly-Key: {}",
        "api_key='{}'",
        '{{"password": "{}"}}',
        "password={}",
        "client_secret={}",
        "GET /v3?token={}",
    ],
)
def test_text_that_looks_like_a_secret_is_masked(text):
    masked = logs.mask(text.format(SECRET))
    assert SECRET not in masked
    assert logs.MASK in masked


@pytest.mark.parametrize(
    "text",
    [
        "GET /v1.0/services/01981f6e-2b8f-7c3a-9d52-6f0c3a7e1b44 answered 200",
        "origin http://origin.example.com:8080/a@b is down",
        "the fencing token of attempt 3 is gone",
        "http://[::1]:8888 answers; key of the job: a/b",
    ],
)
def test_other_text_is_unchanged(text):
    assert logs.mask(text) == text


def test_values_of_secret_options_are_masked_everywhere(tmp_path):
    class Example(driver.Driver):
        KIND = "provider"
        OPTS = (
            cfg.StrOpt("key", secret=True),
            cfg.ListOpt("keys", secret=True),
            cfg.StrOpt("url", secret=True),
            cfg.StrOpt("empty", secret=True, default=""),
            cfg.StrOpt("short", secret=True),
            cfg.StrOpt("region"),
        )

    path = tmp_path / "poppy.conf"
    path.write_text(
        "[drivers:provider:x]\nkey = kkkk-1\nkeys = kkkk-2,kkkk-3\nshort = in\nregion = north\n"
        "url = http://user:p%40ss%2Fword@host.example.com/path\n"
    )
    Example(config.load([], files=[str(path)]), "x")
    text = "kkkk-1 kkkk-2 kkkk-3 p%40ss%2Fword p@ss/word in north host.example.com"
    assert logs.mask(text) == "*** *** *** *** *** in north host.example.com"


def test_an_unwritable_log_file_is_reported(tmp_path):
    path = tmp_path / "nowhere" / "poppy.log"
    conf = config.load(["--log-file", str(path)], files=[])
    with pytest.raises(errors.ConfigError, match=f"log_file .*{path}"):
        logs.setup(conf)


def test_formatters_mask_arguments_and_tracebacks():
    logs.register_secrets([SECRET])
    conf = config.new()
    conf([])
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("poppy.test_logs")
    logger.addHandler(handler)
    level = logging.root.level
    try:
        logs.setup(conf)
        logs.setup(conf)
        try:
            raise ValueError(f"it was {SECRET}")
        except ValueError:
            logger.exception("no luck with %s", SECRET)
    finally:
        logger.removeHandler(handler)
        logging.root.setLevel(level)
    written = stream.getvalue()
    assert "no luck with ***" in written
    assert "ValueError: it was ***" in written
    assert SECRET not in written
