# SPDX-License-Identifier: Apache-2.0
"""Rules for all statements of the Cassandra driver; no server is needed."""

import importlib
import pkgutil
import re

import pytest

pytest.importorskip("cassandra")

import poppy.storage.cassandra as package
from poppy.storage.cassandra import domains, migrate, partition
from poppy.storage.cassandra.views import View

_VERBS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ")
#: A node's system tables, which are small; the rules do not apply to them.
_SYSTEM = re.compile(r" FROM system(_schema|_views)?\.")


def _statements():
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            continue
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")
        for name, value in vars(loaded).items():
            if isinstance(value, View):
                yield pytest.param(value.put, id=f"{module.name}.{name}.put")
                yield pytest.param(value.delete, id=f"{module.name}.{name}.delete")
            if isinstance(value, str) and value.startswith(_VERBS) and not _SYSTEM.search(value):
                yield pytest.param(value, id=f"{module.name}.{name}")


def _partition_keys():
    keys = {"schema_migrations": ["shelf"], "schema_lock": ["name"]}
    for migration in migrate.migrations():
        for statement in migration.statements:
            if re.match(r"ALTER TABLE \w+ ADD IF NOT EXISTS ", statement):
                continue
            table = re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", statement)[1]
            key = re.search(r"PRIMARY KEY \(\(([^)]*)\)", statement)[1]
            keys[table] = [column.strip() for column in key.split(",")]
    return keys


KEYS = _partition_keys()
ALL = list(_statements())
INSERTS = [it.id for it in ALL if it.values[0].startswith("INSERT ")]

every = pytest.mark.parametrize("cql", ALL)


def test_all_statements_are_found():
    assert len(ALL) > 40


@every
def test_nothing_is_filtered_or_scanned(cql):
    assert "ALLOW FILTERING" not in cql.upper()
    assert "TOKEN(" not in cql.upper()


SCANS = {"partition.SCAN": partition.SCAN, "domains.SCAN": domains.SCAN}


def test_only_operator_tools_read_more_than_one_partition():
    without = [parameter.id for parameter in ALL if " WHERE " not in parameter.values[0]]
    assert [it for it in without if it not in INSERTS] == sorted(SCANS)


@every
def test_the_whole_partition_key_is_given(cql):
    if cql in SCANS.values():
        return
    table = re.search(r"(?:FROM|INTO|UPDATE) (\w+)", cql)[1]
    if cql.startswith("INSERT"):
        named = re.search(r"\(([^)]*)\)", cql)[1].replace(" ", "").split(",")
    else:
        named = re.findall(r"(\w+) (?:=|IN) ", cql.partition(" WHERE ")[2].partition(" IF ")[0])
    assert set(KEYS[table]) <= set(named)


@every
def test_no_conditional_write_sets_a_timestamp(cql):
    # Cassandra refuses it, and rows written by Paxos must not be written in other ways.
    assert not (" IF " in cql and "USING TIMESTAMP" in cql)


def test_views_and_hints_carry_a_logical_clock():
    tables = (
        *("services_by_project", "services_archive", "due ", "flavor_uses"),
        *("services_by_status", "domains_by_provider_url", "open_operations"),
        *("operations_by_state", "state_buckets"),
    )
    for parameter in ALL:
        cql = parameter.values[0]
        if not cql.startswith("SELECT") and any(f" {table}" in cql for table in tables):
            assert "USING TIMESTAMP :clock" in cql


def test_migrations_are_numbered_without_gaps_and_repeatable():
    numbers = [migration.number for migration in migrate.migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    for migration in migrate.migrations():
        assert all("IF NOT EXISTS" in statement for statement in migration.statements)


def test_statements_are_split_without_comments():
    text = "-- a; b\nCREATE x (\n  a int\n);\n\n  -- c\nCREATE y;\n"
    assert migrate.statements(text) == ["CREATE x (\n  a int\n)", "CREATE y"]
