# SPDX-License-Identifier: Apache-2.0
"""The tables of facts about vendors."""

import datetime
from pathlib import Path

import pytest

from tools import vendor_facts
from tools.vendor_facts import Fact

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
