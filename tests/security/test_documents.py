# SPDX-License-Identifier: Apache-2.0
"""A hostile tenant's documents are refused, or work with every driver and can be deleted.

The API, the manager, the store and the drivers are real. A worker runs only where a test starts
one, and no driver calls its provider.
"""

import copy
import datetime
import json
import time
from dataclasses import replace

import pytest
import webtest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poppy.bootstrap import Bootstrap
from poppy.common import config, errors
from poppy.manager import patch as json_patch
from poppy.manager import requirements
from poppy.model import schemas, validation
from poppy.model.limits import DocumentLimits
from poppy.model.operations import State
from poppy.model.provider_details import ProviderStatus
from poppy.model.services import Service, Status
from poppy.model.specs import Domain, Origin
from poppy.provider.akamai import rules as akamai
from poppy.provider.cloudfront import distribution
from poppy.provider.edge.compiler import compile_program
from poppy.provider.fastly import configuration as fastly
from poppy.testing.builders import make_flavor, make_operation, make_service
from tests.functional.harness import PROJECT as HARNESS_PROJECT
from tests.functional.harness import Harness

PROJECT = "hostile"
PROVIDERS = ("mock", "edge", "fastly", "cloudfront", "akamai")
LIMIT = 65536
LABELS = ".".join(["a" * 60] * 4)

CONFIGURATION = """
[drivers]
providers = {providers}
[drivers:storage]
max_services_per_project = 1000000
[drivers:storage:sqlalchemy]
connection = sqlite:///{directory}/poppy.sqlite3
[drivers:provider:edge]
geography = true
[drivers:provider:fastly]
token = none
[drivers:provider:cloudfront]
access_key_id = none
secret_access_key = none
[drivers:provider:akamai]
host = none.luna.akamaiapis.net
client_token = none
client_secret = none
access_token = none
contract = ctr_1
group = grp_1
product = prd_1
notify_emails = ops@example.com
[drivers:dns:mock]
shared_ssl_num_shards = 2
"""


class Site:
    """A Poppy with a flavor ``f-<name>`` for each provider."""

    def __init__(self, directory):
        path = directory / "poppy.conf"
        path.write_text(CONFIGURATION.format(providers=", ".join(PROVIDERS), directory=directory))
        self.boot = Bootstrap(config.load([], files=[str(path)]))
        self.boot.storage.sync()
        for name in PROVIDERS:
            self.boot.storage.flavors.create(make_flavor(f"f-{name}", [name]))
        self._app = webtest.TestApp(self.boot.transport.application)

    def call(self, method, path, body=None):
        headers = {"X-Project-ID": PROJECT, "Content-Type": "application/json"}
        text = b"" if body is None else body if isinstance(body, bytes) else _compact(body)
        answer = self._app.request(
            path, method=method, headers=headers, body=text, expect_errors=True
        )
        assert answer.status_code < 500, answer.text
        return answer

    def post(self, document):
        return self.call("POST", "/v1.0/services", document)

    def refusal(self, document):
        """Post a document that must be refused; return the error message."""
        answer = self.post(document)
        assert answer.status_code == 400, answer.text
        return _words(answer)

    def deployed(self, document):
        """Create a service, mark it as deployed and return its path."""
        answer = self.post(document)
        assert answer.status_code == 202, answer.text
        service_id = answer.headers["Location"].rpartition("/")[2]
        self.settle(service_id)
        return f"/v1.0/services/{service_id}"

    def settle(self, service_id):
        """Finish the service's open operations successfully, as a worker would."""
        storage, now = self.boot.storage, datetime.datetime.now(datetime.UTC)
        later = now + datetime.timedelta(hours=1)
        for operation in storage.operations.list(PROJECT, service_id):
            if operation.state.finished:
                continue
            run, service = storage.operations.begin(operation.key, "test", later, later)
            details = {
                name: replace(it, status=ProviderStatus.DEPLOYED)
                for name, it in service.provider_details.items()
            }
            done = replace(run, state=State.SUCCEEDED, next_attempt_at=None)
            storage.operations.save(done, details)

    def close(self):
        self.boot.close()


