# SPDX-License-Identifier: Apache-2.0
"""The Akamai driver's routes for operators through the complete API."""

import threading

import pytest

from tests.functional.harness import PROJECT

AKAMAI = "/v1.0/admin/provider/akamai"
MAPPING = f"{AKAMAI}/background_job/san_mapping"
JOB = f"{AKAMAI}/background_job"
RETRY = f"{AKAMAI}/ssl_certificate/retry_list"
CHECK = {"job_type": "akamai_check_and_update_cert_status"}
DOMAIN = "www.example.com"


def entry(domain=DOMAIN, **changes):
    made = {"domain_name": domain, "project_id": PROJECT, "flavor_id": "standard"}
    return {**made, **changes}


def mapping(domain=DOMAIN, **changes):
    details = {"Akamai": {"extra_info": {"san cert": "san1.example.com", "akamai_spsId": 1}}}
    return entry(domain, **{"cert_type": "san", "cert_details": details, **changes})


def order(api, domain=DOMAIN):
    body = entry(domain, cert_type="san")
    assert api.call("POST", "/v1.0/ssl_certificate", body).status_code == 202
    found = api.harness.storage.queries.by_claim(f"san:{domain}")
    with api.harness.working():
        api.harness.settle(found.service_id, found.project_id)


def put(api, url, queue):
    answer = api.call("PUT", url, queue)
    assert answer.status_code == 200, answer.text
    return answer.json


@pytest.mark.parametrize(("url", "make"), [(MAPPING, mapping), (RETRY, entry)])
def test_list_is_replaced_completely(api, url, make):
    assert api.call("GET", url).json == []
    first, second, third = (make(f"{name}.example.com") for name in "abc")
    assert put(api, url, [first, second]) == {"queue": [first, second], "deleted": []}
    assert put(api, url, [third, second]) == {"queue": [third, second], "deleted": [first]}
    assert api.call("GET", url).json == [third, second]


@pytest.mark.parametrize(
    "queue",
    [
        {},
        [{}],
        [entry(), entry()],
        [entry(domain="a_b.example.com")],
        [entry(project_id="a b")],
        [entry(more=1)],
        [entry(validate_service="yes")],
        [entry(validate_service=True)],
    ],
)
def test_invalid_retry_list_is_refused(api, queue):
    assert api.call("PUT", RETRY, queue).status_code == 400
    assert api.call("GET", RETRY).json == []


@pytest.mark.parametrize(
    "queue", [{}, [mapping(), mapping()], [mapping(cert_type="x")], [entry()]]
)
def test_invalid_mapping_list_is_refused(api, queue):
    assert api.call("PUT", MAPPING, queue).status_code == 400


def test_check_job_updates_the_certificates_of_the_list(api):
    order(api)
    path = api.create("service.example.com")
    api.deploy(path)
    known, served = mapping(), mapping("service.example.com")
    unknown, other = mapping("unknown.example.com"), mapping(project_id="another")
    put(api, MAPPING, [known, served, unknown, other])
    before = list(api.harness.cdn_a.calls)
    answer = api.call("POST", JOB, {**CHECK, "project_id": PROJECT})
    assert answer.status_code == 202
    assert answer.json["sent"] == [known, served]
    (ignored,) = answer.json["ignored"]
    assert ignored.pop("error_message")
    assert ignored == unknown
    assert api.call("GET", MAPPING).json == [unknown, other]
    api.deploy(path)
    found = api.harness.storage.queries.by_claim(f"san:{DOMAIN}")
    with api.harness.working():
        api.harness.settle(found.service_id, found.project_id)
    done = api.harness.cdn_a.calls[len(before) :]
    assert sorted(done) == ["ensure", "ensure_certificate"]


@pytest.mark.parametrize("kind", ["san", "sni"])
def test_property_job_does_not_change_the_list(api, kind):
    order(api)
    queue = [mapping(), mapping("b.example.com", cert_type="sni")]
    put(api, MAPPING, queue)
    job = {"job_type": f"akamai_update_papi_property_for_mod_{kind}", "action": "add"}
    answer = api.call("POST", JOB, job)
    assert answer.status_code == 202
    sent = [it["domain_name"] for it in answer.json["sent"]]
    ignored = [it["domain_name"] for it in answer.json["ignored"]]
    expected = ([DOMAIN], []) if kind == "san" else ([], ["b.example.com"])
    assert (sent, ignored) == expected
    removed = api.call("POST", JOB, {**job, "action": "remove"}).json
    assert removed["sent"] == []
    assert "DELETE" in removed["ignored"][0]["error_message"]
    assert api.call("GET", MAPPING).json == queue


