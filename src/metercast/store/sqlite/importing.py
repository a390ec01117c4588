"""Everything into a SQLite store, from neutral records."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import StoredMeter
from metercast.domain.states import DeviceStatus
from metercast.store.copying import CounterRecord, DeviceRecord, KeyRecord, TaskRecord
from metercast.store.sqlite import rowids, sweeping
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.times import later, to_text
from metercast.store.tasks import UNSEALED_SECONDS

_PUT_METER = "INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_COUNTER = """
INSERT INTO invocation_counters VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET next_value = max(next_value, excluded.next_value)
"""
_PUT_KEY = """
INSERT OR REPLACE INTO api_keys (key_id, name, role, secret_hash, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)
"""
_PUT_TASK = """
INSERT INTO tasks (task_id, body_hash, command_id, command_type, conflict_group, command_params, scheduled_at,
  expires_at, status, created_at, updated_at, priority, requested_by, parent_task_id, retry, bucket_size, total,
  outcome, success, failed, cancelled, follow_up_at, follow_up_task_id, unsealed_until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_FIND = "SELECT unsealed_until FROM tasks WHERE task_id = ?"
_ABANDON = "UPDATE tasks SET unsealed_until = ?2 WHERE task_id = ?1 AND unsealed_until > ?2"
_HOLD = "UPDATE tasks SET unsealed_until = ?2 WHERE task_id = ?1 AND unsealed_until IS NOT NULL"
_WRITTEN = "SELECT coalesce(sum(last_id - first_id + 1), 0) FROM task_buckets WHERE task_id = ?"

_PUT_DEVICE = """
INSERT INTO task_devices (id, task_id, device_id, command_status, error_message, error_detail, last_updated, tries,
  used, association_failures, verify_first, next_attempt_at, sent_at, how, progress)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_PUT_RESULT = "INSERT INTO task_device_results (task_device_id, result) VALUES (?, ?)"
_PUT_ATTEMPT = """
INSERT INTO task_device_attempts (task_device_id, attempt, late, started_at, ended_at, error_message, error_detail)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_PUT_COMMAND = """
INSERT INTO open_commands (id, device_id, conflict_group, task_id, superseded) VALUES (?, ?, ?, ?, ?)
"""
_PUT_BUCKET = """
INSERT INTO task_buckets (bucket_id, task_id, first_id, last_id, pending, sent, success, failed, cancelled)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SEAL_BUCKETS = "UPDATE task_buckets SET due_at = ? WHERE task_id = ? AND pending + sent > 0"
_SEAL = "UPDATE tasks SET unsealed_until = NULL WHERE task_id = ?"


class SqliteImporting:
    """Implements the imports of store.copying.CopyStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def import_meters(self, meters: Sequence[StoredMeter]) -> None:
        rows = [
            (m.device_id, m.document, m.sealed, m.channel, m.max_sessions, to_text(m.created_at), to_text(m.updated_at))
            for m in meters
        ]
        await self._put(_PUT_METER, rows)

    async def import_counters(self, counters: Sequence[CounterRecord]) -> None:
        names = [(each.name, each.next_value) for each in counters]
        await self._put(_PUT_COUNTER, [(n.device_id, n.key, n.client_system_title, value) for n, value in names])

    async def import_keys(self, keys: Sequence[KeyRecord]) -> None:
        rows = [
            (k.key_id, k.name, k.role.value, record.secret_hash, to_text(k.created_at), _optional(k.revoked_at))
            for record in keys
            for k in [record.key]
        ]
        await self._put(_PUT_KEY, rows)

    async def begin_import(self, task: TaskRecord) -> bool:
        def work(connection: sqlite3.Connection, now: datetime) -> bool | None:
            found = connection.execute(_FIND, (task.task_id,)).fetchone()
            if found is None:
                connection.execute(_PUT_TASK, (*_header(task), later(now, UNSEALED_SECONDS)))
                return True
            if found[0] is None:
                return False
            connection.execute(_ABANDON, (task.task_id, to_text(now)))
            return None

        while (begun := await self.database.write(work)) is None:
            await sweeping.clear(self.database, task.task_id)
        return begun

    async def import_task_devices(self, task: TaskRecord, first: int, devices: Sequence[DeviceRecord]) -> None:
        def work(connection: sqlite3.Connection, now: datetime) -> None:
            if not connection.execute(_HOLD, (task.task_id, later(now, UNSEALED_SECONDS))).rowcount:
                raise ValueError(f"no import of task {task.task_id} has begun")
            (written,) = connection.execute(_WRITTEN, (task.task_id,)).fetchone()
            if written >= first + len(devices):
                return  # the answer was lost, and this is the same once more
            if written != first:
                raise ValueError(f"task {task.task_id} has {written} devices; the next are not those from {first} on")
            _insert(connection, task, devices)

        await self.database.write(work)

    async def seal_import(self, task: TaskRecord) -> None:
        def work(connection: sqlite3.Connection, now: datetime) -> None:
            (written,) = connection.execute(_WRITTEN, (task.task_id,)).fetchone()
            if written != task.total:
                raise ValueError(f"task {task.task_id} has {written} of {task.total} devices")
            connection.execute(_SEAL_BUCKETS, (to_text(now), task.task_id))
            connection.execute(_SEAL, (task.task_id,))

        await self.database.write(work)

    async def _put(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        await self.database.write(lambda connection, now: connection.executemany(statement, rows))


def _insert(connection: sqlite3.Connection, task: TaskRecord, devices: Sequence[DeviceRecord]) -> None:
    """Whole buckets of the task, which come after those that are there."""
    placed = list(enumerate(devices, rowids.next_device(connection)))
    connection.executemany(_PUT_DEVICE, (_device(task, position, d) for position, d in placed))
    connection.executemany(_PUT_RESULT, [(position, _json(d.result)) for position, d in placed if d.result is not None])
    connection.executemany(
        _PUT_ATTEMPT,
        [
            (position, a.attempt, a.late, _optional(a.started_at), to_text(a.ended_at), a.error, a.detail)
            for position, d in placed
            for a in d.attempts
        ],
    )
    if task.conflict_group is not ConflictGroup.NONE:
        connection.executemany(
            _PUT_COMMAND,
            [
                (position, d.device_id, task.conflict_group, task.task_id, d.superseded)
                for position, d in placed
                if d.status in (DeviceStatus.PENDING, DeviceStatus.SENT)
            ],
        )
    connection.executemany(_PUT_BUCKET, _buckets(connection, task, placed))


def _buckets(
    connection: sqlite3.Connection, task: TaskRecord, placed: list[tuple[int, DeviceRecord]]
) -> Iterator[tuple[Any, ...]]:
    for number, start in enumerate(range(0, len(placed), task.bucket_size), rowids.next_bucket(connection)):
        part = placed[start : start + task.bucket_size]
        by = Counter(device.status for _, device in part)
        yield (
            number, task.task_id, part[0][0], part[-1][0], by[DeviceStatus.PENDING], by[DeviceStatus.SENT],
            by[DeviceStatus.SUCCESS], by[DeviceStatus.FAILED], by[DeviceStatus.CANCELLED],
        )  # fmt: skip


def _device(task: TaskRecord, position: int, device: DeviceRecord) -> tuple[Any, ...]:
    d = device
    return (
        position, task.task_id, d.device_id, d.status, d.error, d.detail, to_text(d.last_updated), d.tries, d.used,
        d.association_failures, d.verify_first, _optional(d.next_attempt_at), _optional(d.sent_at), d.how,
        None if d.progress is None else _json(d.progress),
    )  # fmt: skip


def _header(task: TaskRecord) -> tuple[Any, ...]:
    t = task
    return (
        t.task_id, t.body_hash, t.command_id, t.command_type, t.conflict_group,
        None if t.command_params is None else _json(t.command_params), to_text(t.scheduled_at), to_text(t.expires_at),
        t.status, to_text(t.created_at), to_text(t.updated_at), t.priority, t.requested_by, t.parent_task_id,
        _json(t.retry), t.bucket_size, t.total, t.outcome, t.success, t.failed, t.cancelled,
        _optional(t.follow_up_at), t.follow_up_task_id,
    )  # fmt: skip


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _optional(instant: datetime | None) -> str | None:
    return None if instant is None else to_text(instant)
