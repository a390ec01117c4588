"""PostgreSQL: the tables that people query, the way from every revision, and who may open it."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from tests.store.fleet import begun_bucket, create, failure, lease, retry, success
from tests.store.harness import EPOCH
from tests.store.postgres_harness import PostgresHarness, drop_database, new_database

from metercast.domain.command import ConflictGroup
from metercast.domain.problem import InvalidField, NotFound
from metercast.domain.states import TaskStatus
from metercast.domain.words import ErrorWord
from metercast.store.errors import StoreInUse, StoreTooNew, StoreUnavailable
from metercast.store.pages import encode_cursor
from metercast.store.postgres import PostgresStore
from metercast.store.postgres.migrations import migrate, migrations
from metercast.store.tasks import DeviceQuery, TaskQuery

FIXED: dict[str, dict[str, str]] = {
    "tasks": {
        "task_id": "character varying",
        "command_id": "character varying",
        "command_type": "character varying",
        "scheduled_at": "timestamp with time zone",
        "status": "character varying",
        "created_at": "timestamp with time zone",
        "updated_at": "timestamp with time zone",
    },
    "task_devices": {
        "id": "bigint",
        "task_id": "character varying",
        "device_id": "character varying",
        "command_status": "character varying",
        "error_message": "character varying",
        "last_updated": "timestamp with time zone",
    },
}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """An empty database."""
    url = await new_database(migrated=False)
    yield url
    await drop_database(url)


@pytest.fixture
async def migrated() -> AsyncIterator[str]:
    """A database that a store has made and closed."""
    url = await new_database()
    yield url
    await drop_database(url)


@pytest.fixture
async def harness() -> AsyncIterator[PostgresHarness]:
    started = await PostgresHarness.start()
    yield started
    await started.close()


async def rows(url: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement, *parameters)]
    finally:
        await connection.close()


@pytest.mark.parametrize("table", list(FIXED))
async def test_the_fixed_columns_come_first_and_in_order(migrated: str, table: str) -> None:
    columns = await rows(
        migrated,
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position",
        table,
    )
    assert columns[: len(FIXED[table])] == list(FIXED[table].items())


async def test_ids_are_a_sequence_of_the_table(migrated: str) -> None:
    assert await rows(migrated, "SELECT pg_get_serial_sequence('task_devices', 'id') IS NOT NULL") == [(True,)]


async def test_keys_and_foreign_key(migrated: str) -> None:
    found = await rows(
        migrated,
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid::regclass::text IN ('tasks', 'task_devices') AND contype IN ('p', 'f') ORDER BY 1, 2",
    )
    assert found == [
        ("task_devices", "FOREIGN KEY (task_id) REFERENCES tasks(task_id)"),
        ("task_devices", "PRIMARY KEY (id)"),
        ("tasks", "PRIMARY KEY (task_id)"),
    ]


async def indexes(url: str, table: str) -> list[str]:
    """The columns of each, without names."""
    found = await rows(url, "SELECT indexdef FROM pg_indexes WHERE tablename = $1 ORDER BY indexname", table)
    return [definition.partition(" USING btree ")[2] for (definition,) in found]


async def test_the_fixed_indexes_and_none_on_the_status_of_devices(migrated: str) -> None:
    assert await indexes(migrated, "task_devices") == ["(device_id)", "(task_id)", "(id)"]
    assert [each for each in await indexes(migrated, "tasks") if each.startswith("(command_id")]


async def test_pages_leave_room_for_the_next_version_of_their_rows(migrated: str) -> None:
    ((options,),) = await rows(migrated, "SELECT reloptions FROM pg_class WHERE relname = 'task_devices'")
    (fillfactor,) = [int(each.partition("=")[2]) for each in options if each.startswith("fillfactor=")]
    assert 30 <= fillfactor <= 55


async def test_ids_sort_by_code_point(migrated: str) -> None:
    found = await rows(
        migrated,
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND (column_name = 'key_id' OR column_name LIKE '%\\_id')"
        " AND data_type = 'character varying' AND collation_name IS DISTINCT FROM 'C'"
        " AND table_name IN (SELECT tablename FROM pg_tables)",
    )
    assert found == []


# The data of a database at each revision: what a user could have had then.
DATA: dict[int, str] = {
    0: "",
    1: """
        INSERT INTO tasks (task_id, command_id, command_type, scheduled_at, status, created_at, updated_at,
          conflict_group, expires_at, priority, retry, body_hash, bucket_size, total, first_id)
        VALUES ('t', 'c', 'READ_CLOCK', '2026-05-08T02:00:00Z', 'IN_PROGRESS', '2026-05-08T01:59:00Z',
          '2026-05-08T02:00:00Z', 'none', '2099-05-09T02:00:00Z', 4, '{}', 'h', 500, 2, 1);
        INSERT INTO task_devices (id, task_id, device_id, command_status, last_updated)
        VALUES (1, 't', 'a', 'PENDING', '2026-05-08T01:59:00Z'), (2, 't', 'b', 'SUCCESS', '2026-05-08T02:01:00Z');
        INSERT INTO task_buckets (task_id, first_id, last_id, due_at, pending, success)
        VALUES ('t', 1, 2, '2026-05-08T02:00:00Z', 1, 1);
    """,
}
DATA |= dict.fromkeys((2, 3, 4, 5), DATA[1])

OBJECTS = """
SELECT 'column', table_name || '.' || column_name, data_type || coalesce(column_default, '') || is_nullable
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public'
UNION ALL SELECT 'function', proname, pg_get_functiondef(p.oid) FROM pg_proc p
  WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
  WHERE connamespace = 'public'::regnamespace
