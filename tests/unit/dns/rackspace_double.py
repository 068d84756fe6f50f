# SPDX-License-Identifier: Apache-2.0
"""A stateful double of Rackspace's identity and Cloud DNS, built from their documentation.

It stores records as documented for each operation, runs every change as a job, and refuses what
is documented as refused: bad and old tokens, TTLs below 300, more than 100 entities, a record
beside a CNAME, unknown records and domains, and too many requests.
"""

import datetime
import http.server
import itertools
import json
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

ACCOUNT = "1234"
Records = dict[str, dict[str, Any]]


class Fault(Exception):
    def __init__(self, code: int, message: str, details: str = "", **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {"message": message, "code": code, "details": details, **more}


class CloudDNS(http.server.ThreadingHTTPServer):
    """Both services on one port.

    Attributes:
        domains: records by id, by domain id; ``names``: the domains' names by id.
        looks: how often a job is reported as RUNNING before it is done.
        refuse: faults that answer the next requests, by method.
        asked: method and path of every request.
    """

    daemon_threads = True

    def __init__(self, *names: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.user = ("poppy", "s3cret")
        self.names = {str(2725233 + number): name for number, name in enumerate(names)}
        self.domains: dict[str, Records] = {domain: {} for domain in self.names}
        self.tokens: set[str] = set()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.looks = 0
        self.refuse: dict[str, list[tuple[Fault, dict[str, str]]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self._numbers = itertools.count(1)

    def cname(self, name: str) -> str | None:
        for records in self.domains.values():
            for record in records.values():
                if record["type"] == "CNAME" and record["name"] == name:
                    return str(record["data"])
        return None

    def put(self, domain: str, kind: str, name: str, data: str) -> None:
        identifier = f"{kind}-{next(self._numbers)}"
        entry = {"id": identifier, "type": kind, "name": name, "data": data, "ttl": 3600}
        self.domains[domain][identifier] = entry

    def log_in(self, body: Any) -> dict[str, Any]:
        given = body["auth"]["RAX-KSKEY:apiKeyCredentials"]
        if (given["username"], given["apiKey"]) != self.user:
            raise Fault(401, "Unable to authenticate user with credentials provided.")
        token = f"token-{next(self._numbers)}"
        self.tokens.add(token)
        endpoint = {"publicURL": f"{self.url}/v1.0/{ACCOUNT}", "tenantId": ACCOUNT}
        catalog = [
            {"name": "cloudFiles", "type": "object-store", "endpoints": []},
            {"name": "cloudDNS", "type": "rax:dns", "endpoints": [endpoint]},
        ]
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
        token_entry = {"id": token, "expires": expires.isoformat(), "tenant": {"id": ACCOUNT}}
        return {"access": {"token": token_entry, "serviceCatalog": catalog, "user": {}}}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        parts = path.removeprefix(f"/v1.0/{ACCOUNT}/").split("/")
        if parts == ["limits"]:
            return {"limits": {"rate": [], "absolute": {"domains": 500}}}
        if parts[0] == "status":
            return self._status(parts[1], query)
        if parts == ["domains"]:
            wanted = query["name"][0]
            found = [{"id": int(i), "name": name} for i, name in self.names.items()]
            found = [entry for entry in found if entry["name"] == wanted]
            return {"domains": found, "totalEntries": len(self.names)}
        if parts[1] not in self.domains:
            raise Fault(404, "Object not Found.", f"Domain ID: {parts[1]}")
        records = self.domains[parts[1]]
        if method == "GET":
            if "type" not in query:
                raise Fault(400, "Validation Exception", "A search needs a type.")
            wanted = (query["type"][0], query["name"][0])
            found = [it for it in records.values() if (it["type"], it["name"]) == wanted]
            return {"records": found[:100], "totalEntries": len(found)}
        work = {"POST": self._add, "PUT": self._change, "DELETE": self._delete}[method]
        return self._start(method, path, lambda: work(records, query, body))

    def _start(self, method: str, path: str, work: Callable[[], Any]) -> dict[str, Any]:
        job_id = f"job-{next(self._numbers)}"
        job = {
            "jobId": job_id,
            "callbackUrl": f"{self.url}/v1.0/{ACCOUNT}/status/{job_id}",
            "status": "RUNNING",
            "verb": method,
            "requestUrl": self.url + path,
        }
        self.jobs[job_id] = {"basic": job, "looks": self.looks, "work": work}
        return job

    def _status(self, job_id: str, query: dict[str, list[str]]) -> dict[str, Any]:
        if job_id not in self.jobs:
            raise Fault(404, "Object not Found.", f"Job ID: {job_id}")
        job = self.jobs[job_id]
        if job["looks"] > 0:
            job["looks"] -= 1
        elif job["basic"]["status"] == "RUNNING":
            try:
                job["details"] = {"response": job["work"]()}
                job["basic"]["status"] = "COMPLETED"
            except Fault as fault:
                job["details"] = {"error": fault.body}
                job["basic"]["status"] = "ERROR"
        details = job.get("details", {}) if query.get("showDetails") == ["true"] else {}
        return {**job["basic"], **details}

    def _add(self, records: Records, _query: Any, body: Any) -> Any:
        added: Records = {}
        for entry in _limited(body):
            if "id" in entry:
                raise Fault(400, "Validation Exception", "id must not be specified")
            for other in [*records.values(), *added.values()]:
                if other["name"] == entry["name"] and "CNAME" in (other["type"], entry["type"]):
                    raise Fault(409, "The object already exists.", "Record conflicts.")
            identifier = f"{entry['type']}-{next(self._numbers)}"
            added[identifier] = {**entry, "id": identifier}
        records.update(added)
        return {"records": list(added.values()), "totalEntries": len(added)}

    def _change(self, records: Records, _query: Any, body: Any) -> Any:
        entries = _limited(body)
        for entry in entries:
            if entry["id"] not in records:
                raise Fault(404, "Object not Found.", f"Record ID: {entry['id']}")
            if records[entry["id"]]["name"] != entry["name"]:
                raise Fault(400, "Validation Exception", "name can't be modified")
        for entry in entries:
            records[entry["id"]].update(entry)
        return None

    def _delete(self, records: Records, query: dict[str, list[str]], _body: Any) -> Any:
        missing = [it for it in query["id"] if records.pop(it, None) is None]
        if missing:
            faults = [
                {"message": "Object not Found.", "code": 404, "details": f"Record ID: {it}"}
                for it in missing
            ]
            message = "One or more items could not be deleted."
            raise Fault(500, message, "See errors list.", failedItems={"faults": faults})
        return None


def _limited(body: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = body["records"]
    if len(entries) > 100:
        raise Fault(413, "The request is over the limit.", "Limit of 100 entities per call.")
    for entry in entries:
        if entry.get("ttl", 3600) < 300:
            raise Fault(400, "Validation Exception", "TTL must be at least 300")
    return entries


class _Handler(http.server.BaseHTTPRequestHandler):
    server: CloudDNS

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        url = urllib.parse.urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(data) if data else None
        headers: dict[str, str] = {}
        with server.lock:
            server.asked.append((self.command, url.path))
            try:
                if url.path == "/v2.0/tokens":
                    status, reply = 200, server.log_in(body)
                else:
                    if self.headers.get("X-Auth-Token") not in server.tokens:
                        raise Fault(401, "Unauthorized")
                    if server.refuse.get(self.command):
                        fault, headers = server.refuse[self.command].pop(0)
                        raise fault
                    query = urllib.parse.parse_qs(url.query)
                    reply = server.answer(self.command, url.path, query, body)
                    status = 200 if self.command == "GET" else 202
            except Fault as fault:
                status, reply = fault.code, fault.body
        content = json.dumps(reply).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()
