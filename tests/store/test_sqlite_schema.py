"""SQLite: the tables that people query, and the way from every revision."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from metercast.domain.states import TaskStatus
from metercast.store.errors import StoreInUse, StoreTooNew, StoreUnavailable
from metercast.store.sqlite import SqliteStore
from metercast.store.sqlite.migrations import migrate, migrations
from metercast.store.tasks import TaskQuery

FIXED: dict[str, dict[str, str]] = {
    "tasks": {
        "task_id": "varchar",
        "command_id": "varchar",
        "command_type": "varchar",
        "scheduled_at": "timestamptz",
        "status": "varchar",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
    "task_devices": {
        "id": "integer",
        "task_id": "varchar",
        "device_id": "varchar",
        "command_status": "varchar",
        "error_message": "varchar",
        "last_updated": "timestamptz",
    },
}


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file that a store has made and closed."""
    store = await SqliteStore.open(tmp_path / "metercast.db")
    await store.close()
    return tmp_path / "metercast.db"


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("table", list(FIXED))
def test_the_fixed_columns_come_first_and_in_order(path: Path, table: str) -> None:
    columns = {row[1]: row[2].lower() for row in rows(path, f"PRAGMA table_info({table})")}
    fixed = FIXED[table]
    assert dict(list(columns.items())[: len(fixed)]) == fixed


def test_keys_and_foreign_key(path: Path) -> None:
    assert [row[1] for row in rows(path, "PRAGMA table_info(tasks)") if row[5]] == ["task_id"]
    assert [row[1] for row in rows(path, "PRAGMA table_info(task_devices)") if row[5]] == ["id"]
    assert [(row[2], row[3], row[4]) for row in rows(path, "PRAGMA foreign_key_list(task_devices)")] == [
        ("tasks", "task_id", "task_id")
    ]


@pytest.mark.parametrize(
    ("table", "column"), [("tasks", "command_id"), ("task_devices", "device_id"), ("task_devices", "task_id")]
)
def test_the_fixed_indexes(path: Path, table: str, column: str) -> None:
    indexes = [row[1] for row in rows(path, f"PRAGMA index_list({table})")]
    assert [column] in [[row[2] for row in rows(path, f"PRAGMA index_info({index})")] for index in indexes]


def test_no_index_on_the_status_of_devices(path: Path) -> None:
    """It would cost every transition a second write."""
    indexes = [row[1] for row in rows(path, "PRAGMA index_list(task_devices)")]
    assert len(indexes) == 2


async def test_every_connection_is_durable(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "metercast.db")

    def settings(connection: sqlite3.Connection, *_: object) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await store.database.read(settings) == ["wal", 2, 1]
    assert await store.database.write(settings) == ["wal", 2, 1]
    await store.close()


_TASK_AT_1 = """
    INSERT INTO tasks (task_id, command_id, command_type, scheduled_at, status, created_at, updated_at,
      conflict_group, expires_at, priority, retry, body_hash, bucket_size, total)
    VALUES ('t', 'c', 'READ_CLOCK', '2026-05-08T02:00:00.000000Z', 'IN_PROGRESS', '2026-05-08T01:59:00.000000Z',
      '2026-05-08T02:00:00.000000Z', 'none', '2099-05-09T02:00:00.000000Z', 4, '{}', 'h', 500, 2);
    INSERT INTO task_devices (id, task_id, device_id, command_status, last_updated)
    VALUES (1, 't', 'a', 'PENDING', '2026-05-08T01:59:00.000000Z'),
           (2, 't', 'b', 'SUCCESS', '2026-05-08T02:01:00.000000Z');
    INSERT INTO task_buckets (task_id, first_id, last_id, due_at, pending, success)
    VALUES ('t', 1, 2, '2026-05-08T02:00:00.000000Z', 1, 1);
"""

_HALF_AT_2 = """
    INSERT INTO tasks (task_id, command_id, command_type, scheduled_at, status, created_at, updated_at,
      conflict_group, expires_at, priority, retry, body_hash, bucket_size, total, unsealed_until)
    SELECT 'half', command_id, command_type, scheduled_at, 'QUEUED', created_at, updated_at,
      conflict_group, expires_at, priority, retry, body_hash, bucket_size, 40000, '2026-05-08T02:01:00.000000Z'
    FROM tasks;
    INSERT INTO task_devices (id, task_id, device_id, command_status, last_updated)
    VALUES (3, 'half', 'a', 'PENDING', '2026-05-08T02:00:00.000000Z');
    INSERT INTO task_buckets (task_id, first_id, last_id, pending) VALUES ('half', 3, 3, 1);
    INSERT INTO last_ids (table_name, last_id) VALUES ('task_devices', 700);
"""

# The data of a file at each revision: what a user could have had then.
DATA: dict[int, str] = {
    0: "",
    1: _TASK_AT_1,
    2: _TASK_AT_1 + _HALF_AT_2,
    3: _TASK_AT_1 + _HALF_AT_2,
    4: _TASK_AT_1 + _HALF_AT_2,
    5: _TASK_AT_1 + _HALF_AT_2,
}


@pytest.mark.parametrize("revision", range(len(migrations()) + 1))
async def test_migrations_from_every_revision_keep_the_data(tmp_path: Path, path: Path, revision: int) -> None:
    assert len(DATA) == len(migrations()) + 1, "a new revision needs its data here"
    old = tmp_path / "old.db"
    connection = sqlite3.connect(old, isolation_level=None)
    migrate(connection, to=revision)
    connection.executescript(DATA[revision])
    connection.close()
    store = await SqliteStore.open(old)
    if revision:
        task = await store.get_task("t")
        assert (task.status, task.counts.total, task.counts.success) == (TaskStatus.IN_PROGRESS, 2, 1)
        text = b"".join([piece async for piece in store.stream_devices("t")])
        assert [each["deviceId"] for each in json.loads(b"[" + text + b"]")] == ["a", "b"]
        assert len(await store.due_buckets(10)) == 1
        while await store.sweep_unsealed(100):
            pass
        assert [task.task_id for task in (await store.list_tasks(TaskQuery(), 10, None)).items] == ["t"]
    await store.close()
    assert rows(old, "SELECT DISTINCT task_id FROM task_devices") == ([("t",)] if revision else [])
    newest = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%' ORDER BY name"
    assert rows(old, newest) == rows(path, newest)
    assert rows(old, "PRAGMA user_version") == [(len(migrations()),)]


async def test_a_file_of_a_newer_version_is_refused_untouched(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA user_version = {len(migrations()) + 1}")
    connection.close()
    with pytest.raises(StoreTooNew):
        await SqliteStore.open(path)
    assert rows(path, "PRAGMA user_version") == [(len(migrations()) + 1,)]
    # The lock is given back.
    with pytest.raises(StoreTooNew):
        await SqliteStore.open(path)


async def test_what_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "metercast.db"
    path.write_bytes(b"this is no database at all\n" * 100)
    with pytest.raises(StoreUnavailable, match=r"metercast\.db"):
        await SqliteStore.open(path)
    assert path.read_bytes() == b"this is no database at all\n" * 100


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await SqliteStore.open(tmp_path / "none" / "metercast.db")


async def test_one_store_a_file_in_one_process_too(path: Path) -> None:
    store = await SqliteStore.open(path)
    with pytest.raises(StoreInUse):
        await SqliteStore.open(path)
    await store.ping()
    await store.close()
    again = await SqliteStore.open(path)
    await again.close()


async def test_a_closed_store_says_so(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable):
        await store.start_due_tasks()
