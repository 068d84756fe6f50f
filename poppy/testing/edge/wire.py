# SPDX-License-Identifier: Apache-2.0
"""The connections of the edge contract: origins that listen, and a client."""

import http.client
import socketserver
import ssl

from poppy.testing.edge.origin import Origins, Reply, Response, Seen
from poppy.testing.edge.promises import Answer, Request
from poppy.testing.loopback import LoopbackServer

_TIMEOUT = 15.0
_SILENCE = 30.0  # Longer than any data plane's timeout in tests.


class OriginServer(LoopbackServer):
    """A context manager: an HTTP/1.1 server that answers as :class:`Origins` say.

    Args:
        origins: the script.
        name: the name by which documents refer to the origin.
        address: an IPv4 address of loopback.
        port: 0 for a free port; services need 80, or 443 with TLS.
        tls: for TLS.
    """

    def __init__(
        self,
        origins: Origins,
        name: str,
        address: str,
        port: int = 80,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(address, port, _TIMEOUT, tls)
        self._origins, self._name = origins, name
        origins.on_stop[name] = self.stop

    def serve(self, connection: socketserver.StreamRequestHandler) -> None:
        """Serve requests until the connection is to be closed."""
        while self._serve(connection):
            pass

    def _serve(self, handler: socketserver.StreamRequestHandler) -> bool:
        """Serve a request; return whether the connection may have another one."""
        line = handler.rfile.readline().decode("latin-1").split()
        if self.ended.is_set() or len(line) != 3:
            return False
        fields = http.client.parse_headers(handler.rfile)
        handler.rfile.read(int(fields.get("Content-Length", 0)))
        method, target, _version = line
        request = Seen(self._name, method, target, fields.items())
        reply, response = self._origins.answer(request)
        self.ended.wait(_SILENCE if reply.fault == "silent" else reply.delay)
        if reply.fault in ("reset", "silent"):
            return False
        handler.wfile.write(_bytes(reply, response, with_body=method != "HEAD"))
        return reply.form != "close" and not reply.fault


def _bytes(reply: Reply, response: Response, *, with_body: bool) -> bytes:
    """Return a response as it is sent."""
    body = response.body
    fields = list(response.fields)
    early = b""
    has_body = response.status not in (204, 304)
    if reply.form == "chunked":
        fields.append(("Transfer-Encoding", "chunked"))
        body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    elif reply.form == "hints":
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    if reply.form in ("length", "hints") and has_body:
        fields.append(("Content-Length", str(len(body))))
    if reply.fault == "truncated":
        body = body[: len(body) // 2]
    version = "1.0" if reply.form == "close" else "1.1"
    head = f"HTTP/{version} {response.status} Reason\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields)
    return early + head.encode() + b"\r\n" + (body if with_body and has_body else b"")


class _Final(http.client.HTTPResponse):
    """A response that skips interim ones, as every client must (RFC 9110, section 15.2)."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 101 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _Connection(http.client.HTTPConnection):
    response_class = _Final


def exchange(
    address: tuple[str, int], request: Request, tls: ssl.SSLContext | None = None
) -> Answer:
    """Send a request to an edge from the client's address, which must be one of loopback.

    Args:
        address: of the edge.
        request: the request.
        tls: how to verify the edge's certificate for the host; None for plain HTTP.
    """
    connection = _Connection(*address, timeout=_TIMEOUT, source_address=(request.client, 0))
    try:
        if tls is not None:
            connection.connect()
            name = request.host.partition(":")[0].rstrip(".")
            connection.sock = tls.wrap_socket(connection.sock, server_hostname=name)
        connection.putrequest(
            request.method, request.target, skip_host=True, skip_accept_encoding=True
        )
        fields = {"Host": request.host, **request.fields}
        if request.body:
            fields["Content-Length"] = str(len(request.body))
        for name, value in fields.items():
            connection.putheader(name, value)
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        is_whole = True
        try:
            body = response.read()
        except http.client.IncompleteRead as exc:
            body, is_whole = exc.partial, False
        found: dict[str, str] = {}
        for name, value in response.getheaders():
            key = name.lower()
            found[key] = f"{found[key]}, {value}" if key in found else value
        return Answer(response.status, found, body, is_whole)
    finally:
        connection.close()
