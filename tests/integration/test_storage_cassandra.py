# SPDX-License-Identifier: Apache-2.0
"""The Cassandra storage driver on a real node."""

import contextlib
import datetime
import socket
import time
import uuid
from dataclasses import replace

import pytest

pytest.importorskip("cassandra")

from cassandra import WriteTimeout, WriteType
from cassandra.cluster import Session

from poppy.common import config, errors
from poppy.model.operations import Kind, State
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Status
from poppy.storage.cassandra import codec, migrate, partition, states
from poppy.storage.cassandra.claims import Claims
from poppy.storage.cassandra.driver import CassandraStorage
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.due_index import WIDTH
from poppy.storage.operations import Marker
from poppy.testing.builders import (
    NOW,
    PROJECT_ID,
    after,
    make_flavor,
    make_operation,
    make_service,
)
from poppy.testing.storage import EdgeContract, StorageContract
from poppy.testing.storage import keys as key_contract
from poppy.testing.storage.case import (
    LIMIT,
    add,
    begin,
    create,
    each,
    failures,
    finish,
    first_operation,
    is_free,
    race,
    remove,
    submit,
)
from tests.forks import read_at_once, sync_at_once
from tests.real.cassandra import Cassandra, make_volatile, truncate
from tests.real.fixtures import cassandra, keyspace  # noqa: F401  fixtures

pytestmark = [pytest.mark.real, pytest.mark.nightly]

DEPLOYED = {"mock": ProviderDetail(ProviderStatus.DEPLOYED, "id-1")}
TABLES = [
    *("services", "services_by_project", "services_archive", "domains", "places"),
    *("flavors", "flavor_uses", "due", "due_slots", "due_hours"),
    *("failed_operations", "failed_days", "workers", "breakers"),
    *("operations_by_state", "state_buckets"),
    *("services_by_status", "services_by_project_status", "domains_by_provider_url"),
    *("idempotency_keys", "documents", "open_operations"),
    *("edge_log", "edge_programs", "edge_purges", "edge_head", "edge_pruned"),
    *("edge_nodes", "edge_tokens", "edge_reports", "edge_traffic", "edge_countries"),
]


def make_storage(node, **overrides):
    conf = config.new()
    conf([], project="poppy", default_config_files=[])
    group = "drivers:storage:cassandra"
    conf.register_opts(CassandraStorage.OPTS, group=group)
    options = {"cluster": [node.host], "port": node.port, **overrides}
    for name, value in options.items():
        conf.set_override(name, value, group=group)
    return CassandraStorage(conf, "cassandra")


@pytest.fixture(scope="module")
def synced(cassandra):  # noqa: F811
    """A driver on a keyspace with the schema. Shared, since a sync takes seconds."""
    driver = make_storage(cassandra, keyspace=f"test_{uuid.uuid4().hex[:16]}")
    driver.sync()
    make_volatile(driver._database._session())
    yield driver
    driver.close()


@pytest.fixture
def connect(cassandra, synced):  # noqa: F811
    """A function that connects another driver to the keyspace, which is empty."""
    truncate(synced._database._session(), TABLES)
    return lambda: make_storage(cassandra, keyspace=synced.options.keyspace)


@pytest.fixture
def storage(connect):
    driver = connect()
    yield driver
    driver.close()


@pytest.fixture
def stocked(storage):
    storage.conf.set_override("domain_quarantine", 0)
    storage.flavors.create(make_flavor())
    return storage


@pytest.fixture
def cql(synced):
    """A function that runs CQL without the driver."""
    session = synced._database._session()
    return lambda statement, *parameters: list(session.execute(statement, parameters))


@pytest.fixture
def empty(cassandra, keyspace):  # noqa: F811
    """A driver on a keyspace that does not exist yet."""
    driver = make_storage(cassandra, keyspace=keyspace)
    yield driver
    driver.close()


class TestContract(StorageContract, EdgeContract):
    def let_expire(self):
        time.sleep(2)

    @pytest.fixture
    def storage(self, connect):
        driver = connect()
        yield driver
        driver.close()

    @pytest.fixture
    def connect_again(self, connect):
        return connect


