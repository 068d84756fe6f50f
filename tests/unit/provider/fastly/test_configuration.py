# SPDX-License-Identifier: Apache-2.0
"""The mapping of each field of a service."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poppy.common.errors import PermanentError
from poppy.model import paths
from poppy.model.document.delivery import Delivery
from poppy.model.document.origins import SecretHeader
from poppy.model.secrets import Secret
from poppy.model.specs import (
    Caching,
    Origin,
    Restriction,
    Rule,
    ServiceSpec,
)
from poppy.provider.fastly.configuration import Objects, Settings, digest, wanted
from poppy.testing.builders import make_spec
from tests.real import fastly_vcl
from tests.unit.provider.fastly.services import whole_service


def objects(spec: ServiceSpec, chosen: Settings | None = None) -> Objects:
    return wanted(spec, chosen or Settings())


def backend(origin: Origin) -> Mapping[str, str]:
    return objects(make_spec(origins=(origin,)))["backend"]["poppy origin 0"]


def snippet(spec: ServiceSpec, name: str = "poppy request") -> str:
    return objects(spec)["snippet"][name]["content"]


def test_origins_by_path_have_conditions_and_the_first_has_none() -> None:
    found = objects(whole_service().spec)

    assert found["backend"]["poppy origin 0"]["request_condition"] == ""
    assert found["backend"]["poppy origin 1"]["request_condition"] == "poppy origin 1"
    condition = found["condition"]["poppy origin 1"]
    assert condition["type"] == "REQUEST"
    assert condition["statement"] == 'req.http.X-Poppy-Origin == "1"'


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (Origin("o.example.com"), {"port": "80", "use_ssl": "0", "override_host": ""}),
        (
            Origin("o.example.com", 443, True),
            {
                "port": "443",
                "use_ssl": "1",
                "ssl_check_cert": "1",
                "ssl_cert_hostname": "o.example.com",
                "ssl_sni_hostname": "o.example.com",
            },
        ),
        (Origin("o.example.com", hostheadertype="origin"), {"override_host": "o.example.com"}),
        (Origin("2001:db8::7", hostheadertype="origin"), {"override_host": "[2001:db8::7]"}),
        (
            Origin("192.0.2.7", 443, True, "custom", "c.example.com"),
            {
                "address": "192.0.2.7",
                "override_host": "c.example.com",
                "ssl_cert_hostname": "c.example.com",
                "ssl_sni_hostname": "c.example.com",
            },
        ),
        (
            Origin("o.example.com", 443, True, "custom", "c.example.com"),
            {"override_host": "c.example.com", "ssl_cert_hostname": "o.example.com"},
        ),
        (
            Origin("192.0.2.7", 443, True, verify_name="v.example.com"),
            {"ssl_cert_hostname": "v.example.com", "ssl_sni_hostname": "v.example.com"},
        ),
        (
            Origin("o.example.com", connect_timeout=2, response_timeout=7),
            {
                "connect_timeout": "2000",
                "first_byte_timeout": "7000",
                "between_bytes_timeout": "60000",
            },
        ),
    ],
)
def test_an_origin_is_a_backend(origin: Origin, expected: dict[str, str]) -> None:
    found = backend(origin)
    assert {name: found.get(name) for name in expected} == expected


def test_times_are_configurable() -> None:
    found = objects(whole_service().spec, Settings(7, 1.5, 2.0, 0.25, stale_if_error=9))

    origin = found["backend"]["poppy origin 0"]
    assert origin["connect_timeout"] == "1500"
    assert origin["first_byte_timeout"] == "2000"
    assert origin["between_bytes_timeout"] == "250"
    answer = found["snippet"]["poppy answer"]["content"]
    assert "stale_while_revalidate = 7s" in answer
    assert "stale_if_error = 9s" in answer


def test_caching_is_decided_in_one_snippet() -> None:
    found = objects(whole_service().spec)
    content = found["snippet"]["poppy answer"]["content"]

    assert found["snippet"]["poppy answer"]["type"] == "fetch"
    assert 'req.http.X-Poppy-Caching == "0" && ' in content
    assert "set beresp.ttl = 3600s;" in content
    assert 'req.http.X-Poppy-Caching ~ "^(?:1)$"' in content  # TTL 0.
    assert found["cache_settings"] == {}
    assert {entry["type"] for entry in found["condition"].values()} == {"REQUEST"}


def test_restrictions_create_a_403_response_and_acls() -> None:
    found = objects(whole_service().spec)

    assert found["response_object"]["poppy refused"]["status"] == "403"
    assert found["snippet"]["poppy clients"]["type"] == "init"
    assert '"192.0.2.0"/24;' in found["snippet"]["poppy clients"]["content"]
    assert '"2001:db8::"/32;' in found["snippet"]["poppy clients"]["content"]
    assert 'client.geo.country_code ~ "^(?:CA)$"' in found["snippet"]["poppy request"]["content"]


def test_without_restrictions_there_is_no_403_response() -> None:
    found = objects(make_spec())
    assert list(found["response_object"]) == ["poppy malformed"]
    assert "poppy clients" not in found["snippet"]


def test_purges_require_the_token() -> None:
    text = snippet(make_spec())
    assert 'if (req.method == "FASTLYPURGE") {' in text
    assert 'set req.http.Fastly-Purge-Requires-Auth = "1";' in text


def test_different_documents_have_different_digests() -> None:
    spec = whole_service().spec
    assert digest(objects(spec)) == digest(objects(replace(spec)))
    assert digest(objects(spec)) != digest(objects(replace(spec, caching=spec.caching[:1])))
    assert digest(objects(spec)) != digest(objects(spec, Settings(grace=1)))


_text = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=1, max_size=30)
_hostile = st.sampled_from(['"} error 500; #', "%22", '"', "\n}", "{{", "*/", "%", "\\", '")'])


# No deadline: the time depends mostly on the machine.
@settings(deadline=None)
@given(path=_text | _hostile, referrer=_text | _hostile)
def test_tenant_text_cannot_inject_vcl(path: str, referrer: str) -> None:
    rule = Rule("r", path, referrer=referrer)
    spec = make_spec(
        origins=(Origin("a.example.com"), Origin("b.example.com", rules=(Rule("o", path),))),
        caching=(Caching("c", 5, (Rule("c", path),)),),
        restrictions=(Restriction("r", "blacklist", (rule,)),),
    )
    plain = replace(
        spec,
        origins=(Origin("a.example.com"), Origin("b.example.com", rules=(Rule("o", "/x"),))),
        caching=(Caching("c", 5, (Rule("c", "/x"),)),),
        restrictions=(
            Restriction("r", "blacklist", (Rule("r", "/x", referrer="x.example.com"),)),
        ),
    )

    assert list(fastly_vcl.problems(objects(spec))) == []
    if paths.canonical(path) != "/*":
        # The statements are the same for any strings.
        assert _skeleton(snippet(spec)) == _skeleton(snippet(plain))


def _skeleton(text: str) -> str:
    return "".join(part for number, part in enumerate(text.split('"')) if number % 2 == 0)


def test_a_redirect_to_https_is_an_error_of_its_own() -> None:
    spec = make_spec(delivery=Delivery(https_redirect=True, redirect_status=308))

    assert "error 608;" in snippet(spec)
    assert "set obj.status = 308;" in snippet(spec, "poppy redirect")
    assert not list(fastly_vcl.problems(objects(spec)))
    assert "poppy redirect" not in objects(make_spec())["snippet"]
    assert "error" not in snippet(make_spec())


@pytest.mark.parametrize("text", ["error 404;", "error 801;", 'synthetic {""};'])
def test_the_double_refuses_other_errors(text: str) -> None:
    found = objects(make_spec())
    found["snippet"]["poppy request"]["content"] += text  # type: ignore[index]
    assert list(fastly_vcl.problems(found))


def test_paths_and_secret_fields_are_of_requests_to_origins() -> None:
    secret = SecretHeader("X-Edge", Secret("0" * 8, "sealed"))
    spec = make_spec(
        origins=(
            Origin("a.example.com", path="/a/"),
            Origin("b.example.com", rules=(Rule("b", "/b/*"),), secret_header=secret),
        )
    )
    found = objects(spec)
    (table,) = found["dictionary"]

    assert list(fastly_vcl.problems(found)) == []
    for name in ("poppy miss", "poppy pass"):
        assert snippet(spec, name).startswith(
            'if (!req.http.X-Poppy-Origin) {\n  set bereq.url = "/a" + bereq.url;\n}\n'
            'if (req.http.X-Poppy-Origin == "1") {\n'
            f'  set bereq.http.X-Edge = table.lookup({table}, "origin:1", "");\n}}\n'
        )
    assert "unset req.http.X-Edge;" in snippet(spec)
    assert "sealed" not in str(found)


@pytest.mark.parametrize("name", ["X!", "Fastly-Client", "Surrogate-Capability"])
def test_secret_fields_that_fastly_cannot_set_are_refused(name: str) -> None:
    origin = Origin("a.example.com", secret_header=SecretHeader(name, Secret("0" * 8, "s")))
    with pytest.raises(PermanentError, match=re.escape(name)):
        objects(make_spec(origins=(origin,)))