ORDER BY 1, 2, 3
"""


@pytest.mark.parametrize("revision", range(len(migrations()) + 1))
async def test_migrations_from_every_revision_keep_the_data(url: str, migrated: str, revision: int) -> None:
    assert len(DATA) == len(migrations()) + 1, "a new revision needs its data here"
    connection = await asyncpg.connect(url)
    await migrate(connection, to=revision)
    if revision:
        await connection.execute(DATA[revision])
    await connection.close()
    store = await PostgresStore.open(url)
    if revision:
        task = await store.get_task("t")
        assert (task.status, task.counts.total, task.counts.success) == (TaskStatus.IN_PROGRESS, 2, 1)
        assert b"".join([piece async for piece in store.stream_devices("t")]).count(b'"deviceId"') == 2
        (due,) = await store.due_buckets(10)
        bucket = await store.lease_bucket(due.bucket_id, "w", 60.0)
        assert bucket is not None
        assert [device.device_id for device in bucket.devices] == ["a"]
    await store.close()
    assert await rows(url, OBJECTS) == await rows(migrated, OBJECTS)
    assert await rows(url, "SELECT revision FROM schema_version") == [(len(migrations()),)]


async def test_a_database_of_a_newer_version_is_refused_untouched(migrated: str) -> None:
    newer = len(migrations()) + 1
    await rows(migrated, "UPDATE schema_version SET revision = $1", newer)
    for _ in range(2):  # what the first attempt took it gave back
        with pytest.raises(StoreTooNew):
            await PostgresStore.open(migrated)
    assert await rows(migrated, "SELECT revision FROM schema_version") == [(newer,)]


async def test_a_migration_gives_way_to_those_who_use_a_table(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a lock for a short time only, lets the others go on, and then tries again."""
    monkeypatch.setattr("metercast.store.postgres.migrations.LOCK_MILLISECONDS", 50)
    connection, other = await asyncpg.connect(url), await asyncpg.connect(url)
    await migrate(connection, to=1)
    monkeypatch.setattr(
        "metercast.store.postgres.migrations.migrations", lambda: [(1, ""), (2, "ALTER TABLE tasks ADD COLUMN x int")]
    )
    reading = other.transaction()
    await reading.start()
    await other.execute("SELECT count(*) FROM tasks")
    migration = asyncio.create_task(migrate(connection))
    await asyncio.sleep(0.3)
    assert not migration.done()
    await other.execute("SELECT count(*) FROM tasks")
    await reading.commit()
    await migration
    assert await rows(url, "SELECT x FROM tasks") == []
    await connection.close()
    await other.close()


