# SPDX-License-Identifier: Apache-2.0
"""The options of origins, as programs and nodes have them."""

import dataclasses
from typing import Any

import pytest
from oslo_config import cfg

from poppy.edge import options
from poppy.edge.errors import Refused
from poppy.edge.plane import origins_health, origins_options
from poppy.edge.plane.policies import served
from poppy.edge.program import Choice, Program, Upstream
from poppy.model.document.origins import Auth, HealthCheck, OriginOptions, SecretHeader
from poppy.model.secrets import Secret


def _settings() -> options.Settings:
    conf = cfg.ConfigOpts()
    options.register(conf)
    conf([], project="poppy-edge")
    return options.read(conf)


SETTINGS = _settings()
MAIN = OriginOptions(
    name="main",
    path="/site/",
    connect_timeout=2,
    response_timeout=3,
    verify_name="tls.example.com",
    health_check=HealthCheck("/up?x=1", interval=7, status=(204,)),
    secret_header=SecretHeader("X-Edge", Secret(text="a b%\n")),
)
SPARE = OriginOptions(
    backup_of="main",
    backup_status=(404, 503),
    auth=Auth("s3", "eu-1", "films", "AKID", Secret(text="s3/cret")),
)
PROGRAM = Program(
    "s-1",
    ("www.example.com",),
    (
        Upstream("a.example.net", 443, True, None, MAIN),
        Upstream("2001:db8::1", 80, False, "2001:db8::2", SPARE),
        Upstream("c.example.net", 80, False, None),
    ),
)
VALID = dataclasses.replace(
    PROGRAM,
    origins=(
        dataclasses.replace(
            PROGRAM.origins[0],
            options=dataclasses.replace(
                MAIN, secret_header=SecretHeader("X-Edge", Secret(text="a-secret"))
            ),
        ),
        *PROGRAM.origins[1:],
    ),
)


def test_a_file_describes_all_origins() -> None:
    entries, digest, content = origins_options.entries(PROGRAM.origins, SETTINGS)
    assert content.splitlines() == [
        "origin 0",
        "entry a.example.net:443|1|",
        "path /site",
        "connect 2",
        "response 3",
        "name tls.example.com",
        "backup 1 404,503",
        "header X-Edge a%20b%25%0A",
        "origin 1",
        "entry [2001:db8::1]:80||[2001:db8::2]",
        "s3 eu-1 films AKID s3%2Fcret",
        "origin 2",
        "entry c.example.net:80||",
    ]
    # The time of the first includes that of its backup.
    assert entries == [
        f"a.example.net:443|1/{digest}.0/72000|",
        f"[2001:db8::1]:80|/{digest}.1/66000|[2001:db8::2]",
        f"c.example.net:80|/{digest}.2/66000|",
    ]


def test_origins_without_options_have_no_file() -> None:
    entries, digest, content = origins_options.entries(PROGRAM.origins[2:], SETTINGS)
    assert (entries, digest, content) == (["c.example.net:80||"], "", "")


def test_sealed_secrets_are_refused() -> None:
    sealed = Secret("01234567", "sealed")
    for found in (
        OriginOptions(secret_header=SecretHeader("X-Edge", sealed)),
        OriginOptions(auth=Auth("s3", "eu-1", "films", "AKID", sealed)),
    ):
        with pytest.raises(Refused, match="sealed"):
            origins_options.entries([Upstream("a.b", 80, False, None, found)], SETTINGS)


def test_a_policy_and_an_entry_refer_to_the_file() -> None:
    plain = served(VALID, SETTINGS)
    name = plain.options_name.removeprefix("s-1-")
    assert plain.value == f"a.example.net:443|1/{name}.0/72000|||cached"
    assert plain.files == {plain.options_name: plain.options}
    routed = served(dataclasses.replace(VALID, routes=(Choice("/c", 2),)), SETTINGS)
    assert f"origin a.example.net:443|1/{name}.0/72000|\n" in routed.policy
    assert routed.files.keys() == {routed.policy_name, plain.options_name}


def test_checks_are_requests_to_the_origins_side() -> None:
    entries = [f"entry-{number}" for number in range(3)]
    (check,) = origins_health.checks(PROGRAM, entries)
    assert check.key == "s-1/0"
    assert (check.interval, check.timeout, check.statuses) == (7, 5, (204,))
    assert check.request.startswith("GET /up?x=1 HTTP/1.1\r\nHost: www.example.com\r\n")
    assert "\r\nx-p-origin: entry-0;\r\nx-p-turn: check\r\n" in check.request


def test_an_origin_without_a_backup_is_not_checked() -> None:
    alone = dataclasses.replace(PROGRAM, origins=PROGRAM.origins[:1])
    assert not list(origins_health.checks(alone, ["entry"]))


def test_a_program_with_options_has_the_newer_version_and_reads_back() -> None:
    assert VALID.to_dict()["version"] == 2
    assert Program.from_json(VALID.to_json()) == VALID
    assert VALID.to_dict()["origins"][2].keys() == {"host", "port", "tls", "host_header"}


@pytest.mark.parametrize(
    ("origin", "changes", "message"),
    [
        (0, {"path": "site"}, r"origins\[0\] \(main\).path: .*does not begin"),
        (0, {"connect_timeout": 0}, "options.connect_timeout is 0"),
        (0, {"unknown": 1}, "options has the unknown field 'unknown'"),
        (0, {"secret_header": {"name": "X-A", "value": "s3\ncret"}}, "value is not allowed"),
        (0, {"secret_header": {"name": "Host", "value": "s3cret"}}, "belongs to the edge"),
        (1, {"auth": {**dict.fromkeys(("type", "region"), "s3")}}, "options.auth has no bucket"),
        (1, {"backup_of": "gone"}, "no origin has the name 'gone'"),
        (2, {"name": "main"}, "More than one origin has the name 'main'"),
    ],
)
def test_other_options_are_refused_without_quoting_secrets(
    origin: int, changes: dict[str, Any], message: str
) -> None:
    document = VALID.to_dict()
    known = document["origins"][origin].get("options", {})
    document["origins"][origin]["options"] = {**known, **changes}
    with pytest.raises(ValueError, match=message) as caught:
        Program.from_dict(document)
    assert "s3" not in str(caught.value)