@pytest.mark.parametrize(
    "job",
    [
        {},
        [],
        {"job_type": "nosuch"},
        {**CHECK, "more": 1},
        {**CHECK, "project_id": "a b"},
        {"job_type": "akamai_update_papi_property_for_mod_san", "action": "x"},
        {"job_type": "akamai_update_papi_property_for_mod_san", "project_id": "p"},
    ],
)
def test_invalid_job_is_refused(api, job):
    assert api.call("POST", JOB, job).status_code == 400


def test_retry_list_is_ordered_and_keeps_ignored_entries(api):
    order(api)
    new = entry("new.example.com")
    put(api, RETRY, [entry(), new])
    answer = api.call("POST", RETRY)
    assert answer.status_code == 202
    assert answer.json["sent"] == [new]
    assert "already" in answer.json["ignored"][0]["error_message"]
    assert api.call("GET", RETRY).json == [entry()]
    assert api.call("GET", "/v1.0/ssl_certificate/new.example.com").status_code == 200


def test_concurrent_changes_of_a_list_are_atomic(api):
    lists = [[entry(f"n{n}.example.com")] for n in range(6)]
    answers = []
    threads = [
        threading.Thread(target=lambda it=it: answers.append(put(api, RETRY, it))) for it in lists
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.call("GET", RETRY).json in lists
    # Each list replaced an earlier one completely, so that it deleted exactly that list.
    deleted = [answer["deleted"] for answer in answers if answer["deleted"]]
    assert len(deleted) == 5
    assert all(it in lists for it in deleted)


def test_certificate_settings_are_stored(api):
    for kind, number in (("config", "spsId"), ("sni_config", "enrollmentId")):
        url = f"{AKAMAI}/ssl_certificate/{kind}/san1.example.com"
        assert api.call("GET", url).status_code == 400
        answer = api.call("POST", url, {number: 7})
        assert (answer.status_code, answer.json) == (202, {"enabled": True, number: 7})
        api.call("POST", url, {"enabled": False})
        assert api.call("GET", url).json == {"enabled": False, number: 7}
        for body in ({number: 0}, {number: "7"}, {"enabled": 1}, {"more": 1}, []):
            assert api.call("POST", url, body).status_code == 400
    assert api.call("POST", f"{AKAMAI}/ssl_certificate/config/a_b", {}).status_code == 400


def test_san_hostname_limit_is_stored(api):
    url = f"{AKAMAI}/ssl_certificate/config/san_cert_hostname_limit"
    name = "san_cert_hostname_limit"
    assert api.call("GET", url).json == {name: 80}
    assert api.call("POST", url, {name: 200}).status_code == 202
    assert api.call("GET", url).json == {name: 200}
    for body in ({name: 0}, {name: 201}, {}, {"enabled": True}):
        assert api.call("POST", url, body).status_code == 400


def test_name_of_the_san_limit_is_no_sni_certificate(api):
    url = f"{AKAMAI}/ssl_certificate/sni_config/san_cert_hostname_limit"
    assert api.call("POST", url, {"enrollmentId": 7}).status_code == 400
    assert api.call("GET", url).status_code == 400


def test_domain_is_migrated_to_another_certificate(api):
    domain = {"domain": DOMAIN, "protocol": "https", "certificate": "san"}
    path = api.create(domains=[domain])
    api.deploy(path)
    body = {
        "project_id": PROJECT,
        "service_id": path.rpartition("/")[2],
        "domain_name": DOMAIN,
        "new_cert": "san2.example.com",
    }
    answer = api.call("POST", f"{AKAMAI}/service", body)
    assert (answer.status_code, answer.body) == (202, b"")
    api.deploy(path)
    operator = f"{DOMAIN}.cdn.example.net"
    assert api.harness.dns.cnames == {operator: "san2.example.com.edgekey.net"}
    new = {**body, "new_cert": "san3.example.com.edgekey.net", "cert_status": "failed"}
    assert api.call("POST", f"{AKAMAI}/service", new).status_code == 202
    api.deploy(path)
    assert api.harness.dns.cnames == {operator: "san3.example.com.edgekey.net"}
    for changes, status in [
        ({"domain_name": "other.example.com"}, 404),
        ({"project_id": "another"}, 404),
        ({"new_cert": "a b c"}, 400),
        ({"cert_status": "x"}, 400),
        ({"service_id": "x" * 36}, 400),
        ({"more": 1}, 400),
    ]:
        answer = api.call("POST", f"{AKAMAI}/service", {**body, **changes})
        assert answer.status_code == status
