# SPDX-License-Identifier: Apache-2.0
"""Request bodies: which are read, and which are refused before they reach the manager."""

import json

import pytest

from tests.functional import fakes
from tests.functional.fakes import refused

SERVICE = f"/v1.0/services/{fakes.SERVICE_ID}"


class TestBody:
    URL = "/v1.0/services"

    def post(self, app, body, content_type="application/json"):
        headers = {"Content-Type": content_type} if content_type else {}
        return app.post(self.URL, body, headers=headers, expect_errors=True)

    def test_is_passed_on_unchanged(self, app, manager):
        body = {"name": "Zoë ☃", "n": [1, 2.5, None, True]}
        response = self.post(app, json.dumps(body, ensure_ascii=False).encode())
        assert response.status_int == 202
        assert manager.services.calls[0][2] == body

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"{} {}",
            b"{'a': 1}",
            b'{"a": 1,}',
            b'{"a": "\x01"}',
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b'{"a": -Infinity}',
            b'{"a": 1e999}',
            b'{"a": 1, "a": 2}',
            b'[{"a": {"b": 1, "b": 1}}]',
            b'{"a": ' + b"1" * 5000 + b"}",
            b'{"a": -' + b"1" * 20 + b"}",
            b"[" * 30000 + b"]" * 30000,
            b'{"a":' * 10000 + b"1" + b"}" * 10000,
            b"[" * 33 + b"1" + b"]" * 33,
            b'{"a": "\\ud800"}',
            b'{"\\udc00": 1}',
            b'{"a": ["\\u0000"]}',
            b"\xff\xfe{\x00}\x00",
            b'{"a": "\xc3"}',
            b'\xef\xbb\xbf{"a": 1}',
        ],
        ids=lambda body: repr(body[:24]),
    )
    def test_of_invalid_json_is_refused(self, app, manager, body):
        refused(self.post(app, body), 400)
        assert manager.services.calls == []

    def test_may_nest_32_deep(self, app):
        assert self.post(app, b"[" * 32 + b"1" + b"]" * 32).status_int == 202

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            'application/json;charset="UTF-8"',
        ],
    )
    def test_of_json_types_is_accepted(self, app, content_type):
        assert self.post(app, b"{}", content_type).status_int == 202

    @pytest.mark.parametrize(
        "content_type",
        [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=latin-1",
            "application/json; v=2",
            "application/json-patch+json",
            "application/jsonx",
            ";",
            "é",
        ],
    )
    def test_of_another_type_is_refused(self, loose, manager, content_type):
        environ = {"CONTENT_TYPE": content_type}
        response = loose.post(self.URL, b"{}", extra_environ=environ, expect_errors=True)
        assert "application/json" in refused(response, 415)
        assert response.headers["Accept"] == "application/json"
        assert manager.services.calls == []

    def test_without_a_content_type_is_refused(self, loose):
        request = loose.RequestClass.blank(
            self.URL, {"HTTP_X_PROJECT_ID": "1"}, method="POST", body=b"{}"
        )
        request.environ.pop("CONTENT_TYPE", None)
        refused(loose.do_request(request, expect_errors=True), 415)

    def test_must_not_be_compressed(self, app):
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        refused(app.post(self.URL, b"{}", headers=headers, expect_errors=True), 415)

    @pytest.mark.parametrize("content_type", ["application/json", "application/json-patch+json"])
    def test_of_patch_may_be_json_patch(self, app, content_type):
        app.patch(SERVICE, "[]", headers={"Content-Type": content_type}, status=202)

    def test_of_patch_of_another_type_names_the_accepted_types(self, app):
        response = app.patch(SERVICE, "[]", headers={"Content-Type": "text/plain"}, status=415)
        assert response.headers["Accept-Patch"] == "application/json, application/json-patch+json"

    def test_may_be_as_large_as_the_limit(self, app):
        assert self.post(app, b'"' + b"x" * 65534 + b'"').status_int == 202

    def test_over_the_limit_is_refused(self, app, manager):
        assert "65536" in refused(self.post(app, b'"' + b"x" * 65535 + b'"'), 413)
        assert manager.services.calls == []

    def test_limit_is_an_option(self, make):
        app = make(limits__max_body_size=1024)
        refused(self.post(app, b'"' + b"x" * 1024 + b'"'), 413)

    def stream(self, app, body, environ):
        request = app.RequestClass.blank(self.URL, {"HTTP_X_PROJECT_ID": "1"}, method="POST")
        request.environ.update({"CONTENT_TYPE": "application/json", "wsgi.input": body})
        request.environ.pop("CONTENT_LENGTH", None)
        request.environ.update(environ)
        return app.do_request(request, expect_errors=True)

    def test_without_a_length_is_read_to_its_end(self, loose):
        body = Dripping(b'{"a": 1}')
        assert self.stream(loose, body, {"wsgi.input_terminated": True}).status_int == 202

    def test_without_a_length_over_the_limit_is_refused(self, loose):
        body = Dripping(b"[" + b" " * 70000 + b"]")
        refused(self.stream(loose, body, {"wsgi.input_terminated": True}), 413)
        assert body.given <= 65537

    def test_without_a_length_or_an_end_counts_as_empty(self, loose):
        refused(self.stream(loose, Dripping(b"{}"), {}), 400)

    def test_shorter_than_its_length_is_refused(self, loose):
        response = self.stream(loose, Dripping(b"{}"), {"CONTENT_LENGTH": "5"})
        assert "shorter" in refused(response, 400)

    @pytest.mark.parametrize("length", ["-1", "x", "1.5", "9" * 30, "²"])
    def test_with_an_invalid_length_is_refused(self, loose, length):
        refused(self.stream(loose, Dripping(b"{}"), {"CONTENT_LENGTH": length}), 400)

    def test_with_a_huge_length_is_not_read(self, loose):
        body = Dripping(b"{}")
        refused(self.stream(loose, body, {"CONTENT_LENGTH": "9999999999"}), 413)
        assert body.given == 0

    def test_of_delete_is_ignored(self, app):
        app.delete(SERVICE, headers={"Content-Type": "application/json"}, status=202)

    def test_query_parameters_never_become_arguments(self, app, manager):
        app.delete(SERVICE + "?service_id=x&request=y&_method=get", status=202)
        assert manager.services.calls[0][:3] == ("delete", fakes.PROJECT, fakes.SERVICE_ID)


class Dripping:
    """A body that arrives three bytes at a time."""

    def __init__(self, content):
        self.content = content
        self.given = 0

    def read(self, size):
        part = self.content[self.given : self.given + min(size, 3)]
        self.given += len(part)
        return part