def _compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def _words(answer):
    message = answer.json["message"]
    if isinstance(message, str):
        return message
    return "; ".join(entry["message"] for entry in message["errors"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.close()


_NUMBERS = iter(range(10**9))


def document(flavor="f-mock", **changes):
    """Return a valid document with a unique domain."""
    return {
        "name": "site",
        "flavor_id": flavor,
        "domains": [{"domain": f"www{next(_NUMBERS)}.example.com"}],
        "origins": [{"origin": "o.example.net"}],
        **changes,
    }


def caching(*urls):
    entries = [{"name": "r", "request_url": url} for url in urls]
    return [{"name": "c", "ttl": 60, "rules": entries}]


class TestNames:
    def test_operator_name_that_is_too_long(self, site):
        domain = f"{LABELS}.com"
        message = site.refusal(document(domains=[{"domain": domain}]))
        assert domain in message
        assert "237 characters" in message
        # With a provider that needs fewer characters of its own, the longest domain is accepted.
        longest = document("f-fastly", domains=[{"domain": domain[10:]}])
        assert site.post(longest).status_code == 202

    def test_patch_to_an_operator_name_that_is_too_long(self, site):
        path = site.deployed(document())
        patch = [{"op": "replace", "path": "/domains/0/domain", "value": f"{LABELS}.com"}]
        answer = site.call("PATCH", path, patch)
        assert answer.status_code == 400
        assert "operator name" in _words(answer)

    def test_access_name_that_is_too_long(self, site):
        message = site.refusal(document(domains=[{"domain": f"{LABELS}.com"[10:]}]))
        assert "can't be served as" in message

    @pytest.mark.parametrize("certificate", [None, "san", "sni"])
    def test_no_domain_fits_the_common_name(self, site, certificate):
        entry = {"domain": f"{'a' * 50}{next(_NUMBERS):010}.long.example.com"}
        if certificate:
            entry |= {"protocol": "https", "certificate": certificate}
        asked = document("f-cloudfront", domains=[entry])
        message = site.refusal(asked)
        assert "64 characters" in message
        assert entry["domain"] in message
        asked["domains"].append({"domain": f"w{next(_NUMBERS)}.short.example.com"})
        assert site.post(asked).status_code == 202

    @pytest.mark.parametrize("kind", ["san", "sni"])
    def test_impossible_certificate_orders_are_refused(self, site, kind):
        def order(name):
            body = {
                "flavor_id": "f-cloudfront",
                "cert_type": kind,
                "domain_name": name,
                "project_id": PROJECT,
            }
            return site.call("POST", "/v1.0/ssl_certificate", body)

        for name, reason in (
            (f"{'a' * 60}.long.example.com", "64 characters"),
            (f"{LABELS}.com", "operator name"),
            ("example.co.uk", "root domain"),
            ("co.uk", "root domain"),
            ("www.example.com.", "dot"),
        ):
            answer = order(name)
            assert answer.status_code == 400, name
            assert reason in _words(answer)
        assert order(f"{kind}.fits.example.com").status_code == 202

    def test_origin_that_loops_back(self, site):
        asked = document(origins=[{"origin": "www.example.org.cdn.example.net"}])
        assert "www.example.org.cdn.example.net" in site.refusal(asked)

    @pytest.mark.parametrize(
        "changes",
        [
            {"domains": [{"domain": "www.example.org."}]},
            {"origins": [{"origin": "o.example.net."}]},
            {
                "origins": [
                    {
                        "origin": "o.example.net",
                        "hostheadertype": "custom",
                        "hostheadervalue": "h.example.net.",
                    }
                ]
            },
        ],
    )
    def test_trailing_dot(self, site, changes):
        assert "without the dot" in site.refusal(document(**changes))


@pytest.mark.parametrize("flavor", [f"f-{name}" for name in PROVIDERS])
class TestPorts:
    def test_tls_without_a_port_uses_443(self, site, flavor):
        asked = document(flavor, origins=[{"origin": "o.example.net", "ssl": True}])
        path = site.deployed(asked)
        (origin,) = site.call("GET", path).json["origins"]
        assert (origin["port"], origin["ssl"]) == (443, True)

    @pytest.mark.parametrize("pair", [{"ssl": True, "port": 80}, {"ssl": False, "port": 443}])
    def test_contradicting_tls_and_port(self, site, flavor, pair):
        asked = document(flavor, origins=[{"origin": "o.example.net", **pair}])
        assert "Origin o.example.net has" in site.refusal(asked)
        path = site.deployed(document(flavor))
        patch = [{"op": "add", "path": f"/origins/0/{k}", "value": v} for k, v in pair.items()]
        answer = site.call("PATCH", path, patch)
        assert answer.status_code == 400
        assert "Origin o.example.net has" in _words(answer)


@pytest.mark.parametrize("flavor", [f"f-{name}" for name in PROVIDERS])
class TestRules:
    @pytest.mark.parametrize(
        ("urls", "reason"),
        [
            (("/a//b", "/a/b"), "equivalent to /a//b"),
            (("/%61b", "/ab"), "equivalent to /%61b"),
            (("/a/../c",), "segment"),
            (("/a#b",), '"#"'),
            (("/a%00b",), "control character"),
            (("/a%5cb",), "backslash"),
        ],
    )
    def test_invalid_paths(self, site, flavor, urls, reason):
        assert reason in site.refusal(document(flavor, caching=caching(*urls)))
        path = site.deployed(document(flavor))
        patch = [{"op": "replace", "path": "/caching", "value": caching(*urls)}]
        answer = site.call("PATCH", path, patch)
        assert answer.status_code == 400
        assert reason in _words(answer)

    def test_unknown_country(self, site, flavor):
        rules = [{"name": "r", "geography": "Atlantis"}]
        restrictions = [{"name": "x", "access": "blacklist", "rules": rules}]
        assert "'Atlantis'" in site.refusal(document(flavor, restrictions=restrictions))
        path = site.deployed(document(flavor))
        patch = [{"op": "replace", "path": "/restrictions", "value": restrictions}]
        answer = site.call("PATCH", path, patch)
        assert answer.status_code == 400
        assert "'Atlantis'" in _words(answer)

    def test_too_many_rules(self, site, flavor):
        urls = [f"/{number}" for number in range(1700)]
        message = site.refusal(document(flavor, caching=caching(*urls)))
        assert "[caching]-may have 100 rules" in message


class TestPatches:
    def test_result_is_validated_like_a_post(self, site):
        path = site.deployed(document())
        rules = [{"name": "n" * 256, "request_url": f"/{'x' * 500}{n}"} for n in range(90)]
        patch = [{"op": "replace", "path": "/caching/0/rules", "value": rules}]
        assert len(json.dumps(patch)) > LIMIT
        assert site.call("PATCH", path, patch).status_code == 413
        for start in (0, 45):
            patch = [
                {"op": "add", "path": "/caching/0/rules/-", "value": rule}
                for rule in rules[start : start + 45]
            ]
            answer = site.call("PATCH", path, patch)
            site.settle(path.rpartition("/")[2])
        assert answer.status_code == 400
        assert "bytes as compact JSON" in _words(answer)
        assert len(json.dumps(site.call("GET", path).json)) < LIMIT

    @pytest.mark.parametrize(
        "patch",
        [
            [{"op": "copy", "from": "/caching", "path": "/caching/0/rules/-"}] * 100,
            [{"op": "copy", "from": "", "path": "/name"}] * 100,
            [{"op": "copy", "from": "/origins/0", "path": "/origins/-"}] * 100,
            [{"op": "move", "from": "/name", "path": "/name/0"}],
            [{"op": "add", "path": "", "value": {}}],
            [{"op": "remove", "path": ""}],
            [{"op": "replace", "path": "", "value": [[[[]]]]}],
            [{"op": "test", "path": "/origins/0/port", "value": 80}] * 101,
            [{"op": "test", "path": "/x" * 20000, "value": 80}],
            [{"op": "add", "path": "/origins/99999999999999999999999", "value": 80}],
            [{"op": "add", "path": "/project_id", "value": "other"}],
        ],
    )
    def test_abusive_patch_is_refused(self, site, patch):
        path = site.deployed(document())
        before = site.call("GET", path).json
        assert site.call("PATCH", path, patch).status_code == 400
        assert site.call("GET", path).json == before

    def test_json_patch_test_distinguishes_true_from_one(self, site):
        path = site.deployed(document(caching=[{"name": "c", "ttl": 1}]))
        tests = [{"op": "test", "path": "/caching/0/ttl", "value": value} for value in (1, True)]
        assert site.call("PATCH", path, tests[:1]).status_code == 202
        site.settle(path.rpartition("/")[2])
        assert site.call("PATCH", path, tests[1:]).status_code == 400

    @settings(max_examples=200, deadline=None)
    @given(data=st.data())
    def test_any_patch_is_refused_or_gives_a_valid_service(self, data):
        known = validation.service(document(caching=caching("/a", "/b")), 60).to_dict()
        patch = data.draw(_patches(known))
        try:
            patched = json_patch.apply(known, validation.patch(patch), LIMIT)
            spec = validation.service(patched, 60)
        except errors.InvalidRequest as exc:
            assert str(exc)
            return
        assert validation.service(spec.to_dict(), 60) == spec
        assert len(validation.compact(spec.to_dict()).encode()) <= LIMIT

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_any_patch_is_answered(self, site, data):
        path = site.deployed(document(caching=caching("/a", "/b")))
        patch = data.draw(_patches(site.call("GET", path).json))
        assert site.call("PATCH", path, patch).status_code in (202, 400)


def _patches(known):
    """Generate JSON Patches, many of which apply to the document."""
    pointers = st.sampled_from(_pointers(known)) | st.text("/~01-ab", max_size=6)
    values = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=5),
        st.sampled_from([known["origins"], known["caching"][0], [], {}]),
    )
    operation = st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
            "path": pointers,
            "from": pointers,
            "value": values,
        }
    )
    return st.lists(operation, min_size=1, max_size=8)