class TestSchema:
    def test_check_without_a_keyspace_names_the_command_to_run(self, empty):
        with pytest.raises(errors.ConfigError, match="poppy-manage db sync"):
            empty.check()
        assert empty.is_alive() is False

    def test_check_without_tables_names_the_command_to_run(self, empty):
        migrate.make_keyspace(empty._database)
        with pytest.raises(errors.ConfigError, match="no tables of Poppy.*poppy-manage db sync"):
            empty.check()

    def test_concurrent_syncs_of_an_empty_cluster(self, cassandra, empty):  # noqa: F811
        sync_at_once(lambda: make_storage(cassandra, keyspace=empty.options.keyspace), count=3)
        empty.sync()
        empty.check()

    def test_sync_goes_on_when_the_lock_times_out(self, empty, monkeypatch):
        """Each statement of the lock is applied, but its first reply is a timeout."""
        execute, answered = Session.execute, set()

        def late(session, query, *arguments, **options):
            found = execute(session, query, *arguments, **options)
            text = getattr(query, "query_string", "")
            if "schema_lock" in text and text not in answered:
                answered.add(text)
                raise WriteTimeout("slow", write_type=WriteType.CAS)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(Session, "execute", late)
            empty.sync()
        assert answered == {migrate._LOCK, migrate._EXTEND, migrate._UNLOCK}
        empty.sync()
        empty.check()

    def test_sync_resumes_after_a_crash(self, empty, monkeypatch):
        done = []
        change = migrate._change

        def die(cluster, session, statement):
            if len(done) == 5:
                raise KeyboardInterrupt
            done.append(statement)
            change(cluster, session, statement)

        with monkeypatch.context() as patched:
            patched.setattr(migrate, "_change", die)
            with pytest.raises(KeyboardInterrupt):
                empty.sync()
        with pytest.raises(errors.ConfigError, match="lacks migration 0001"):
            empty.check()
        empty.sync()
        empty.check()
        empty.flavors.create(make_flavor())

    def test_newer_schema_is_accepted_if_it_only_adds(self, storage, cql):
        storage.sync()
        cql("INSERT INTO schema_migrations (shelf, number) VALUES (0, 9999)")
        try:
            storage.check()
            storage.sync()
            assert storage.version().stored == "9999"
        finally:
            cql("DELETE FROM schema_migrations WHERE shelf = 0 AND number = 9999")
        assert cql("SELECT * FROM schema_lock") == []

    @pytest.mark.parametrize("oldest", ["9998", None])
    def test_newer_schema_is_refused_and_not_changed(self, storage, cql, oldest):
        content = {"oldest": oldest} if oldest else None
        storage.documents.change("schema", lambda _: content)
        cql("INSERT INTO schema_migrations (shelf, number) VALUES (0, 9999)")
        try:
            with pytest.raises(errors.ConfigError, match="newer schema .9999."):
                storage.check()
            with pytest.raises(errors.ConfigError, match="newer schema .9999."):
                storage.sync()
        finally:
            cql("DELETE FROM schema_migrations WHERE shelf = 0 AND number = 9999")
        assert cql("SELECT * FROM schema_lock") == []

    def test_lock_of_a_dead_sync_expires(self, storage, cql, monkeypatch):
        cql("INSERT INTO schema_lock (name, owner) VALUES ('sync', uuid()) USING TTL 2")
        storage.sync()


