# SPDX-License-Identifier: Apache-2.0


import pytest
from oslo_config import cfg

from poppy.common import logs, vault
from poppy.common.errors import ConfigError
from poppy.provider.edge import acme_options
from poppy.provider.edge.acme_options import Limits

GROUP = "drivers:provider:edge"
URL = "https://ca.example/dir"
HMAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def options(**values):
    conf = cfg.ConfigOpts()
    conf.register_opts(acme_options.OPTS, group=GROUP)
    conf([])
    for name, value in {"acme_directories": [URL], "acme_terms_accepted": True, **values}.items():
        conf.set_override(name, value, GROUP)
    return conf[GROUP]


def test_authorities_are_in_order_and_have_their_own_external_accounts():
    found = acme_options.authorities(
        options(
            acme_directories=[URL, "https://other.example:8443/x"],
            acme_eab_key_ids={"other.example": "kid-1"},
            acme_eab_hmac_keys={"other.example": HMAC},
            acme_email="cdn@example.net",
            acme_timeout=7,
        ),
        GROUP,
    )
    assert [it.name for it in found] == ["ca.example", "other.example"]
    assert [it.external for it in found] == [None, ("kid-1", HMAC)]
    assert {(it.email, it.timeout) for it in found} == {("cdn@example.net", 7)}
    assert HMAC not in repr(found)
    assert HMAC not in logs.mask(f"a line with {HMAC}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"acme_directories": []}, "acme_directories must contain"),
        ({"acme_directories": [URL, URL]}, "acme_directories must contain"),
        ({"acme_directories": [f"{URL}{it}" for it in range(11)]}, "acme_directories must"),
        ({"acme_directories": ["http://ca.example/dir"]}, "http://ca.example/dir' is no https"),
        ({"acme_directories": ["https://ca.example:99999/dir"]}, "is no https URL"),
        ({"acme_directories": ["https://me:pw@ca.example/dir"]}, "is no https URL"),
        ({"acme_directories": ["https:///dir"]}, "is no https URL"),
        ({"acme_terms_accepted": False}, "acme_terms_accepted must be true"),
        ({"acme_eab_key_ids": {"ca.example": "kid"}}, "must both contain ca.example"),
        ({"acme_eab_hmac_keys": {"ca.example": HMAC}}, "must both contain ca.example"),
        (
            {"acme_eab_key_ids": {"x.example": "k"}, "acme_eab_hmac_keys": {"x.example": HMAC}},
            "x.example is no host",
        ),
    ],
)
def test_invalid_options_are_named(values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        acme_options.authorities(options(**values), GROUP)
    assert f"[{GROUP}]" in str(caught.value)
    assert HMAC not in str(caught.value)


def test_limits_come_from_the_options():
    assert acme_options.limits(options()) == Limits()
    assert acme_options.limits(options(acme_max_orders=7)).orders == 7


def test_every_number_has_bounds():
    numbers = [it for it in acme_options.OPTS if isinstance(it, cfg.IntOpt)]
    assert len(numbers) == 5
    for option in numbers:
        assert option.type.min is not None
        assert option.type.max is not None


def test_keys_are_secret():
    secret = {it.name for it in acme_options.OPTS if it.secret}
    assert secret == {vault.OPTION, "acme_eab_hmac_keys"}