_KNOWN = []


def _any_service(site):
    if not _KNOWN:
        _KNOWN.append(site.deployed(document(caching=caching("/a", "/b"))))
    return _KNOWN[0]


def _pointers(value, at=""):
    """Return a pointer to every place of a document, and to the end of each list."""
    found = [at]
    if isinstance(value, dict):
        for key, below in value.items():
            found += _pointers(below, f"{at}/{key}")
    elif isinstance(value, list):
        for index, below in enumerate(value):
            found += _pointers(below, f"{at}/{index}")
        found.append(f"{at}/-")
    return found


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "one", "name": "two"}',
        b'[{"op": "test", "path": "/name", "path": "/flavor_id", "value": 1}]',
        b'{"name": NaN}',
        b'{"name": Infinity}',
        b'{"name": 1e999}',
        b'{"name": ' + b"9" * 60000 + b"}",
        b'{"name": 0.' + b"9" * 60000 + b"}",
        b"[" * 60000,
        b'{"a":' * 10000 + b"1" + b"}" * 10000,
        b'{"name": "\\ud800"}',
        b'{"name": "\xff"}',
        json.dumps({f"k{n}": n for n in range(3000)}).encode(),
        json.dumps({"name": "site", "domains": [{}] * 15000}).encode(),
    ],
)
def test_ambiguous_or_expensive_body_is_refused(site, body):
    path = _any_service(site)
    for method, target in (("POST", "/v1.0/services"), ("PATCH", path)):
        assert site.call(method, target, body).status_code == 400


