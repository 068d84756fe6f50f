# SPDX-License-Identifier: Apache-2.0
"""A short version of the long run, and tests of its plan."""

import itertools
import os

import pytest

from tests.chaos import plan
from tests.chaos.plan import Act, Fault

#: The seed of the run in CI; POPPY_CHAOS_SEED overrides it.
SEED = int(os.environ.get("POPPY_CHAOS_SEED", "1"))


@pytest.mark.real
def test_random_faults_cause_no_violations(tmp_path):
    pytest.importorskip("cassandra")
    from tests.chaos.run import Plan, run

    report = run(Plan(SEED, requests=60, tenants=2, clients=4, workers=2), tmp_path)
    print(report)
    assert report.violations == []
    assert int(report.rows["  accepted"]) >= 40
    assert int(report.rows["faults"]) >= 3


def test_plan_depends_only_on_the_seed():
    def planned(seed):
        faults = itertools.islice(plan.blows(seed), 50)
        return list(plan.lives(seed, "c1", 50)), list(faults)

    assert planned(1) == planned(1)
    assert planned(1) != planned(2)


def test_plan_has_all_acts_and_faults():
    lives = list(plan.lives(1, "c1", 200))
    assert sum(life.requests for life in lives) >= 200
    assert {act for life in lives for act in life.acts} == set(Act)
    assert all(life.acts[0] is Act.CREATE for life in lives)
    assert len({life.name for life in lives}) == len(lives)
    few = itertools.islice(plan.blows(1), len(Fault))
    assert {blow.fault for blow in few} == set(Fault)


def test_domain_is_reused_only_after_its_service_is_gone():
    lives = list(plan.lives(1, "c1", 200))
    again = 0
    for before, after in itertools.pairwise(lives):
        same = before.domains[0][0] == after.domains[0][0]
        assert same == (Act.VANISH in before.acts)
        again += same
    assert again > 3
