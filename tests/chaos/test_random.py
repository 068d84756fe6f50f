# SPDX-License-Identifier: Apache-2.0
"""The long run in short, and its plan."""

import itertools
import os

import pytest

from tests.chaos import plan
from tests.chaos.plan import Act, Fault

#: The seed of the run in CI; another one by POPPY_CHAOS_SEED.
SEED = int(os.environ.get("POPPY_CHAOS_SEED", "1"))


@pytest.mark.real
def test_under_random_faults_every_promise_is_kept(tmp_path):
    pytest.importorskip("cassandra")
    from tests.chaos.run import Plan, run

    report = run(Plan(SEED, requests=60, tenants=2, clients=4, workers=2), tmp_path)
    print(report)
    assert report.violations == []
    assert int(report.rows["  accepted"]) >= 40
    assert int(report.rows["faults"]) >= 3


def test_a_plan_is_its_seed_s():
    def planned(seed):
        faults = itertools.islice(plan.blows(seed), 50)
        return list(plan.lives(seed, "c1", 50)), list(faults)

    assert planned(1) == planned(1)
    assert planned(1) != planned(2)


def test_a_plan_has_everything_in_it():
    lives = list(plan.lives(1, "c1", 200))
    assert sum(life.requests for life in lives) >= 200
    assert {act for life in lives for act in life.acts} == set(Act)
    assert all(life.acts[0] is Act.CREATE for life in lives)
    assert len({life.name for life in lives}) == len(lives)
    few = itertools.islice(plan.blows(1), len(Fault))
    assert {blow.fault for blow in few} == set(Fault)


def test_a_domain_is_used_again_only_when_its_service_is_gone():
    lives = list(plan.lives(1, "c1", 200))
    again = 0
    for before, after in itertools.pairwise(lives):
        same = before.domains[0][0] == after.domains[0][0]
        assert same == (Act.VANISH in before.acts)
        again += same
    assert again > 3
