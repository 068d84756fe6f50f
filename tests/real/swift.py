# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server with the parts of Keystone's v3 API and of Swift that logs need.

Requests go over real sockets. The server does not know Swift's quotas, policies and ACLs.
"""

import http.server
import json
import threading


class Swift:
    """Projects with object stores, and the containers created there.

    Attributes:
        tokens: the project of each token.
        regions: for each project, the regions with an object store.
        containers: the paths of the existing containers.
        failing: answer every PUT with this status.
    """

    def __init__(self):
        self.tokens = {}
        self.regions = {}
        self.containers = []
        self.failing = None
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def catalogue(self, project):
        endpoints = [
            {
                "interface": "public",
                "region": region,
                "region_id": region,
                "url": f"{self.url}/{region}/v1/AUTH_{project}",
            }
            for region in self.regions.get(project, [])
        ]
        return [{"type": "object-store", "name": "swift", "endpoints": endpoints}]

    def _handler(self):
        swift = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                auth = json.loads(self.rfile.read(length))["auth"]
                token = auth["identity"]["token"]["id"]
                project = auth["scope"]["project"]["id"]
                if self.path != "/v3/auth/tokens" or swift.tokens.get(token) != project:
                    self._answer(401, {"error": {"message": "no", "code": 401}})
                    return
                document = {
                    "methods": ["token"],
                    "expires_at": "2999-01-01T00:00:00.000000Z",
                    "issued_at": "2026-01-01T00:00:00.000000Z",
                    "project": {"id": project, "name": project, "domain": {"id": "default"}},
                    "user": {"id": "u", "name": "u", "domain": {"id": "default"}},
                    "catalog": swift.catalogue(project),
                }
                self._answer(201, {"token": document}, {"X-Subject-Token": f"scoped-{project}"})

            def do_PUT(self):
                account = self.path.split("/")[3]
                allowed = self.headers["X-Auth-Token"] == f"scoped-{account[5:]}"
                if swift.failing:
                    self._answer(swift.failing)
                elif not allowed:
                    self._answer(403)
                else:
                    created = self.path not in swift.containers
                    swift.containers.append(self.path)
                    self._answer(201 if created else 202)

            def _answer(self, status, document=None, headers=None):
                body = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        return Handler