HOSTS = st.from_regex(
    r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?\.[a-z]{1,30}\.(com|co\.uk)", fullmatch=True
)
URLS = st.text("ab/*.%2?AF~'é\"\\{}", min_size=1, max_size=20).map(
    lambda text: text.encode("ascii", "ignore").decode() or "/"
)
NAMES = st.text(min_size=1, max_size=5).filter(str.isprintable)
PATH_RULES = st.lists(
    st.fixed_dictionaries({"name": NAMES, "request_url": URLS}), min_size=1, max_size=4
)
CLIENTS = st.ip_addresses().flatmap(
    lambda ip: st.sampled_from([str(ip), f"{ip}/7", f"{ip}/32", str(ip).upper()])
)
WHO = st.one_of(
    HOSTS.map(lambda name: {"referrer": name}),
    CLIENTS.map(lambda ip: {"client_ip": ip}),
    st.sampled_from(["DE", "Europe", "us", "Côte d'Ivoire"]).map(lambda it: {"geography": it}),
)
_SECONDS = st.integers(0, 1000)
_PARAMETERS = st.lists(st.from_regex(r"[a-z_.-]{1,9}[*]?", fullmatch=True), min_size=1, max_size=3)
CACHE_OPTIONS = st.just({}) | st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["respect_origin", "override", "bypass"]),
        "browser_ttl": _SECONDS,
        "stale_while_revalidate": _SECONDS,
        "stale_if_error": _SECONDS,
        "status_ttl": st.lists(
            st.fixed_dictionaries({"status": st.integers(200, 599), "ttl": _SECONDS}),
            min_size=1,
            max_size=3,
        ),
        "key": st.fixed_dictionaries(
            {},
            optional={
                "query": st.one_of(
                    st.sampled_from(["all", "none"]),
                    _PARAMETERS.map(lambda names: {"only": names}),
                    _PARAMETERS.map(lambda names: {"except": names}),
                )
            },
        ),
    },
)
RESTRICTIONS = st.lists(
    st.fixed_dictionaries(
        {
            "name": NAMES,
            "access": st.sampled_from(["whitelist", "blacklist"]),
            "rules": st.lists(
                st.tuples(WHO, NAMES, URLS | st.none()).map(
                    lambda it: {
                        **it[0],
                        "name": it[1],
                        **({"request_url": it[2]} if it[2] else {}),
                    }
                ),
                min_size=1,
                max_size=3,
            ),
        }
    ),
    max_size=3,
)
ORIGINS = st.lists(
    st.fixed_dictionaries(
        {"origin": HOSTS | st.ip_addresses().map(str), "rules": PATH_RULES},
        optional={
            "ssl": st.booleans(),
            "hostheadertype": st.sampled_from(["domain", "origin"]),
        },
    ),
    min_size=1,
    max_size=3,
)
DOMAINS = st.lists(
    st.one_of(
        HOSTS.map(lambda name: {"domain": f"www.{name}"}),
        HOSTS.map(lambda it: {"domain": f"{it}.long.example.com"}),
        HOSTS.map(lambda it: {"domain": it, "protocol": "https", "certificate": "sni"}),
    ),
    min_size=1,
    max_size=3,
)


