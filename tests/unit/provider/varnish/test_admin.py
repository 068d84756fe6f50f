# SPDX-License-Identifier: Apache-2.0
"""The client of the management port, against a double of Varnish."""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from poppy.common import tracing
from poppy.common.errors import PermanentError, RetryableError, Scope, TimedOut, Unauthorized
from poppy.provider.varnish.admin import Admin, Refused
from tests.spans import Spans

SECRET = b"the secret\n"
CHALLENGE = "abcdefghijklmnopqrstuvwxyzABCDEF"
PROOF = hashlib.sha256(
    CHALLENGE.encode() + b"\n" + SECRET + CHALLENGE.encode() + b"\n"
).hexdigest()


def reply(status: int, text: str) -> bytes:
    return f"{status:<3d} {len(text):<8d}\n{text}\n".encode()


class Server:
    """A double that answers each line from ``answers``, in pieces of ``piece`` bytes."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {}
        self.banner = reply(200, "Varnish")
        self.piece = 1000
        self.pause = 0.0
        self.lines: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                try:
                    self._converse(connection, lines.readline)
                except OSError:
                    continue

    def _converse(self, connection: socket.socket, readline: Callable[[], bytes]) -> None:
        self._send(connection, self.banner)
        while line := readline().decode().rstrip("\n"):
            self.lines.append(line)
            answer = self.answers.get(line.split(" <<")[0], reply(200, "fine"))
            if answer is None:
                return
            if " << " in line:
                token = line.split()[-1]
                while (more := readline().decode().rstrip("\n")) != token:
                    self.lines.append(more)
            self._send(connection, answer)

    def _send(self, connection: socket.socket, data: bytes) -> None:
        for start in range(0, len(data), self.piece):
            connection.sendall(data[start : start + self.piece])
            time.sleep(self.pause)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def connect(server: Server, timeout: float = 5) -> Admin:
    return Admin(server.address, SECRET, timeout)


def test_a_command_gets_its_answer(server: Server) -> None:
    server.answers["ping"] = reply(200, "PONG")

    with connect(server) as admin:
        assert admin.command("ping") == "PONG"
        assert admin.command("other") == "fine"


def test_the_challenge_is_answered_without_the_secret(server: Server) -> None:
    server.banner = reply(107, f"{CHALLENGE}\n\nAuthentication required.\n")

    with connect(server) as admin:
        admin.command("ping")

    assert server.lines == [f"auth {PROOF}", "ping"]


def test_a_wrong_secret_is_unauthorized(server: Server) -> None:
    server.banner = reply(107, f"{CHALLENGE}\n")
    server.answers[f"auth {PROOF}"] = reply(107, f"{CHALLENGE}\n")

    with pytest.raises(Unauthorized, match="secret"):
        connect(server)


def test_a_reply_may_arrive_in_pieces(server: Server) -> None:
    server.piece = 1
    server.answers["ping"] = reply(200, "line\n" * 50)

    with connect(server) as admin:
        assert admin.command("ping") == "line\n" * 50
        assert admin.command("ping") == "line\n" * 50


def test_words_are_quoted_where_needed(server: Server) -> None:
    with connect(server) as admin:
        admin.command("ban", "obj.http.x-y", "~", 'a "b" \\x2e', "&&")
        admin.command("ban", "")
        with pytest.raises(PermanentError):
            admin.command("ban", "line\nfeed")

    assert server.lines == [r'ban obj.http.x-y ~ "a \"b\" \\x2e" &&', 'ban ""']


def test_vcl_is_sent_unchanged_and_cannot_end_the_command(server: Server) -> None:
    text = "vcl 4.1;\nEOF\n<< EOF\nquit"

    with connect(server) as admin:
        admin.inline("name", text)
        admin.inline("name", text)

    first, second = (line for line in server.lines if line.startswith("vcl.inline"))
    assert first != second
    assert server.lines[1:5] == text.split("\n")


def test_a_refusal_has_the_message_of_the_compiler(server: Server) -> None:
    server.answers["vcl.inline name"] = reply(
        106,
        "Message from VCC-compiler:\nExpected ';'\n('<vcl.inline>' Line 3 Pos 1)\n"
        "foo\n###\nRunning VCC-compiler failed, exited with 2\nVCL compilation failed",
    )

    with (
        connect(server) as admin,
        pytest.raises(Refused, match=r"Expected ';'; \('<vcl.inline>' Line 3") as info,
    ):
        admin.inline("name", "vcl")
    assert info.value.status == 106


def test_a_node_without_a_working_compiler_is_retryable(server: Server) -> None:
    server.answers["vcl.inline name"] = reply(
        106, "sh: 1: gcc: not found\nRunning C-compiler failed, exited with 127\n"
    )

    with connect(server) as admin, pytest.raises(RetryableError, match="gcc: not found"):
        admin.inline("name", "vcl")


def test_json_is_returned_without_its_header(server: Server) -> None:
    server.answers["vcl.list -j"] = reply(200, '[2, ["vcl.list", "-j"], 17.5, {"name": "a"}]')
    server.answers["bad -j"] = reply(200, "no JSON")

    with connect(server) as admin:
        assert admin.json("vcl.list") == [{"name": "a"}]
        with pytest.raises(RetryableError):
            admin.json("bad")


def test_a_truncated_answer_is_requested_again(server: Server) -> None:
    server.answers["long"] = reply(201, "cut o")

    with connect(server) as admin, pytest.raises(PermanentError, match="cli_limit"):
        admin.command("long")

    assert server.lines == ["long", "param.set cli_limit 99999999", "long"]


def test_a_closed_port_is_retryable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RetryableError, match=f"127.0.0.1:{port}"):
        Admin(f"127.0.0.1:{port}", SECRET, 1)


@pytest.mark.parametrize("address", ["nonsense", "host:", ":80", "host:port"])
def test_an_invalid_address_is_permanent(address: str) -> None:
    with pytest.raises(PermanentError, match="host:port"):
        Admin(address, SECRET, 1)


def test_a_closed_connection_is_retryable(server: Server) -> None:
    server.answers["ping"] = None

    with connect(server) as admin, pytest.raises(RetryableError, match="closed"):
        admin.command("ping")


def test_a_shutdown_of_varnish_is_retryable(server: Server) -> None:
    server.answers["ping"] = reply(500, "Closing CLI connection")

    with connect(server) as admin, pytest.raises(RetryableError, match="closed the connection"):
        admin.command("ping")


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400\n", b"200 99999999999\n", b"abc defghijk\n", b"200 -1      \n"]
)
def test_another_protocol_at_the_port_is_retryable(server: Server, garbage: bytes) -> None:
    server.banner = garbage

    with pytest.raises(RetryableError):
        connect(server, 0.5)


def test_an_answer_that_exceeds_the_timeout_is_retryable(server: Server) -> None:
    # Each byte arrives in time, but the whole answer does not.
    server.answers["ping"] = reply(200, "x" * 100)
    with connect(server, 0.3) as admin:
        server.piece, server.pause = 1, 0.02
        begin = time.monotonic()
        with pytest.raises(RetryableError, match="timed out"):
            admin.command("ping")
        assert time.monotonic() - begin < 1


@pytest.mark.parametrize(
    ("command", "scope"),
    [(["ping"], Scope.PROVIDER), (["vcl.label", "a", "b"], Scope.SERVICE)],
)
def test_a_timeout_of_a_vcl_command_has_service_scope(
    server: Server, command: list[str], scope: Scope
) -> None:
    server.answers[" ".join(command)] = reply(200, "x" * 100)
    with connect(server, 0.3) as admin:
        server.piece, server.pause = 1, 0.02
        with pytest.raises(TimedOut) as caught:
            admin.command(*command)
    assert caught.value.scope is scope


def test_a_silent_server_is_retryable(server: Server) -> None:
    server.banner = b""

    with pytest.raises(RetryableError, match="timed out"):
        connect(server, 0.2)


def test_commands_are_traced_without_arguments(server: Server, spans: Spans) -> None:
    server.banner = reply(107, f"{CHALLENGE}\n\nAuthentication required.\n")
    server.answers['vcl.use "a b"'] = reply(106, "no such VCL")
    with tracing.span("call", parent={}), connect(server) as admin:
        admin.command("ping")
        with pytest.raises(Refused):
            admin.command("vcl.use", "a b")
    assert spans.names() == ["varnish ping", "varnish vcl.use", "call"]
    told = dict(spans.one("varnish vcl.use").attributes)
    assert f"{told['server.address']}:{told['server.port']}" == server.address
    assert told["error.type"] == "106"
    assert PROOF not in spans.text()
