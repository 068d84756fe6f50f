# SPDX-License-Identifier: Apache-2.0
"""``service sign-url``, without a server."""

import io
import pathlib
import time
import types

import pytest

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
exceptions = pytest.importorskip("osc_lib.exceptions")

from poppyclient.commands.signing import SECRET as VARIABLE  # noqa: E402
from poppyclient.commands.signing import SignURL  # noqa: E402
from poppyclient.signing import sign  # noqa: E402

URL = "https://www.example.com/films/7.mp4?a=1"
SECRET = "0123456789abcdef0123456789abcdef"
EXPIRES = ("--expires", "2033-05-18T03:33:20")


def run(*arguments):
    app = types.SimpleNamespace(stdout=io.StringIO())
    command = SignURL(app, None)
    command.run(command.get_parser("sign-url").parse_args([URL, "--key", "k1", *arguments]))
    return app.stdout.getvalue().strip()


def test_the_secret_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv(VARIABLE, SECRET)
    assert run(*EXPIRES) == sign(URL, "k1", SECRET, 2_000_000_000)
    options = ("--prefix", "/films/", "--client-ip", "192.0.2.1", "--query", "t")
    assert run(*EXPIRES, *options) == sign(
        URL, "k1", SECRET, 2_000_000_000, prefix="/films/", client_ip="192.0.2.1", name="t"
    )


def test_the_secret_is_read_from_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    assert run(*EXPIRES, "--secret-file", str(file)) == sign(URL, "k1", SECRET, 2_000_000_000)
    with pytest.raises(exceptions.CommandError, match="can't be read from"):
        run("--secret-file", str(tmp_path / "missing"))


def test_the_secret_is_asked_for(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: SECRET)
    assert run(*EXPIRES) == sign(URL, "k1", SECRET, 2_000_000_000)


def test_a_url_expires_in_an_hour_by_default(monkeypatch):
    monkeypatch.setenv(VARIABLE, SECRET)
    expiry = int(run().partition("token=k1.")[2].partition(".")[0])
    assert 3590 < expiry - time.time() <= 3601


@pytest.mark.parametrize(
    ("option", "value"), [("--prefix", "/music/"), ("--client-ip", "a"), ("--query", "a b")]
)
def test_an_invalid_argument_is_an_error(monkeypatch, option, value):
    monkeypatch.setenv(VARIABLE, SECRET)
    with pytest.raises(exceptions.CommandError):
        run(option, value)


def test_an_invalid_time_is_an_error(capsys):
    with pytest.raises(SystemExit):
        run("--expires", "tomorrow")
    assert "'tomorrow' is not a time" in capsys.readouterr().err


def test_the_command_is_part_of_the_client():
    setup = pathlib.Path(__file__).parents[3] / "client/setup.cfg"
    assert "cdn_service_sign-url = poppyclient.commands.signing:SignURL" in setup.read_text()