async def test_an_index_is_made_beside_those_who_write(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = await asyncpg.connect(url)
    await migrate(connection, to=1)
    script = "-- no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS ix_x ON tasks (requested_by)"
    monkeypatch.setattr("metercast.store.postgres.migrations.migrations", lambda: [(1, ""), (2, script)])
    await asyncio.gather(migrate(connection), _migrate_beside(url))
    assert "(requested_by)" in await indexes(url, "tasks")
    assert await rows(url, "SELECT revision FROM schema_version") == [(2,)]
    await connection.close()


async def _migrate_beside(url: str) -> None:
    connection = await asyncpg.connect(url)
    await migrate(connection)
    await connection.close()


async def test_of_two_that_open_an_empty_database_at_once_one_has_it(url: str) -> None:
    ends = await asyncio.gather(*(PostgresStore.open(url) for _ in range(2)), return_exceptions=True)
    (store,) = [end for end in ends if isinstance(end, PostgresStore)]
    assert [type(end) for end in ends if not isinstance(end, PostgresStore)] == [StoreInUse]
    with pytest.raises(StoreInUse, match="another Metercast"):
        await PostgresStore.open(url)
    await store.ping()
    await store.close()
    again = await PostgresStore.open(url)
    await again.close()


async def test_two_may_migrate_at_once_where_both_may_have_it(url: str) -> None:
    stores = await asyncio.gather(*(PostgresStore.open(url, exclusive=False) for _ in range(3)))
    await asyncio.gather(*(store.ping() for store in stores))
    await asyncio.gather(*(store.close() for store in stores))


async def test_schemas_of_one_database_are_stores_of_their_own(url: str) -> None:
    await rows(url, "CREATE SCHEMA other")
    first = await PostgresStore.open(url)
    second = await PostgresStore.open(f"{url}?options=-csearch_path%3Dother")
    await first.close()
    await second.close()
    assert await rows(url, "SELECT schemaname::text FROM pg_tables WHERE tablename = 'tasks' ORDER BY 1") == [
        ("other",),
        ("public",),
    ]


async def test_a_closed_store_says_so(migrated: str) -> None:
    store = await PostgresStore.open(migrated)
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.ping()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.start_due_tasks()


@pytest.mark.parametrize(
    ("part", "other"), [("password", "hunter2-secret"), ("user", "nobody-secret"), ("database", "none"), ("port", "1")]
)
async def test_an_error_names_the_place_and_no_secret(migrated: str, part: str, other: str) -> None:
    user, password, host, port, database = re.fullmatch(  # type: ignore[union-attr]
        r"postgresql://(.*?):(.*?)@(.*?):(\d+)/(.*)", migrated
    ).groups()
    values = {"user": user, "password": password, "host": host, "port": port, "database": database} | {part: other}
    wrong = "postgresql://{user}:{password}@{host}:{port}/{database}".format(**values)
    with pytest.raises(StoreUnavailable) as caught:
        await PostgresStore.open(wrong)
    error: BaseException | None = caught.value
    said = ""
    while error is not None:
        said += f"{error!r} {error}"
        error = error.__cause__
    assert f"{values['host']}:{values['port']}/{values['database']}" in said
    for secret in (values["password"], values["user"], "secret"):
        assert secret == "metercast" or secret not in said


# Views


async def test_views_answer_what_operators_ask(harness: PostgresHarness) -> None:
    await create(harness, "good", ["a", "b"], command_type="SET_TOU")
    bucket = await begun_bucket(harness, "good")
    harness.clock.advance(4)
    await harness.store.record_results(bucket.lease, [success(bucket), failure(bucket, ErrorWord.TYPE_UNMATCHED, 1)])
    await harness.store.finalise_ended()
    harness.clock.advance(86400)
    await create(harness, "live", ["a", "b", "c"], command_type="SET_TOU", expires_at=EPOCH + timedelta(days=3))
    bucket = await lease(harness, "live")
    await harness.store.begin_attempts(bucket.lease, bucket.devices[:2])
    harness.clock.advance(2)
    await harness.store.record_results(bucket.lease, [success(bucket)])
    names = "command_type, day::text, tasks, devices, pending, sent, success, failed, cancelled, success_rate"
    assert await rows(harness.url, f"SELECT {names} FROM task_success_rate ORDER BY day") == [
        ("SET_TOU", "2026-05-08", 1, 2, 0, 0, 1, 1, 0, 0.5),
        ("SET_TOU", "2026-05-09", 1, 3, 1, 1, 1, 0, 0, 1.0),
    ]
    assert await rows(harness.url, "SELECT command_type, day::text, error, devices, tasks FROM failures_by_error") == [
        ("SET_TOU", "2026-05-08", "TypeUnmatched", 1, 1)
    ]
    names = "task_id, command_type, day::text, status, outcome, devices, seconds"
    assert await rows(harness.url, f"SELECT {names} FROM time_to_completion") == [
        ("good", "SET_TOU", "2026-05-08", "COMPLETED", "PARTIAL", 2, 4.0)
    ]
    assert await rows(harness.url, "SELECT * FROM slowest_gateways") == [("gateway-1", 2, 1, 3.0, 4.0)]


# What the design of the pages is for


async def test_whole_buckets_change_without_touching_an_index(harness: PostgresHarness) -> None:
    """At least nine of ten updates are HOT in the pattern of a worker: some buckets in hand, begun, retried, ended."""
    ids = [f"meter-{number:06d}" for number in range(6000)]
    await create(harness, "7d0bd2f0-7c5a-4b1e-9f0e-2a1f8f3d6c11", ids, bucket_size=500)

    async def work(bucket_id: Any) -> None:
        bucket = await harness.store.lease_bucket(bucket_id, "w", 600.0)
        assert bucket is not None
        await harness.store.begin_attempts(bucket.lease, bucket.devices)
        await asyncio.sleep(0.05)  # sessions take time
        count = len(bucket.devices)
        first = [retry(bucket, n, delay_seconds=0.0) if n % 10 == 0 else success(bucket, n) for n in range(count)]
        await harness.store.record_results(bucket.lease, first)
        await asyncio.sleep(0.05)
        await harness.store.begin_attempts(bucket.lease, bucket.devices[::10])
        await harness.store.record_results(bucket.lease, [success(bucket, n, tries=2) for n in range(0, count, 10)])
        await harness.store.release_bucket(bucket.lease, 0.0)

    waiting = iter(await harness.store.due_buckets(100))

    async def lane() -> None:
        for due in waiting:
            await work(due.bucket_id)

    await asyncio.gather(*(lane() for _ in range(3)))
    assert {row["command_status"] for row in await harness.raw_devices("7d0bd2f0-7c5a-4b1e-9f0e-2a1f8f3d6c11")} == {
        "SUCCESS"
    }
    await harness.store.close()  # a session tells of what it did when it ends
    hot = "SELECT n_tup_hot_upd::float8 / n_tup_upd FROM pg_stat_user_tables WHERE relname = 'task_devices'"
    ((ratio,),) = await rows(harness.url, hot)
    assert ratio >= 0.9


@pytest.mark.parametrize("group", list(ConflictGroup))
async def test_plans_made_on_empty_tables_stay_good_on_large_ones(
    harness: PostgresHarness, group: ConflictGroup
) -> None:
    """Each connection keeps its plans: a lookup by index must not be a walk over what has grown since."""
    await harness.rows("VACUUM ANALYZE")
    await create(harness, "small", ["a"], conflict_group=group)
    bucket = await begun_bucket(harness, "small")
    await harness.store.record_results(bucket.lease, [success(bucket)])
    ids = [f"m{number:05d}" for number in range(10_000)]
    harness.clock.advance(1)
    await create(harness, "large", ids, conflict_group=group, bucket_size=1000)
    await harness.rows("SELECT pg_stat_reset()")
    for _ in range(10):
        bucket = await begun_bucket(harness, "large")
        await harness.store.record_results(bucket.lease, [success(bucket, n) for n in range(1000)])
    await harness.store.close()
    read = "SELECT relname::text, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables"
    for table, tuples in await rows(harness.url, read):
        assert tuples < 300_000, table  # some for each of 20,000 changes; a walk for each batch would be a million


async def test_what_is_asked_for_with_nul_is_not_there(harness: PostgresHarness) -> None:
    """PostgreSQL takes none in a text; SQLite and MongoDB just do not find it."""
    await create(harness, "t", ["a"])
    store = harness.store
    for call in (
        store.get_task("t\0"),
        store.cancel_task("t\0"),
        store.list_devices("\0", DeviceQuery(), 10, None),
        store.get_device_command("t", "a\0"),
        store.get_device("a\0"),
        store.delete_device("\0a"),
    ):
        with pytest.raises(NotFound):
            await call
    assert (await store.list_tasks(TaskQuery(command_id="c\0", device_id="\0"), 10, None)).items == []
    assert (await store.list_registered("\0", 10, None)).items == []
    assert await store.find_devices(["a\0", "a"]) == {"a": await store.get_device("a")}
    after = encode_cursor(TaskQuery(), ["2026-05-08T02:00:00Z", "t\0"])
    assert (await store.list_tasks(TaskQuery(), 10, after)).items
    with pytest.raises(InvalidField):  # an instant of no time zone
        await store.list_tasks(TaskQuery(), 10, encode_cursor(TaskQuery(), ["2026-05-08T02:00:00", "t"]))


async def test_prose_with_nul_is_kept_all_the_same(harness: PostgresHarness) -> None:
    await create(harness, "t", ["a"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [failure(bucket, ErrorWord.TYPE_UNMATCHED, detail="a\0b")])
    assert (await harness.store.get_device_command("t", "a")).error_detail == "a␀b"
