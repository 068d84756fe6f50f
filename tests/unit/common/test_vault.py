# SPDX-License-Identifier: Apache-2.0

import base64
import os
import traceback

import pytest

from poppy.common import logs
from poppy.common.errors import ConfigError
from poppy.common.vault import Damaged, Vault

GROUP = "drivers:provider:edge"
OLD, NEW = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
SECRET = b"-----BEGIN PRIVATE KEY-----"


def test_a_sealed_secret_opens_for_its_purpose():
    vault = Vault([OLD], GROUP)
    sealed = vault.seal(SECRET, "www.example.com")
    assert b"BEGIN" not in sealed.encode()
    assert vault.open(sealed, "www.example.com") == SECRET
    assert vault.seal(SECRET, "www.example.com") != sealed


def test_a_sealed_secret_does_not_open_for_another_purpose():
    vault = Vault([OLD], GROUP)
    with pytest.raises(Damaged, match="of b is damaged"):
        vault.open(vault.seal(SECRET, "a"), "b")


@pytest.mark.parametrize("change", [lambda it: it[:-8], lambda it: it + "*", lambda it: it[:17]])
def test_a_changed_secret_is_damaged(change):
    vault = Vault([OLD], GROUP)
    with pytest.raises(Damaged, match="is damaged"):
        vault.open(change(vault.seal(SECRET, "a")), "a")


def test_keys_rotate():
    sealed = Vault([OLD], GROUP).seal(SECRET, "a")
    both = Vault([NEW, OLD], GROUP)
    assert both.open(sealed, "a") == SECRET
    again = both.seal_again(sealed, "a")
    assert both.seal_again(again, "a") == again
    assert Vault([NEW], GROUP).open(again, "a") == SECRET


def test_fingerprints_tell_secrets_of_a_purpose_apart():
    vault = Vault([OLD], GROUP)
    shown = vault.fingerprint(SECRET, "a")
    assert len(bytes.fromhex(shown)) == 4
    assert vault.fingerprint(SECRET, "a") == shown
    others = [vault.fingerprint(b"other", "a"), vault.fingerprint(SECRET, "b")]
    assert shown not in others


def test_a_fingerprint_depends_on_the_key():
    """Otherwise guesses could be tested against what GET shows."""
    assert Vault([OLD], GROUP).fingerprint(SECRET, "a") != Vault([NEW], GROUP).fingerprint(
        SECRET, "a"
    )


def test_a_missing_key_is_an_error_that_names_the_option_and_the_key():
    sealed = Vault([OLD], GROUP).seal(SECRET, "a")
    with pytest.raises(ConfigError) as caught:
        Vault([NEW], GROUP).open(sealed, "a")
    assert f"[{GROUP}] encryption_keys" in str(caught.value)
    assert sealed.partition(".")[0] in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    ["short", "ä" * 44, OLD[:-4], OLD + OLD],
    ids=["short", "not ASCII", "cut off", "twice"],
)
def test_an_invalid_key_is_refused_without_being_quoted(bad):
    with pytest.raises(ConfigError, match="Key 2 of .*encryption_keys is not 32 bytes") as caught:
        Vault([OLD, bad], GROUP)
    assert bad not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("count", [0, 11])
def test_the_number_of_keys_is_limited(count):
    with pytest.raises(ConfigError, match=f"1 to 10 keys, not {count}"):
        Vault([OLD] * count, GROUP)


def test_keys_appear_nowhere():
    vault = Vault([OLD], GROUP)
    assert OLD not in f"{vault!r} {vars(vault)!r}"
    assert logs.mask(f"the key {OLD}") == "the key ***"