class TestOrphans:
    """What processes leave when they die between two writes; ``overdue`` ends the grace period."""

    @pytest.fixture
    def overdue(self, monkeypatch):
        for module in ("claims", "quota", "due_index_reader"):
            monkeypatch.setattr(f"poppy.storage.cassandra.{module}.GRACE", -1.0)
        monkeypatch.setattr("poppy.storage.cassandra.claims.OWN_GRACE", -1.0)

    @pytest.fixture
    def dies(self, monkeypatch):
        """A context in which processes die just before they write the service partition."""

        @contextlib.contextmanager
        def dying():
            with monkeypatch.context() as patched:
                patched.setattr(partition, "write", lambda *_: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    yield

        return dying

    @pytest.mark.parametrize(
        ("project", "grace"), [("another", "GRACE"), (PROJECT_ID, "OWN_GRACE")]
    )
    def test_claim_of_a_dead_create_is_taken_over_later(
        self, stocked, dies, monkeypatch, project, grace
    ):
        with dies():
            add(stocked, domains=["a.example.com"])
        wanted = make_service(domains=["a.example.com"], project_id=project)
        with pytest.raises(errors.DomainTaken):
            create(stocked, wanted)
        monkeypatch.setattr(f"poppy.storage.cassandra.claims.{grace}", -1.0)
        create(stocked, wanted)
        assert not is_free(stocked, "a.example.com")
        remove(stocked, wanted)

    @pytest.mark.parametrize("project", ["another", PROJECT_ID])
    def test_quarantine_of_a_dropped_domain_survives_a_crash(
        self, stocked, overdue, monkeypatch, project
    ):
        stocked.conf.set_override("domain_quarantine", 3600)
        service = add(stocked, domains=["a.example.com", "b.example.com"])
        finish(stocked, begin(stocked, first_operation(stocked, service)).operation)
        service = stocked.services.get(PROJECT_ID, service.service_id)
        kept = replace(service.spec, domains=service.spec.domains[1:])
        run = begin(stocked, submit(stocked, replace(service, spec=kept)))
        with monkeypatch.context() as patched:
            patched.setattr(Claims, "give_back", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                finish(stocked, run.operation)
        self.claim_in_quarantine(stocked, "a.example.com", project)

    @pytest.mark.parametrize("project", ["another", PROJECT_ID])
    def test_quarantine_of_a_removed_service_survives_a_crash(self, stocked, monkeypatch, project):
        stocked.conf.set_override("domain_quarantine", 3600)
        service = add(stocked, domains=["a.example.com"])
        with monkeypatch.context() as patched:
            patched.setattr(Claims, "release_all", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                remove(stocked, service)
        self.claim_in_quarantine(stocked, "a.example.com", project)

    def test_quarantine_survives_a_dead_create_of_the_former_project(self, stocked, dies, overdue):
        stocked.conf.set_override("domain_quarantine", 3600)
        remove(stocked, add(stocked, domains=["a.example.com"]))
        with dies():
            add(stocked, domains=["a.example.com"])
        self.claim_in_quarantine(stocked, "a.example.com", "another")

    @staticmethod
    def claim_in_quarantine(storage, domain, project):
        """Check that only the former project can claim the domain, and can do so at once."""
        for name in sorted({project, PROJECT_ID}, reverse=project == PROJECT_ID):
            wanted = make_service(domains=[domain], project_id=name)
            if name == PROJECT_ID:
                create(storage, wanted)
                assert storage.queries.by_claim(domain) == wanted
            else:
                with pytest.raises(errors.DomainReleased):
                    create(storage, wanted)

    def test_create_is_refused_after_its_claim_was_taken_over(
        self, stocked, connect, overdue, monkeypatch
    ):
        other = connect()
        write = partition.write
        taken = []

        def sleep(database, found, change, serial=None):
            if not taken:
                taken.append(True)
                taken.append(add(other, domains=["a.example.com"]))
            return write(database, found, change, serial)

        monkeypatch.setattr(partition, "write", sleep)
        slept = make_service(domains=["a.example.com"], project_id="slow")
        with pytest.raises(errors.Unavailable):
            create(stocked, slept, 1)
        with pytest.raises(errors.NotFound):
            stocked.services.get("slow", slept.service_id)
        assert list(stocked.services.list("slow", None, 10)) == []
        assert stocked.services.get(PROJECT_ID, taken[1].service_id) == taken[1]
        assert not is_free(stocked, "a.example.com")
        other.close()

    def test_service_reuses_the_claim_of_a_dead_submit(self, stocked, dies):
        service = add(stocked, domains=["a.example.com"])
        changed = replace(service, spec=make_service(domains=["a.example.com", "b.b"]).spec)
        with dies():
            submit(stocked, changed)
        submit(stocked, changed)
        assert not is_free(stocked, "b.b")

    def test_unreleased_domain_of_a_removed_service_is_free_at_once(self, stocked, monkeypatch):
        service = add(stocked, domains=["a.example.com"])
        with monkeypatch.context() as patched:
            patched.setattr(stocked.operations._projections, "refresh", unavailable)
            remove(stocked, service)
        assert is_free(stocked, "a.example.com")

    def test_quota_of_a_dead_create_is_reclaimed_by_a_full_project(self, stocked, dies, overdue):
        with dies():
            add(stocked, limit=1)
        add(stocked, limit=1)
        with pytest.raises(errors.LimitReached):
            add(stocked, limit=1)

    def test_flavor_used_by_a_dead_create_can_be_deleted(self, stocked, dies):
        with dies():
            add(stocked)
        stocked.flavors.delete(make_flavor().flavor_id)
        assert list(stocked.flavors.list()) == []

    def test_views_of_an_interrupted_removal_are_repaired_by_its_hint(
        self, stocked, connect, overdue, monkeypatch, cql
    ):
        service = add(stocked, limit=1)
        with monkeypatch.context() as patched:
            patched.setattr(stocked.operations._projections, "refresh", unavailable)
            remove(stocked, service)
        assert len(stocked.services.list(PROJECT_ID, None, 10)) == 1
        assert list(stocked.operations.due(after(10**6), 10)) == []
        assert list(stocked.services.list(PROJECT_ID, None, 10)) == []
        assert len(cql("SELECT * FROM services_archive WHERE project_id = %s", PROJECT_ID)) == 1
        add(stocked, limit=1)
        assert cql("SELECT * FROM due WHERE slot = 0 AND shard = 0") == []

    def test_list_of_an_interrupted_run_is_repaired_by_its_hint(
        self, stocked, overdue, monkeypatch
    ):
        run = begin(stocked, first_operation(stocked, add(stocked)))
        with monkeypatch.context() as patched:
            patched.setattr(stocked.operations._projections, "refresh", unavailable)
            finish(stocked, run.operation, details=DEPLOYED)
        (listed,) = stocked.services.list(PROJECT_ID, None, 10)
        assert listed == run.service
        assert list(stocked.operations.due(after(60), 10)) == []
        (listed,) = stocked.services.list(PROJECT_ID, None, 10)
        assert listed.provider_details == DEPLOYED

    def test_outdated_view_writes_change_nothing(self, stocked):
        service = add(stocked)
        old = partition.read(stocked._database, (PROJECT_ID, service.service_id))
        submit(stocked, replace(service, disabled=True))
        late = stocked.services._projections
        late.refresh(old)
        (listed,) = stocked.services.list(PROJECT_ID, None, 10)
        assert listed.disabled
        remove(stocked, listed)
        late.refresh(old)
        assert list(stocked.services.list(PROJECT_ID, None, 10)) == []

    def test_reader_drops_stale_status_rows(self, stocked, monkeypatch, cql):
        service = add(stocked)
        failed = {"mock": ProviderDetail(ProviderStatus.FAILED)}
        with monkeypatch.context() as patched:
            patched.setattr(stocked.services._projections, "refresh", unavailable)
            submit(stocked, service.with_details(failed))
        stored = stocked.services.get(PROJECT_ID, service.service_id)
        submit(stocked, stored)
        assert len(cql("SELECT * FROM services_by_status")) == 2
        assert stocked.queries.by_status("create_in_progress", None, 5) == []
        assert stocked.queries.by_status("failed", None, 5) == [(PROJECT_ID, service.service_id)]
        assert len(cql("SELECT * FROM services_by_status")) == 1
        creating = Status.CREATE_IN_PROGRESS
        assert stocked.services.list(PROJECT_ID, None, 5, creating) == []

    def test_row_newer_than_the_partition_read_is_kept(self, stocked, monkeypatch):
        service = add(stocked)
        old = partition.read(stocked._database, (PROJECT_ID, service.service_id))
        submit(stocked, service.with_details(DEPLOYED))
        with monkeypatch.context() as patched:
            # As a lagging replica of another region may answer.
            patched.setattr(partition, "read_each", lambda _, keys: [old] * len(keys))
            assert stocked.queries.by_status("deployed", None, 5) == []
        assert stocked.queries.by_status("deployed", None, 5) == [(PROJECT_ID, service.service_id)]

    def test_key_of_a_dead_create_can_be_used_again(self, stocked, dies):
        with dies():
            key_contract.create(stocked, make_service())
        assert stocked.services.created_by(PROJECT_ID, key_contract.KEY) is None
        service = make_service()
        key_contract.create(stocked, service)
        assert stocked.services.created_by(PROJECT_ID, key_contract.KEY) == service.service_id

    def test_delayed_create_is_refused_after_it_was_repeated(self, stocked, connect, monkeypatch):
        other = connect()
        write = partition.write
        repeated = []

        def sleep(database, found, change, serial=None):
            if not repeated:
                repeated.append(make_service())
                key_contract.create(other, repeated[0])
            return write(database, found, change, serial)

        monkeypatch.setattr(partition, "write", sleep)
        with pytest.raises(errors.Unavailable):
            key_contract.create(stocked, make_service())
        (stored,) = stocked.services.list(PROJECT_ID, None, 10)
        assert stored.service_id == repeated[0].service_id
        assert stocked.services.created_by(PROJECT_ID, key_contract.KEY) == stored.service_id
        other.close()


def unavailable(*_):
    raise errors.Unavailable("as if")


class TestStates:
    """The view of operations by state finds the right operations despite stale rows."""

    ROWS = "SELECT state, operation_id FROM operations_by_state"

    def rows(self, cql):
        return sorted(tuple(row) for row in cql(self.ROWS))

    def find(self, storage, *states):
        return list(storage.operations.find(states, NOW))

    def test_open_operation_has_one_row_and_finished_one_has_none(self, stocked, cql):
        operation = first_operation(stocked, add(stocked))
        assert self.rows(cql) == [("queued", operation.operation_id)]
        run = begin(stocked, operation)
        assert self.find(stocked, State.RUNNING) == [run.operation]
        assert self.rows(cql) == [("running", operation.operation_id)]
        finish(stocked, run.operation)
        assert self.find(stocked, *states.LISTED) == []
        assert self.rows(cql) == []

    def test_running_operation_is_seen_by_others_at_once(self, stocked, connect):
        other = connect()
        run = begin(stocked, first_operation(stocked, add(stocked)))
        assert self.find(other, State.RUNNING) == [run.operation]
        assert self.find(other, State.QUEUED) == []
        assert self.find(other, State.QUEUED, State.RUNNING) == [run.operation], "once"
        other.close()

    def test_superseded_operation_has_no_rows(self, stocked, cql):
        run = begin(stocked, first_operation(stocked, add(stocked)))
        delete = submit(stocked, run.service, Kind.DELETE)
        assert self.find(stocked, *states.LISTED) == [delete]
        stocked.operations._due_index.flush()
        assert self.rows(cql) == [("queued", delete.operation_id)]

    def test_reader_drops_a_stale_row(self, stocked, cql):
        clock = codec.now()
        operation = first_operation(stocked, add(stocked))
        ghost = replace(operation, state=State.WAITING)
        database = stocked._database
        database.write(states.States(database).puts([ghost], clock))
        assert len(self.rows(cql)) == 2
        assert self.find(stocked, State.WAITING) == []
        assert self.rows(cql) == [("queued", operation.operation_id)]

    def test_old_row_of_a_missing_operation_is_dropped(self, stocked, cql):
        database = stocked._database
        service = make_service()
        for age in (0, 600):
            gone = make_operation(service, next_attempt_at=datetime.datetime.now(datetime.UTC))
            clock = codec.now() - age * 10**6
            database.write(states.States(database).puts([gone], clock))
        assert len(self.rows(cql)) == 2
        assert self.find(stocked, State.QUEUED) == []
        assert len(self.rows(cql)) == 1, "one may be on its way"

    def test_row_of_a_write_in_progress_is_kept(self, stocked, cql):
        operation = first_operation(stocked, add(stocked))
        coming = replace(operation, state=State.WAITING)
        database = stocked._database
        database.write(states.States(database).puts([coming], codec.now() + 10**7))
        assert self.find(stocked, State.WAITING) == []
        assert len(self.rows(cql)) == 2

    def park(self, storage, until=None):
        """Park an operation, for long by default; return it."""
        running = begin(storage, first_operation(storage, add(storage))).operation
        until = until or after(3600)
        parked = replace(running, state=State.WAITING, next_attempt_at=until, error="no answer")
        storage.operations.save(parked, None)
        storage.operations._due_index.flush()
        return parked

    @pytest.fixture
    def verified(self, monkeypatch):
        """Collect the keys of operations that readers look up in service partitions."""
        keys = []
        read = states.States._read

        def spy(view, wanted):
            wanted = list(wanted)
            keys.extend(wanted)
            return read(view, wanted)

        monkeypatch.setattr(states.States, "_read", spy)
        return keys

    def test_parked_operations_are_read_from_the_view_alone(self, stocked, verified, monkeypatch):
        parked = [self.park(stocked) for _ in range(3)]
        assert self.find(stocked, State.WAITING) == parked
        assert len(verified) == 3, "a write may be in progress"
        verified.clear()
        monkeypatch.setattr(states, "SETTLED", 0.0)
        assert self.find(stocked, State.WAITING) == parked
        assert verified == []

    def test_other_operations_are_looked_up(self, stocked, verified, monkeypatch):
        monkeypatch.setattr(states, "SETTLED", 0.0)
        running = begin(stocked, first_operation(stocked, add(stocked))).operation
        failed = begin(stocked, first_operation(stocked, add(stocked))).operation
        failed = replace(failed, state=State.FAILED, error="no", next_attempt_at=None)
        stocked.operations.save(failed, None)
        due = self.park(stocked, until=datetime.datetime.now(datetime.UTC))
        found = self.find(stocked, *states.LISTED)
        assert [it.key for it in found] == [running.key, failed.key, due.key]
        assert verified == [running.key, failed.key, due.key]

    def test_row_that_an_earlier_version_changed_is_looked_up(
        self, stocked, verified, monkeypatch, cql
    ):
        monkeypatch.setattr(states, "SETTLED", 0.0)
        parked = self.park(stocked)
        bucket = states._bucket(codec.to_number(parked.created_at))
        # Such a version writes the row, and not the document.
        cql(
            "UPDATE operations_by_state SET project_id = %s, service_id = %s "
            "WHERE state = 'waiting' AND bucket = %s AND operation_id = %s",
            *(parked.project_id, parked.service_id, bucket, parked.operation_id),
        )
        assert self.find(stocked, State.WAITING) == [parked]
        assert verified == [parked.key]

    def test_parked_operation_with_rows_of_two_states_is_looked_up(
        self, stocked, verified, monkeypatch
    ):
        monkeypatch.setattr(states, "SETTLED", 0.0)
        running = begin(stocked, first_operation(stocked, add(stocked))).operation
        stocked.operations._due_index.flush()
        # The row of a writer that was overtaken.
        lost = replace(running, state=State.QUEUED)
        database = stocked._database
        database.write(states.States(database).puts([lost], codec.now()))
        parked = replace(running, state=State.WAITING, next_attempt_at=after(3600))
        stocked.operations.save(parked, None)
        stocked.operations._due_index.flush()
        assert self.find(stocked, State.QUEUED, State.WAITING) == [parked]
        assert verified == [parked.key]
        verified.clear()
        assert self.find(stocked, State.QUEUED, State.WAITING) == [parked]
        assert verified == []

    def test_operation_with_rows_of_two_states_is_found_once(self, stocked, monkeypatch):
        monkeypatch.setattr(states, "_PAGE", 1)
        parked = self.park(stocked)
        database = stocked._database
        lost = replace(parked, state=State.QUEUED)
        database.write(states.States(database).puts([lost], codec.now() + 10**7))
        assert self.find(stocked, State.QUEUED, State.WAITING) == [parked]

    def test_paging_across_and_within_minutes(self, stocked):
        made = []
        for minute in (-3000, -60, -2, -1, 0):
            for _ in range(3):
                service = make_service()
                asked_at = after(60 * minute)
                operation = make_operation(service, created_at=asked_at, updated_at=asked_at)
                stocked.services.create(service, operation, LIMIT)
                made.append(operation)
        expected = sorted(made, key=lambda it: (it.created_at, it.operation_id))
        assert self.find(stocked, State.QUEUED) == expected
        for number, operation in enumerate(expected, 1):
            marker = Marker(operation.created_at, operation.operation_id)
            found = stocked.operations.find([State.QUEUED], NOW, marker)
            assert list(found) == expected[number:]
        assert list(stocked.operations.find([State.QUEUED], after(-7200))) == expected[:3]

    def test_more_partitions_than_parallel_reads(self, stocked):
        made = []
        for minute in range(states._BUCKETS * 3 + 1):
            service = make_service()
            operation = make_operation(service, created_at=after(-60 * minute))
            stocked.services.create(service, operation, LIMIT)
            made.insert(0, operation)
        assert self.find(stocked, State.QUEUED) == made

    @pytest.mark.parametrize("how", ["a reader", "a sweep"])
    def test_empty_partition_leaves_the_index(self, stocked, cql, monkeypatch, how):
        finish(stocked, begin(stocked, first_operation(stocked, add(stocked))).operation)
        stocked.operations._due_index.flush()
        waiting = first_operation(stocked, add(stocked))
        left = {("queued",)} if waiting else set()
        index = "SELECT state FROM state_buckets"

        def look():
            if how == "a reader":
                self.find(stocked, *states.LISTED)
            else:
                stocked.operations.prune(NOW, 100)
            return {tuple(row) for row in cql(index)}

        assert look() == {("queued",), ("running",)}, "something may be on its way there"
        monkeypatch.setattr(states, "MARGIN", -1.0)
        assert look() == left
        assert self.find(stocked, State.QUEUED) == [waiting]

    def test_partition_returns_to_the_index_with_its_next_row(self, stocked, monkeypatch):
        run = begin(stocked, first_operation(stocked, add(stocked)))
        monkeypatch.setattr(states, "MARGIN", -1.0)
        assert self.find(stocked, State.QUEUED) == []
        monkeypatch.setattr(states, "FRESH", 0.0)
        back = replace(run.operation, state=State.QUEUED, next_attempt_at=after(1))
        stocked.operations.save(back, None)
        assert self.find(stocked, State.QUEUED) == [back]

    def test_sync_indexes_operations_of_an_earlier_version(self, stocked, cql):
        queued = first_operation(stocked, add(stocked))
        running = begin(stocked, first_operation(stocked, add(stocked))).operation
        failed = begin(stocked, first_operation(stocked, add(stocked))).operation
        failed = replace(failed, state=State.FAILED, error="no", next_attempt_at=None)
        stocked.operations.save(failed, None)
        stocked.operations._due_index.flush()
        for table in ("operations_by_state", "state_buckets"):
            cql(f"TRUNCATE {table}")
        stocked.operations._states._indexed.clear()
        assert self.find(stocked, *states.LISTED) == []
        for _ in range(2):
            stocked.sync()
            assert self.find(stocked, *states.LISTED) == [queued, running, failed]

    def test_rows_of_failed_operations_expire(self, stocked, cql):
        failed = begin(stocked, first_operation(stocked, add(stocked))).operation
        failed = replace(failed, state=State.FAILED, error="no", next_attempt_at=None)
        stocked.operations.save(failed, None)
        ttls = cql(
            "SELECT TTL(project_id) FROM operations_by_state WHERE state = %s AND bucket = %s",
            "failed",
            states._bucket(codec.to_number(failed.created_at)),
        )
        assert 0 < ttls[0][0] <= stocked._database.retention


class TestDurability:
    def test_single_replica_with_periodic_commit_log_is_reported(self, synced):
        (remark,) = synced.durability()
        assert f"Keyspace {synced.options.keyspace} keeps 1 of 3 replicas" in remark
        assert "commitlog_sync is periodic" in remark

    def test_single_replica_with_durable_commit_log_is_enough(self):
        """A restarted node has all data, and the driver uses it again."""
        with Cassandra(durable=True) as node:
            storage = make_storage(node, request_timeout=2.0)
            storage.sync()
            assert list(storage.durability()) == []
            storage.flavors.create(make_flavor())
            made = [add(storage) for _ in range(20)]
            # Kill the node as soon as it has acknowledged.
            node.kill()
            for call in (storage.flavors.list, lambda: add(storage)):
                with pytest.raises(errors.Unavailable):
                    call()
            assert storage.is_alive() is False
            node.start()
            wait_until_alive(storage)
            found = storage.services.list(PROJECT_ID, None, 100)
            assert {it.service_id for it in found} == {it.service_id for it in made}
            add(storage)
            storage.close()

    def test_durability_without_a_keyspace_is_a_configuration_error(self, empty):
        with pytest.raises(errors.ConfigError, match="no keyspace"):
            empty.durability()


class TestHints:
    def test_hint_in_the_past_is_found(self, stocked):
        now = datetime.datetime.now(datetime.UTC)
        service = make_service()
        operation = make_operation(service, next_attempt_at=now - datetime.timedelta(hours=30))
        stocked.services.create(service, operation, LIMIT)
        (due,) = stocked.operations.due(now + datetime.timedelta(seconds=10), 10)
        assert due == operation

    def test_hint_of_a_write_in_progress_is_kept(self, stocked, cql):
        operation = first_operation(stocked, add(stocked))
        future = replace(operation, next_attempt_at=after(20))
        stocked.operations._due_index.put([future], codec.now())
        assert list(stocked.operations.due(after(30), 10)) == []
        assert len(cql("SELECT * FROM due")) == 2

    def test_stale_hint_in_the_same_partition_does_not_hide_the_valid_one(self, stocked, cql):
        operation = first_operation(stocked, add(stocked))
        valid = codec.to_number(operation.next_attempt_at)
        end = codec.to_moment(valid - valid % WIDTH + WIDTH - 1)
        stale = replace(operation, next_attempt_at=end)
        stocked.operations._due_index.put([stale], codec.now())
        assert len(cql("SELECT * FROM due")) == 2
        assert list(stocked.operations.due(after(60), 10)) == [operation]

    def test_hint_is_kept_if_only_a_serial_read_finds_its_operation(self, stocked, monkeypatch):
        monkeypatch.setattr("poppy.storage.cassandra.due_index_reader.GRACE", -1.0)
        operation = first_operation(stocked, add(stocked))
        pages = stocked.operations._due_index.pages(codec.to_number(after(60)), 10)
        hints = [hint for page in pages for hint in page]
        with monkeypatch.context() as patched:
            # What a plain read returns before a write of unknown outcome is completed.
            patched.setattr(stocked._database, "read_each", lambda calls: [[] for _ in calls])
            assert list(stocked.operations._due._look(hints, after(60))) == []
        assert list(stocked.operations.due(after(60), 10)) == [operation]

    def test_delayed_writer_writes_its_dropped_hint_again(self, stocked, connect, monkeypatch):
        monkeypatch.setattr("poppy.storage.cassandra.due_index_reader.GRACE", -1.0)
        operation = first_operation(stocked, add(stocked))
        other = connect()
        write = partition.write
        slept = []

        def sleep(database, found, change, serial=None):
            if database is stocked._database and not slept:
                slept.append(True)
                assert list(other.operations.due(after(45), 10)) == []
            return write(database, found, change, serial)

        monkeypatch.setattr(partition, "write", sleep)
        run = begin(stocked, operation, until=after(30))
        assert slept
        assert list(other.operations.due(after(45), 10)) == [run.operation]
        other.close()

    def test_finished_operations_leave_no_hints(self, stocked, cql):
        for _ in range(3):
            run = begin(stocked, first_operation(stocked, add(stocked)))
            stocked.operations.renew(run.operation.key, 1, after(40))
            finish(stocked, run.operation)
        # The last deletion waits for another write to join, and is made by the next look.
        assert len(cql("SELECT * FROM due")) == 1
        assert list(stocked.operations.due(after(10**6), 10)) == []
        assert cql("SELECT * FROM due") == []

    def test_earlier_hint_covers_a_run_without_a_heartbeat(self, stocked, cql):
        operation = first_operation(stocked, add(stocked))
        (hint,) = cql("SELECT * FROM due")
        run = begin(stocked, operation, until=after(90))
        assert cql("SELECT * FROM due") == [hint]
        assert list(stocked.operations.due(after(89), 10)) == []
        assert list(stocked.operations.due(after(90), 10)) == [run.operation]
        # Requeuing it writes another hint, and leaves the hint that only the run knew.
        assert stocked.operations.requeue(run.operation, after(120))
        assert len(cql("SELECT * FROM due")) == 2
        (again,) = stocked.operations.due(after(120), 10)
        assert (again.state, again.crashes) == (State.QUEUED, 1)

    def test_first_heartbeat_of_a_run_writes_its_own_hint(self, stocked, cql):
        run = begin(stocked, first_operation(stocked, add(stocked)), until=after(90))
        before = cql("SELECT * FROM due")
        assert stocked.operations.renew(run.operation.key, 1, after(110))
        assert list(stocked.operations.due(after(109), 10)) == []
        (own,) = cql("SELECT * FROM due")
        assert own not in before
        (due,) = stocked.operations.due(after(110), 10)
        assert due.operation_id == run.operation.operation_id

    def test_hint_due_after_the_lease_does_not_cover_the_run(self, stocked):
        operation = first_operation(stocked, add(stocked))
        assert stocked.operations.requeue(operation, after(100))
        run = begin(stocked, operation, until=after(30))
        assert list(stocked.operations.due(after(30), 10)) == [run.operation]

    def test_hint_deletions_do_not_wait_forever(self, stocked, cql):
        operation = first_operation(stocked, add(stocked))
        for second in range(1, 60):
            assert stocked.operations.requeue(operation, after(second))
            operation = stocked.operations.get(operation.key)
        assert len(cql("SELECT * FROM due")) < 55

    def test_past_empty_slots_leave_the_index(self, stocked, cql, monkeypatch):
        run = begin(stocked, first_operation(stocked, add(stocked)))
        finish(stocked, run.operation)
        assert len(cql("SELECT * FROM due_slots")) > 0
        assert list(stocked.operations.due(after(10**4), 10)) == []
        # By the clock, these slots are in the future and may still get a hint.
        assert len(cql("SELECT * FROM due_slots")) > 0
        later = codec.to_number(after(10**5))
        monkeypatch.setattr(codec, "now", lambda: later)
        for _ in range(2):
            assert list(stocked.operations.due(after(10**4), 10)) == []
        assert cql("SELECT * FROM due_slots") == []
        assert cql("SELECT * FROM due_hours") == []

    def test_slots_with_due_operations_stay_in_the_index(self, stocked, monkeypatch):
        operation = first_operation(stocked, add(stocked))
        later = codec.to_number(after(10**5))
        monkeypatch.setattr(codec, "now", lambda: later)
        for _ in range(3):
            assert list(stocked.operations.due(after(10**4), 10)) == [operation]

    def test_finished_operations_do_not_slow_down_due(self, stocked, monkeypatch):
        for _ in range(20):
            finish(stocked, begin(stocked, first_operation(stocked, add(stocked))).operation)
        add(stocked)
        reads = []
        for name in ("read", "read_each"):
            method = getattr(stocked._database, name)
            monkeypatch.setattr(
                stocked._database,
                name,
                lambda *args, method=method: reads.append(args) or method(*args),
            )
        assert len(stocked.operations.due(after(60), 10)) == 1
        assert len(reads) < 12


def hiding_outcomes(database, monkeypatch):
    """A function that hides the outcome of the next conditional write, applied or not."""
    cas = database.cas

    def arrange(happens):
        def doubt(calls, serial):
            monkeypatch.setattr(database, "cas", cas)
            if happens:
                cas(calls, serial)
            raise Undecided("as if")

        monkeypatch.setattr(database, "cas", doubt)

    return arrange


class TestOutcomes:
    """Conditional writes with an outcome unknown to the driver."""

    @pytest.fixture
    def unsure(self, stocked, monkeypatch):
        """See :func:`hiding_outcomes`."""
        return hiding_outcomes(stocked._database, monkeypatch)

    @pytest.mark.parametrize("happens", [True, False])
    def test_begin_in_doubt_takes_effect_once(self, stocked, unsure, happens):
        operation = first_operation(stocked, add(stocked))
        unsure(happens)
        run = begin(stocked, operation)
        assert run.operation.attempt == 1
        assert stocked.operations.get(operation.key) == run.operation

    @pytest.mark.parametrize("happens", [True, False])
    def test_submit_in_doubt_takes_effect_once(self, stocked, unsure, happens):
        service = add(stocked)
        unsure(happens)
        submit(stocked, service)
        stored = stocked.services.get(PROJECT_ID, service.service_id)
        assert stored.revision == service.revision + 1
        assert len(stocked.operations.list(PROJECT_ID, service.service_id)) == 2

    @pytest.mark.parametrize("happens", [True, False])
    def test_quota_in_doubt_is_used_once(self, stocked, unsure, happens):
        unsure(happens)
        add(stocked, limit=2)
        add(stocked, limit=2)
        with pytest.raises(errors.LimitReached):
            add(stocked, limit=2)

    @pytest.mark.parametrize("happens", [True, False])
    def test_claim_in_doubt_is_made_once(self, stocked, unsure, happens):
        service = add(stocked, domains=["a.example.com"])
        unsure(happens)
        spec = make_service(domains=["a.example.com", "b.example.com"]).spec
        submit(stocked, replace(service, spec=spec))
        assert not is_free(stocked, "b.example.com")


class TestCassandra:
    def test_create_during_a_flavor_deletion_is_refused(self, stocked, connect, monkeypatch):
        other = connect()
        of = stocked.flavors._references.of

        def slow(flavor_id):
            with pytest.raises(errors.InvalidRequest):
                add(other)
            return of(flavor_id)

        monkeypatch.setattr(stocked.flavors._references, "of", slow)
        stocked.flavors.delete(make_flavor().flavor_id)
        other.close()

    def test_removed_service_is_archived(self, stocked, cql):
        service = add(stocked)
        remove(stocked, service)
        ((service_id, document),) = cql(
            "SELECT service_id, document FROM services_archive WHERE project_id = %s", PROJECT_ID
        )
        archived = codec.from_document(PROJECT_ID, service_id, document)
        assert archived == replace(service, revision=service.revision + 1)

    def test_limit_of_a_project_overrides_the_default(self, stocked, cql):
        cql("UPDATE places SET service_limit = 2 WHERE project_id = 'own'")
        for _ in range(2):
            add(stocked, limit=1, project_id="own")
        with pytest.raises(errors.LimitReached) as caught:
            add(stocked, limit=1, project_id="own")
        assert caught.value.limit == 2

    def test_operation_queue_of_a_service_is_bounded(self, stocked, monkeypatch):
        monkeypatch.setattr("poppy.storage.cassandra.services.QUEUE_LIMIT", 1)
        with pytest.raises(errors.ServiceBusy):
            submit(stocked, add(stocked))

    def test_scan_returns_every_service_once(self, stocked, monkeypatch):
        monkeypatch.setattr("poppy.storage.cassandra.session._SCAN_PAGE", 3)
        services = [add(stocked, project_id=f"scan-{n % 4}") for n in range(10)]
        remove(stocked, services.pop())
        seen = list(stocked.services.scan())
        assert sorted(it.service_id for it in seen) == [it.service_id for it in services]

    def test_concurrent_creates_of_a_project_all_succeed(self, stocked, connect):
        outcomes = race(connect, each(create, [make_service() for _ in range(8)]))
        assert failures(outcomes) == []
        assert len(stocked.services.list(PROJECT_ID, None, 10)) == 8

    def test_parent_and_forked_child_can_read_at_once(self, storage):
        read_at_once(storage)

    def test_purge_submitted_during_a_run_is_stored(self, stocked, connect):
        service = add(stocked)
        run = begin(stocked, first_operation(stocked, service))
        outcomes = race(
            connect,
            [
                lambda s: s.operations.renew(run.operation.key, 1, after(99)),
                lambda s: submit(s, service, Kind.PURGE),
                lambda s: s.operations.save(run.operation, None),
            ],
        )
        assert failures(outcomes) == []
        states = [it.state for it in stocked.operations.list(PROJECT_ID, service.service_id)]
        assert states == [State.RUNNING, State.QUEUED]

    def test_closed_port_is_unavailable(self, cassandra):  # noqa: F811
        storage = make_storage(cassandra, port=1)
        with pytest.raises(errors.Unavailable):
            storage.flavors.list()
        with pytest.raises(errors.Unavailable):
            storage.flavors.create(make_flavor())
        assert storage.is_alive() is False
        storage.close()

    def test_unknown_data_center_is_a_configuration_error(self, cassandra):  # noqa: F811
        strategy = "class:NetworkTopologyStrategy,nowhere:1"
        storage = make_storage(cassandra, replication_strategy=strategy)
        with pytest.raises(errors.ConfigError, match="nowhere"):
            storage.sync()

    def test_missing_ca_file_is_a_configuration_error(self, cassandra):  # noqa: F811
        storage = make_storage(cassandra, ssl_enabled=True, ssl_ca_certs="/no/such/file")
        with pytest.raises(errors.ConfigError, match="ssl_"):
            storage.check()


def wait_until_alive(storage):
    deadline = datetime.datetime.now() + datetime.timedelta(seconds=20)
    while not storage.is_alive():
        assert datetime.datetime.now() < deadline


class Modern(Cassandra):
    """A node that refuses older protocol versions."""

    def __init__(self):
        super().__init__(settings={"native_transport_allow_older_protocols": False})

    def answers(self):
        # No session can be opened.
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 5):
            return True
        return False


def test_unsupported_protocol_is_a_configuration_error():
    with Modern() as node:
        storage = make_storage(node)
        with pytest.raises(errors.ConfigError, match="[Pp]rotocol"):
            storage.sync()
        storage.close()


def test_password_and_tls():
    with Cassandra(authentication=True, tls=True) as node:
        login = {"username": node.username, "password": node.password}
        tls = {"ssl_enabled": True, "ssl_ca_certs": str(node.ca_file)}
        storage = make_storage(node, **login, **tls)
        storage.sync()
        storage.flavors.create(make_flavor())
        assert storage.flavors.list() == [make_flavor()]
        storage.close()
        wrong = make_storage(node, **{**login, "password": "guess"}, **tls)
        with pytest.raises(errors.ConfigError):
            wrong.check()
        wrong.close()
        plain = make_storage(node, **login, connect_timeout=2.0)
        with pytest.raises(errors.Unavailable):
            plain.check()
        plain.close()
        unknown = make_storage(node, **login, ssl_enabled=True)
        with pytest.raises(errors.Unavailable):
            unknown.check()
        unknown.close()
