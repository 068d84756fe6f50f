# SPDX-License-Identifier: Apache-2.0
"""Amazon S3 with TLS, as nodes of the own edge write access logs to it: a front of moto.

moto takes any signature. The front checks those of URLs (:mod:`tests.real.s3_signatures`).
"""

import datetime
import gzip
import http.server
import json
import re
import threading
import urllib.parse
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.real.edge_origins import Authority
from tests.real.moto import Moto
from tests.real.s3_signatures import problem


class LogStore:
    """The store; use it as a context manager.

    Args:
        directory: for the certificate.

    Attributes:
        url: of the endpoint, with TLS.
        ca_file: the CA of its certificate.
        puts: the keys of all accepted requests, in order.
        refusals: why others were refused.
        away: answer every request with 503.
        slow: called after an object was stored, before the answer.
    """

    def __init__(self, directory: Path) -> None:
        authority = Authority(directory)
        self.ca_file = authority.file
        self.puts: list[str] = []
        self.refusals: list[str] = []
        self.away = False
        self.slow = lambda: None
        self._moto = Moto()
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:  # noqa: N802
                status = store._put(self)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_args: Any) -> None:
                pass  # The client was killed.

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.socket = authority.context("localhost").wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://localhost:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._moto.__enter__()
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._moto.__exit__(kind, error, trace)

    def create(self, bucket: str) -> None:
        """Create a bucket."""
        self._moto.client("s3").create_bucket(Bucket=bucket)

    def lines(self, bucket: str, prefix: str = "") -> dict[str, list[Any]]:
        """Return the lines of objects as JSON, by the object's key."""
        client = self._moto.client("s3")
        found = {}
        for entry in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ()):
            body = client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            found[entry["Key"]] = [json.loads(line) for line in gzip.decompress(body).splitlines()]
        return found

    def _put(self, request: http.server.BaseHTTPRequestHandler) -> int:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if self.away:
            return 503
        fields = {name.lower(): value for name, value in request.headers.items()}
        now = datetime.datetime.now(datetime.UTC)
        why = problem(request.command, request.path, fields, now)
        if why is not None:
            self.refusals.append(why)
            return 403
        path = request.path.partition("?")[0]
        auth = {
            "Authorization": "AWS4-HMAC-SHA256 Credential=A/20300101/us-east-1/s3/aws4_request"
        }
        answer = requests.put(f"{self._moto.url}{path}", body, headers=auth, timeout=10)
        if answer.status_code == 200:
            self.puts.append(re.sub("^/[^/]+/", "", urllib.parse.unquote(path)))
        self.slow()
        return answer.status_code