FIELD_NAMES = st.sampled_from(["X-A", "Cookie", "Host", "x-p-a", "A b", "Content-Type"])
FIELD_VALUES = st.sampled_from(["1", "", "a b", " a", "a\n", "é", "x" * 1024])
PATHS = st.sampled_from(["/", "/*", "/a/*/b", "/a//b?c", "/%2A", "/..", "/é", "a"])
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "set": st.dictionaries(FIELD_NAMES, FIELD_VALUES, max_size=2),
        "remove": st.lists(FIELD_NAMES, max_size=2),
    },
)
OPTIONAL = st.fixed_dictionaries(
    {},
    optional={
        "delivery": st.fixed_dictionaries(
            {},
            optional={
                "https_redirect": st.booleans(),
                "hsts": st.builds(lambda age: {"max_age": age}, st.integers(0, 10**8)),
                "min_tls": st.sampled_from(["1.2", "1.3"]),
                "compression": st.sampled_from(["off", "gzip"]),
                "websockets": st.booleans(),
            },
        ),
        "redirects": st.lists(
            st.fixed_dictionaries(
                {
                    "name": NAMES,
                    "request_url": PATHS,
                    "location": st.sampled_from(["/", "/$1", "//a", "https://a.example/$2", "$1"]),
                }
            ),
            max_size=2,
        ),
        "headers": st.lists(
            st.fixed_dictionaries({"name": NAMES, "request": CHANGES, "response": CHANGES}),
            max_size=2,
        ),
        "cors": st.fixed_dictionaries(
            {"allow_origins": st.sampled_from([["*"], ["https://a.example"], ["a"]])},
            optional={"allow_credentials": st.booleans()},
        ),
        "error_pages": st.lists(
            st.fixed_dictionaries(
                {
                    "name": NAMES,
                    "status": st.lists(st.integers(399, 410), min_size=1, max_size=2),
                    "path": PATHS,
                }
            ),
            max_size=2,
        ),
    },
)


