# SPDX-License-Identifier: Apache-2.0
"""The options of origins at the own edge, as far as the edge contract can't show them."""

import http.client
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from poppy.edge.program import Upstream
from poppy.model.document.origins import Auth, OriginOptions
from poppy.model.secrets import Secret
from tests.integration.test_edge_origins import blackhole
from tests.real.edge_origins import Authority, Origin, OriginSide, make_settings
from tests.real.moto import Moto
from tests.real.nameserver import free_port

pytestmark = pytest.mark.real

_BUCKET = "films"
_LUA = Path(__file__).parents[1] / "real" / "signing_vectors.lua"
_PORT = free_port()
_VECTORS = f"""
global
    lua-load-per-thread {_LUA}
defaults vectors
    mode http
    timeout client 5s
frontend vectors from vectors
    bind 127.0.0.1:{_PORT}
    http-request use-service lua.vector
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def edge(authority: Authority) -> Iterator[OriginSide]:
    settings = make_settings(
        nameservers=["127.0.0.1:1"],
        origin_ca_file=str(authority.file),
        allowed_origins=["127.0.0.0/8"],
    )
    with OriginSide(settings, _VECTORS) as running:
        yield running


def upstream(
    at: str, *, tls: bool = False, host_header: str | None = None, **options: Any
) -> Upstream:
    host, port = at.split(":")
    return Upstream(host, int(port), tls, host_header, OriginOptions(**options))


def _seconds(started: float) -> float:
    return time.monotonic() - started


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_has_its_own_timeout(edge: OriginSide, method: str) -> None:
    edge_default = 1.0
    with blackhole("127.1.0.1") as port:
        (entry,) = edge.refers(upstream(f"127.1.0.1:{port}", connect_timeout=2))
        started = time.monotonic()
        assert edge.ask(entry, method).status == 503
        assert edge_default + 0.9 < _seconds(started) < 5


def test_a_backup_stands_in_after_the_timeout_of_a_connection(edge: OriginSide) -> None:
    with blackhole("127.1.0.1") as port, Origin() as origin:
        main = upstream(f"127.1.0.1:{port}", name="main", connect_timeout=1)
        entry, _ = edge.refers(main, upstream(origin.at, backup_of="main"))
        for method in ("GET", "POST"):
            assert edge.ask(entry, method, body=b"x").body == b"ok"


def test_the_name_to_verify_also_serves_for_an_address(
    edge: OriginSide, authority: Authority
) -> None:
    with Origin(tls=authority.context("tls.example.com")) as origin:
        good, bad = (
            edge.refers(upstream(origin.at, tls=True, verify_name=name))[0]
            for name in ("tls.example.com", "other.example.com")
        )
        assert edge.ask(good).status == 200
        assert edge.ask(bad).status == 503
        assert [request.name for request in origin.requests] == ["tls.example.com"]


def test_a_kept_connection_is_not_used_for_another_name(
    edge: OriginSide, authority: Authority
) -> None:
    one, two = "one.example.com", "two.example.com"
    contexts = {name: authority.context(name) for name in (one, two)}
    with Origin(tls=contexts[one], names=contexts) as origin:
        for name in (one, two, one):
            (entry,) = edge.refers(upstream(origin.at, tls=True, verify_name=name))
            assert edge.ask(entry, path=f"/{name}").status == 200
        assert all(request.path == f"/{request.name}" for request in origin.requests)


def test_a_request_without_the_file_of_its_origin_fails(edge: OriginSide) -> None:
    with Origin() as origin:
        assert edge.ask(f"{origin.at}|/0123456789abcdef.0/5000|").status == 502
        assert not origin.requests


# From Amazon's test suite for Signature Version 4 ("aws-sig-v4-test-suite"), the cases of its
# directories: method, path, signature.
@pytest.mark.parametrize(
    ("method", "path", "signature"),
    [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "GET",
            "/%E1%88%B4",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
    ],
    ids=["get-vanilla", "post-vanilla", "get-unreserved", "get-utf8"],
)
def test_vectors_of_amazon(edge: OriginSide, method: str, path: str, signature: str) -> None:
    fields = {
        "Host": "example.amazonaws.com",
        "X-Time": "20150830T123600Z",
        "X-Region": "us-east-1",
        "X-Service": "service",
        "X-Key": "AKIDEXAMPLE",
        "X-Secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    }
    client = http.client.HTTPConnection("127.0.0.1", _PORT, timeout=5)
    client.request(method, path, headers=fields)
    answer = client.getresponse().read().decode()
    client.close()
    assert answer == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
        f" SignedHeaders=host;x-amz-date, Signature={signature}"
    )


KEYS = ["a b/ü+%~'(1)*.txt", "plain.txt", "a//b", "dir/", "q?x=1&y"]


class Bucket:
    """A bucket on moto that refuses requests without a valid signature."""

    def __init__(self, moto: Moto) -> None:
        iam = moto.client("iam")
        iam.create_user(UserName="edge")
        policy = (
            '{"Version": "2012-10-17", "Statement": '
            '[{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
        )
        iam.put_user_policy(UserName="edge", PolicyName="all", PolicyDocument=policy)
        key = iam.create_access_key(UserName="edge")["AccessKey"]
        self.key, self.secret = key["AccessKeyId"], key["SecretAccessKey"]
        self.at = moto.url.removeprefix("http://")
        store = boto3.client(
            "s3",
            endpoint_url=moto.url,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
        )
        store.create_bucket(Bucket=_BUCKET)
        for name in KEYS:
            store.put_object(Bucket=_BUCKET, Key=name, Body=name.encode())
        moto.check_keys(True)

    def options(self, **changes: str) -> dict[str, Any]:
        parts = {"region": "us-east-1", "access_key": self.key, "secret": self.secret, **changes}
        secret = Secret(text=parts["secret"])
        auth = Auth("s3", parts["region"], _BUCKET, parts["access_key"], secret)
        return {"auth": auth, "host_header": "127.0.0.1"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with Moto() as moto:
        yield Bucket(moto)


def test_the_bucket_refuses_other_requests(bucket: Bucket) -> None:
    url = f"http://{bucket.at}/{_BUCKET}/plain.txt"
    assert requests.get(url, timeout=5).status_code == 403


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        "/a%20b/%C3%BC+%25~'(1)*.txt",
        "/a%20b/%c3%bc%2B%25%7e%27%281%29*.txt",
        "/plain.txt",
        "/a//b",
        "/dir/",
        "/q%3Fx=1&y",
        "/plain.txt?acl",
    ],
)
def test_signed_requests_are_accepted(
    edge: OriginSide, bucket: Bucket, method: str, path: str
) -> None:
    (entry,) = edge.refers(upstream(bucket.at, **bucket.options()))
    answer = edge.ask(entry, method, path, Range="bytes=0-0")
    assert answer.status == 206, answer.body
    assert len(answer.body) == (1 if method == "GET" else 0)


def test_another_key_or_region_is_refused(edge: OriginSide, bucket: Bucket) -> None:
    for changes in ({"secret": "x"}, {"access_key": "AKIDOTHER"}):
        (entry,) = edge.refers(upstream(bucket.at, **bucket.options(**changes)))
        assert edge.ask(entry, path="/plain.txt").status == 403


def test_the_time_is_that_of_the_node(edge: OriginSide) -> None:
    auth = Auth("s3", "us-east-1", _BUCKET, "AKID", Secret(text="x"))
    with Origin() as origin:
        (entry,) = edge.refers(upstream(origin.at, auth=auth))
        edge.ask(entry, path="/x")
        sent = origin.requests[0].value("x-amz-date") or ""
    then = datetime.strptime(sent, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - then).total_seconds()) < 60


def test_the_bucket_may_be_in_the_host(edge: OriginSide) -> None:
    auth = Auth("s3", "us-east-1", _BUCKET, "AKID", Secret(text="x"))
    with Origin() as origin:
        for host, path in (
            (f"{_BUCKET}.s3.example.com", "/site/x"),
            ("s3.example.com", f"/{_BUCKET}/site/x"),
        ):
            (entry,) = edge.refers(upstream(origin.at, host_header=host, auth=auth, path="/site"))
            edge.ask(entry, path="/x")
            assert origin.requests[-1].path == path
