# SPDX-License-Identifier: Apache-2.0
"""Changes of header fields as behaviours of Property Manager."""

from typing import Any

import pytest

from poppy.common.errors import PermanentError
from poppy.model.document.headers import HeaderRules, RequestChanges, ResponseChanges
from poppy.model.document.paths import PathRule
from poppy.provider.akamai import headers, rules
from tests.real.akamai_interpreter import Client
from tests.unit.provider.akamai.test_caching import errors_of
from tests.unit.provider.akamai.test_rules import SETTINGS, served, spec

REQUEST, RESPONSE = "modifyIncomingRequestHeader", "modifyOutgoingResponseHeader"


def changed(*entries: HeaderRules, path: str = "/") -> dict[str, Any]:
    return served(spec(headers=entries), Client(path))


@pytest.mark.parametrize(
    ("made", "options"),
    [
        (
            headers.set_request("accept-language", "de"),
            {
                "action": "MODIFY",
                "standardModifyHeaderName": "ACCEPT_LANGUAGE",
                "newHeaderValue": "de",
                "avoidDuplicateHeaders": True,
            },
        ),
        (
            headers.delete_request("Cookie"),
            {
                "action": "DELETE",
                "standardDeleteHeaderName": "OTHER",
                "customHeaderName": "Cookie",
            },
        ),
        (
            headers.add_response("Content-Type", "text/css"),
            {
                "action": "ADD",
                "standardAddHeaderName": "CONTENT_TYPE",
                "headerValue": "text/css",
            },
        ),
        (
            headers.delete_response("Expires"),
            {"action": "DELETE", "standardDeleteHeaderName": "EXPIRES"},
        ),
    ],
)
def test_fields_that_akamai_knows_have_their_own_value(
    made: dict[str, Any], options: dict[str, Any]
) -> None:
    assert made["options"] == options
    assert errors_of(made) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (REQUEST, {"action": "REGEX"}),
        (REQUEST, {"standardDeleteHeaderName": "COOKIE"}),
        (REQUEST, {"customHeaderName": "a b"}),
        (REQUEST, {"headerValue": "x"}),
        (RESPONSE, {"standardDeleteHeaderName": "IF_MODIFIED_SINCE"}),
    ],
)
def test_the_double_refuses_other_edits(name: str, change: dict[str, Any]) -> None:
    options = headers.delete_request("X-A")["options"]
    assert errors_of({"name": name, "options": options}) == []
    assert errors_of({"name": name, "options": {**options, **change}})


def test_each_entry_removes_first_and_then_sets_and_adds() -> None:
    entry = HeaderRules(
        "all",
        response=ResponseChanges({"X-A": "1"}, {"X-B": "2"}, ("X-C",)),
        request=RequestChanges({"X-D": "3"}, ("X-E",)),
    )
    found = changed(entry)
    assert [it["action"] for it in found[RESPONSE][-3:]] == ["DELETE", "MODIFY", "ADD"]
    assert [it["customHeaderName"] for it in found[REQUEST][-2:]] == ["X-E", "X-D"]


def test_an_entry_is_for_its_paths() -> None:
    paths = (PathRule("a", "/a/*"), PathRule("b", "/b"))
    entry = HeaderRules("some", paths, response=ResponseChanges(remove=("Server",)))
    for path, applies in (("/a/x", True), ("/b", True), ("/c", False), ("/ab", False)):
        removed = [it["customHeaderName"] for it in changed(entry, path=path)[RESPONSE]]
        assert ("Server" in removed) == applies, path


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            HeaderRules("v", request=RequestChanges({"X-A": "{{user.PMUSER_X}}"})),
            r"headers\[0\].request.set: X-A: Akamai reads '{{'",
        ),
        (
            HeaderRules("q", (PathRule("q", "/a?b"),), RequestChanges(remove=("X-A",))),
            "Rule 'q': Akamai does not match queries",
        ),
    ],
)
def test_what_akamai_would_read_in_another_way_is_refused(
    entry: HeaderRules, message: str
) -> None:
    with pytest.raises(PermanentError, match=message):
        rules.check(spec(headers=(entry,)), SETTINGS)