@pytest.mark.parametrize("name", PROVIDERS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    domains=DOMAINS,
    origins=ORIGINS,
    entries=st.lists(st.tuples(PATH_RULES, CACHE_OPTIONS), max_size=3),
    restrictions=RESTRICTIONS,
    optional=st.just({}) | OPTIONAL,
)
def test_accepted_document_can_be_compiled(
    site, name, domains, origins, entries, restrictions, optional
):
    asked = {
        "name": "site",
        "flavor_id": f"f-{name}",
        "domains": domains,
        "origins": origins,
        "caching": [
            {"name": "c", "ttl": number, "rules": rules, **options}
            for number, (rules, options) in enumerate(entries)
        ],
        "restrictions": restrictions,
        **optional,
    }
    provider = site.boot.providers[name]
    flavor = make_flavor(f"f-{name}", [name])
    try:
        spec = validation.service(asked, 60)
        requirements.check(spec, flavor, site.boot.providers, site.boot.dns)
    except errors.InvalidRequest as exc:
        assert str(exc)
        return
    _compile(name, spec)
    provider.check(spec)
    # The stored form is accepted again and gives the driver the same spec.
    again = validation.service(json.loads(validation.compact(spec.to_dict())), 60)
    assert again == spec


def _compile(name, spec):
    if name == "edge":
        compile_program("s", spec).to_json()
    elif name == "fastly":
        fastly.wanted(spec, fastly.Settings())
    elif name == "cloudfront":
        distribution.config(
            distribution.plan(spec), distribution.Viewer(), "arn", distribution.Settings()
        )
    elif name == "akamai":
        akamai.tree(spec, 1, akamai.Settings())


@pytest.mark.parametrize("name", PROVIDERS)
def test_largest_document_is_checked_quickly(site, name):
    """100 rules of each kind, with overlapping paths as long as the body allows."""
    paths = [f"/{'a*' * 60}{number}/*" for number in range(100)]
    asked = document(
        f"f-{name}",
        origins=[
            {
                "origin": "o.example.net",
                "rules": [{"name": "r", "request_url": path} for path in paths],
            }
        ],
        caching=caching(*paths),
    )
    assert len(json.dumps(asked)) < LIMIT
    provider = site.boot.providers[name]
    spec = validation.service(asked, 60)
    started = time.process_time()
    try:
        provider.check(spec)
    except errors.PermanentError:
        assert name in ("cloudfront", "akamai", "edge")
    assert time.process_time() - started < 5


