# SPDX-License-Identifier: Apache-2.0
"""The tables of facts about vendors."""

import datetime
import re
from pathlib import Path

import pytest

from poppy.testing.edge import PROMISES
from tests.unit.documentation.enforced import ENFORCED
from tools import vendor_facts
from tools.vendor_facts import Fact

TESTS = Path(__file__).parents[2]
DIRECTORY = Path(__file__).parents[3] / "doc/source/drivers/facts"
PAGE = """Vendor facts
============

.. list-table::
   :header-rows: 1

   * - fact
     - source
     - checked
   * - Something of
       two lines
     - a page
     - {checked}
"""


def test_each_fact_has_a_source_and_a_date():
    found = list(vendor_facts.read(DIRECTORY))
    assert {"akamai", "cloudfront", "fastly", "powerdns", "route53"} <= {it.vendor for it in found}
    assert all(it.text and it.source for it in found)
    assert all(it.checked >= datetime.date(2026, 11, 1) for it in found)


def test_each_fact_has_a_test_that_enforces_it():
    facts = list(vendor_facts.read(DIRECTORY))
    for fact in facts:
        tests = [it for start, it in ENFORCED[fact.vendor].items() if fact.text.startswith(start)]
        assert len(tests) == 1, f"{fact.vendor}: {fact.text} has {len(tests)} entries in ENFORCED"
    assert len(facts) == sum(map(len, ENFORCED.values())), "ENFORCED has entries without a fact"


def test_tests_that_enforce_facts_exist():
    sources = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    functions = set(re.findall(r"def (test_\w+)", sources))
    promises = {f"promise:{promise.id}" for promise in PROMISES}
    for facts in ENFORCED.values():
        for names in facts.values():
            for name in names:
                assert name.startswith("none: ") or name in functions | promises, name


def test_facts_are_due_half_a_year_after_their_check(tmp_path, capsys):
    (tmp_path / "cdn.rst").write_text(PAGE.format(checked="2026-01-31"))
    fact = Fact("cdn", "Something of two lines", "a page", datetime.date(2026, 1, 31))
    days = [datetime.date(2026, 8, day) for day in (2, 3)]
    found = [vendor_facts.due(vendor_facts.read(tmp_path), day) for day in days]
    assert found == [[], [fact]]


def test_the_command_fails_if_a_fact_is_due(tmp_path, capsys):
    today = datetime.datetime.now(datetime.UTC).date()
    (tmp_path / "cdn.rst").write_text(PAGE.format(checked=today))
    assert vendor_facts.main([str(tmp_path)]) == 0
    (tmp_path / "cdn.rst").write_text(PAGE.format(checked="2020-01-31"))
    assert vendor_facts.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == "2020-01-31 cdn: Something of two lines (a page)\n"


@pytest.mark.parametrize("checked", ["", "soon", "2026-02-30"])
def test_a_fact_without_a_date_is_an_error(tmp_path, checked):
    (tmp_path / "cdn.rst").write_text(PAGE.format(checked=checked))
    with pytest.raises(ValueError, match="Something of two lines"):
        list(vendor_facts.read(tmp_path))