class TestServicesOfEarlierVersions:
    """Services that an earlier version accepted but that would be refused now."""

    def _store(self, harness, spec) -> Service:
        service = make_service(spec=spec, project_id=PROJECT)
        details = {"cdn-a": replace(service.provider_details["mock"], status=FAILED)}
        service = service.with_details(details)
        harness.storage.services.create(service, make_operation(service), 10)
        return service

    def test_can_be_read_and_deleted(self, tmp_path):
        """The service has an impossible operator name, TLS to port 80, and far too many rules."""
        harness = Harness(tmp_path)
        try:
            spec = validation.service(
                harness.document(caching=caching(*(f"/{n}" for n in range(300)))),
                60,
                limits=DocumentLimits(caching_rules=300, rules=400, size=10**6),
            )
            spec = replace(
                spec,
                domains=(Domain(f"{LABELS}.com"),),
                origins=(Origin("o.example.net", 80, True, rules=spec.origins[0].rules),),
            )
            service = self._store(harness, spec)
            found = harness.services.get(PROJECT, service.service_id)
            assert found.spec == spec
            with harness.working():
                harness.services.delete(PROJECT, service.service_id, "req-2")
                assert harness.settle(service.service_id, PROJECT) is None
        finally:
            harness.close()

    @pytest.mark.parametrize("pair", [(80, True), (443, False)])
    def test_contradicting_origin_must_be_corrected_with_the_next_change(self, tmp_path, pair):
        harness = Harness(tmp_path)
        try:
            with harness.working():
                service_id = harness.create()
                spec = harness.settle(service_id).spec
                origin = replace(spec.origins[0], port=pair[0], ssl=pair[1])
                spec = replace(spec, origins=(origin,))
                key, changes = (HARNESS_PROJECT, service_id), harness.services._changes
                # As an earlier version accepted it.
                changes.make(*key, lambda known: changes.updated(known, spec, "req-2"))
                stored = harness.settle(service_id)
                assert (stored.spec, stored.status) == (spec, Status.DEPLOYED)
                harness.services.redeploy(*key, "req-3")
                assert harness.settle(service_id).status is Status.DEPLOYED

                renamed = [{"op": "replace", "path": "/name", "value": "renamed"}]
                with pytest.raises(errors.InvalidRequest, match=f"Origin {origin.origin} has"):
                    harness.services.update(*key, renamed, "req-4")
                assert harness.get(service_id).spec == spec

                port = {"op": "remove", "path": "/origins/0/port"}
                harness.services.update(*key, [*renamed, port], "req-5")
                (corrected,) = harness.settle(service_id).spec.origins
                assert corrected == replace(origin, port=443 if origin.ssl else 80)
        finally:
            harness.close()


FAILED = ProviderStatus.FAILED


def test_patch_must_bring_an_oversized_document_below_the_limits():
    large = DocumentLimits(caching_rules=300, rules=400)
    spec = validation.service(
        document(caching=caching(*(f"/{n}" for n in range(150)))), 60, limits=large
    )
    patched = copy.deepcopy(spec.to_dict())
    patched["name"] = "renamed"
    with pytest.raises(errors.SchemaInvalid, match="150"):
        validation.service(patched, 60)
    del patched["caching"][0]["rules"][100:]
    assert validation.service(patched, 60).name == "renamed"


def test_api_publishes_the_limits(site):
    described = site.call("GET", "/v1.0/openapi.json").json
    body = described["paths"]["/v1.0/services"]["post"]["requestBody"]["content"]
    schema = body["application/json"]["schema"]
    assert schema == schemas.SERVICE
    assert schema["properties"]["caching"]["items"]["properties"]["rules"]["maxItems"] == 100


def test_fields_of_old_clients_are_accepted(site):
    rules = [{"name": "r", "client_ip": "192.0.2.77/24"}]
    asked = document(restrictions=[{"name": "x", "type": "blacklist", "rules": rules}])
    (shown,) = site.call("GET", site.deployed(asked)).json["restrictions"]
    assert shown["access"] == "blacklist"
    assert "type" not in shown
    assert shown["rules"][0]["client_ip"] == "192.0.2.77/24"
