"""Copying on PostgreSQL: everything out as records, and in again as it was."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import StoredMeter
from metercast.domain.outcome import How
from metercast.domain.problem import NotFound
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import TaskOutcome
from metercast.domain.words import ErrorWord
from metercast.store.copying import AttemptRecord, CounterRecord, DeviceRecord, KeyRecord, TaskRecord
from metercast.store.counters import CounterName
from metercast.store.errors import StoreUnavailable
from metercast.store.keys import ApiKey, Role
from metercast.store.postgres.creating import copy
from metercast.store.postgres.database import Connection, Database
from metercast.store.postgres.devices import SELECT_METERS, stored_meter
from metercast.store.postgres.sweep import Sweeper, delete_range
from metercast.store.sql.buckets import bucket_ranges
from metercast.store.sql.rows import json_or_none, json_text, retry_of
from metercast.store.tasks import UNSEALED_SECONDS

_PAGE = 1000

_METERS = f"{SELECT_METERS} WHERE device_id > $1 ORDER BY device_id LIMIT {_PAGE}"
_PUT_METERS = """
INSERT INTO devices (device_id, document, sealed, channel, max_sessions, created_at, updated_at)
SELECT d.device_id, d.document, d.sealed, d.channel, d.max_sessions, d.created_at, d.updated_at
FROM unnest($1::varchar[], $2::bytea[], $3::bytea[], $4::varchar[], $5::integer[], $6::timestamptz[], $7::timestamptz[])
  d (device_id, document, sealed, channel, max_sessions, created_at, updated_at)
ON CONFLICT (device_id) DO UPDATE SET document = excluded.document, sealed = excluded.sealed,
  channel = excluded.channel, max_sessions = excluded.max_sessions, created_at = excluded.created_at,
  updated_at = excluded.updated_at
"""

_COUNTERS = f"""
SELECT device_id, key_fingerprint, client_system_title, next_value FROM invocation_counters
WHERE (device_id, key_fingerprint, client_system_title) > ($1, $2, $3)
ORDER BY device_id, key_fingerprint, client_system_title LIMIT {_PAGE}
"""
_PUT_COUNTERS = """
INSERT INTO invocation_counters AS c (device_id, key_fingerprint, client_system_title, next_value)
SELECT * FROM unnest($1::varchar[], $2::varchar[], $3::varchar[], $4::bigint[])
ON CONFLICT (device_id, key_fingerprint, client_system_title)
DO UPDATE SET next_value = greatest(c.next_value, excluded.next_value)
"""

_KEYS = "SELECT key_id, name, role, created_at, revoked_at, secret_hash FROM api_keys ORDER BY key_id"
_PUT_KEY = """
INSERT INTO api_keys (key_id, name, role, created_at, revoked_at, secret_hash) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (key_id) DO UPDATE SET name = excluded.name, role = excluded.role, created_at = excluded.created_at,
  revoked_at = excluded.revoked_at, secret_hash = excluded.secret_hash
"""

_TASKS = f"""
SELECT task_id, body_hash, command_id, command_type, conflict_group, command_params::text, scheduled_at, expires_at,
  status, created_at, updated_at, priority, requested_by, parent_task_id, retry::text, bucket_size, total, outcome,
  success, failed, cancelled, follow_up_at, follow_up_task_id
FROM tasks WHERE unsealed_until IS NULL AND task_id > $1 ORDER BY task_id LIMIT {_PAGE}
"""
_RANGE = "SELECT first_id, total, bucket_size FROM tasks WHERE task_id = $1 AND unsealed_until IS NULL"
_DEVICES = """
SELECT d.device_id, d.command_status, d.error_message, d.error_detail, d.last_updated, d.tries, d.used,
  d.association_failures, d.verify_first, d.next_attempt_at, d.sent_at, d.how, d.progress::text, r.result::text,
  coalesce(o.superseded, false), d.id
FROM task_devices d LEFT JOIN task_device_results r ON r.task_device_id = d.id LEFT JOIN open_commands o ON o.id = d.id
WHERE d.id BETWEEN $1 AND $2 ORDER BY d.id
"""
_ATTEMPTS = """
SELECT task_device_id, attempt, late, started_at, ended_at, error_message, error_detail FROM task_device_attempts
WHERE task_device_id BETWEEN $1 AND $2 ORDER BY task_device_id, attempt, late
"""

_END_CLAIM = "UPDATE tasks SET unsealed_until = $2 WHERE task_id = $1 AND unsealed_until > $2"
_IS_SEALED = "SELECT unsealed_until IS NULL FROM tasks WHERE task_id = $1"
_INSERT = """
INSERT INTO tasks (task_id, body_hash, command_id, command_type, conflict_group, command_params, scheduled_at,
  expires_at, status, created_at, updated_at, priority, requested_by, parent_task_id, retry, bucket_size, total,
  outcome, success, failed, cancelled, follow_up_at, follow_up_task_id, first_id, unsealed_until)
VALUES ($1, $2, $3, $4, $5, $6::text::json, $7, $8, $9, $10, $11, $12, $13, $14, $15::text::json, $16, $17, $18, $19,
  $20, $21, $22, $23, metercast_ids($17::integer), $24)
"""
_CLAIM = "UPDATE tasks SET unsealed_until = $2 WHERE task_id = $1 AND unsealed_until IS NOT NULL RETURNING first_id"

_DEVICE_COLUMNS = (
    "id", "task_id", "device_id", "command_status", "error_message", "error_detail", "last_updated", "tries", "used",
    "association_failures", "verify_first", "next_attempt_at", "sent_at", "how", "progress",
)  # fmt: skip
_ATTEMPT_COLUMNS = (
    "task_device_id", "attempt", "late", "started_at", "ended_at", "error_message", "error_detail",
)  # fmt: skip
_COMMAND_COLUMNS = ("id", "device_id", "conflict_group", "task_id", "superseded")
_BUCKET_COLUMNS = ("task_id", "first_id", "last_id", "pending", "sent", "success", "failed", "cancelled")
_DROP_BUCKETS = "DELETE FROM task_buckets WHERE task_id = $1 AND first_id BETWEEN $2 AND $3"

_SEAL_BUCKETS = "UPDATE task_buckets SET due_at = $2 WHERE task_id = $1 AND pending + sent > 0"
_SEAL = "UPDATE tasks SET unsealed_until = NULL WHERE task_id = $1"

_OPEN = (DeviceStatus.PENDING, DeviceStatus.SENT)
_COUNTED = (*_OPEN, DeviceStatus.SUCCESS, DeviceStatus.FAILED, DeviceStatus.CANCELLED)


class PostgresCopying:
    """Implements store.copying.CopyStore."""

    database: Database

    async def export_meters(self) -> AsyncIterator[list[StoredMeter]]:
        after = ""
        while rows := await self.database.rows(_METERS, after):
            yield [stored_meter(row) for row in rows]
            after = rows[-1][0]

    async def import_meters(self, meters: Sequence[StoredMeter]) -> None:
        await self.database.call(
            _PUT_METERS,
            [meter.device_id for meter in meters],
            [meter.document for meter in meters],
            [meter.sealed for meter in meters],
            [meter.channel for meter in meters],
            [meter.max_sessions for meter in meters],
            [meter.created_at for meter in meters],
            [meter.updated_at for meter in meters],
        )

    async def export_counters(self) -> AsyncIterator[list[CounterRecord]]:
        after = ("", "", "")
        while rows := await self.database.rows(_COUNTERS, *after):
            yield [CounterRecord(CounterName(*row[:3]), row[3]) for row in rows]
            after = tuple(rows[-1][:3])

    async def import_counters(self, counters: Sequence[CounterRecord]) -> None:
        await self.database.call(
            _PUT_COUNTERS,
            [counter.name.device_id for counter in counters],
            [counter.name.key for counter in counters],
            [counter.name.client_system_title for counter in counters],
            [counter.next_value for counter in counters],
        )

    async def export_keys(self) -> list[KeyRecord]:
        rows = await self.database.rows(_KEYS)
        return [KeyRecord(ApiKey(row[0], row[1], Role(row[2]), row[3], row[4]), row[5]) for row in rows]

    async def import_keys(self, keys: Sequence[KeyRecord]) -> None:
        values = [
            (k.key.key_id, k.key.name, k.key.role.value, k.key.created_at, k.key.revoked_at, k.secret_hash)
            for k in keys
        ]

        async def work(connection: Connection, now: datetime) -> None:
            await connection.executemany(_PUT_KEY, values)

        await self.database.write(work)

    async def export_tasks(self) -> AsyncIterator[list[TaskRecord]]:
        after = ""
        while rows := await self.database.rows(_TASKS, after):
            yield [_task(row) for row in rows]
            after = rows[-1][0]

    async def export_task_devices(self, task_id: str) -> AsyncIterator[list[DeviceRecord]]:
        found = await self.database.call(_RANGE, task_id)
        if found is None:
            raise NotFound(f"no task {task_id!r}")
        for start, end in bucket_ranges(*found):
            yield await self.database.read(partial(_devices, first=start, last=end))

    async def begin_import(self, task: TaskRecord) -> bool:
        row = await self.database.call(_IS_SEALED, task.task_id)
        if row is not None and row[0]:
            return False
        if row is not None:
            await self.database.call(_END_CLAIM, task.task_id, self.database.clock())
            await Sweeper(self.database).sweep_task(task.task_id)

        async def work(connection: Connection, now: datetime) -> bool:
            await connection.execute(_INSERT, *_values(task), now + timedelta(seconds=UNSEALED_SECONDS))
            return True

        return await self.database.write(work, repeat=False)

    async def import_task_devices(self, task: TaskRecord, first: int, devices: Sequence[DeviceRecord]) -> None:
        async def work(connection: Connection, now: datetime) -> None:
            base = await connection.fetchval(_CLAIM, task.task_id, now + timedelta(seconds=UNSEALED_SECONDS))
            if base is None:
                raise StoreUnavailable(f"task {task.task_id} is not being imported")
            start, end = base + first, base + first + len(devices) - 1
            await delete_range(connection, start, end)
            await connection.execute(_DROP_BUCKETS, task.task_id, start, end)
            await _write_devices(connection, task, start, devices)

        await self.database.write(work)

    async def seal_import(self, task: TaskRecord) -> None:
        async def work(connection: Connection, now: datetime) -> None:
            await connection.execute(_SEAL_BUCKETS, task.task_id, now)
            await connection.execute(_SEAL, task.task_id)

        await self.database.write(work)


def _task(row: Sequence[Any]) -> TaskRecord:
    return TaskRecord(
        task_id=row[0], body_hash=row[1], command_id=row[2], command_type=row[3], conflict_group=ConflictGroup(row[4]),
        command_params=json_or_none(row[5]), scheduled_at=row[6], expires_at=row[7], status=TaskStatus(row[8]),
        created_at=row[9], updated_at=row[10], priority=row[11], requested_by=row[12], parent_task_id=row[13],
        retry=retry_of(row[14]), bucket_size=row[15], total=row[16],
        outcome=None if row[17] is None else TaskOutcome(row[17]), success=row[18], failed=row[19], cancelled=row[20],
        follow_up_at=row[21], follow_up_task_id=row[22],
    )  # fmt: skip


def _values(task: TaskRecord) -> list[Any]:
    """In the order of `_task`."""
    values = [getattr(task, name) for name in _TASK_FIELDS]
    values[5] = json_text(task.command_params)
    values[14] = json_text(task.retry)
    return values


_TASK_FIELDS = (
    "task_id", "body_hash", "command_id", "command_type", "conflict_group", "command_params", "scheduled_at",
    "expires_at", "status", "created_at", "updated_at", "priority", "requested_by", "parent_task_id", "retry",
    "bucket_size", "total", "outcome", "success", "failed", "cancelled", "follow_up_at", "follow_up_task_id",
)  # fmt: skip


async def _devices(connection: Connection, first: int, last: int) -> list[DeviceRecord]:
    kept: dict[int, list[AttemptRecord]] = {}
    for position, attempt, late, started_at, ended_at, word, detail in await connection.fetch(_ATTEMPTS, first, last):
        error = None if word is None else ErrorWord(word)
        kept.setdefault(position, []).append(AttemptRecord(attempt, late, started_at, ended_at, error, detail))
    return [
        DeviceRecord(
            device_id=row[0], status=DeviceStatus(row[1]), error=None if row[2] is None else ErrorWord(row[2]),
            detail=row[3], last_updated=row[4], tries=row[5], used=row[6], association_failures=row[7],
            verify_first=row[8], next_attempt_at=row[9], sent_at=row[10], how=None if row[11] is None else How(row[11]),
            progress=json_or_none(row[12]), result=json_or_none(row[13]), superseded=row[14],
            attempts=kept.get(row[15], []),
        )
        for row in await connection.fetch(_DEVICES, first, last)
    ]  # fmt: skip


async def _write_devices(connection: Connection, task: TaskRecord, start: int, devices: Sequence[DeviceRecord]) -> None:
    numbered = list(enumerate(devices, start))
    await copy(connection, "task_devices", _DEVICE_COLUMNS, [
        (position, task.task_id, d.device_id, d.status, d.error, d.detail, d.last_updated, d.tries, d.used,
         d.association_failures, d.verify_first, d.next_attempt_at, d.sent_at, d.how, json_text(d.progress))
        for position, d in numbered
    ])  # fmt: skip
    await copy(connection, "task_device_attempts", _ATTEMPT_COLUMNS, [
        (position, a.attempt, a.late, a.started_at, a.ended_at, a.error, a.detail)
        for position, d in numbered for a in d.attempts
    ])  # fmt: skip
    results = [(position, json_text(d.result)) for position, d in numbered if d.result is not None]
    await copy(connection, "task_device_results", ("task_device_id", "result"), results)
    if task.conflict_group is not ConflictGroup.NONE:
        await copy(connection, "open_commands", _COMMAND_COLUMNS, [
            (position, d.device_id, task.conflict_group, task.task_id, d.superseded)
            for position, d in numbered if d.status in _OPEN
        ])  # fmt: skip
    buckets = []
    for first, last in bucket_ranges(start, len(devices), task.bucket_size):
        by = Counter(d.status for d in devices[first - start : last - start + 1])
        buckets.append((task.task_id, first, last, *(by[status] for status in _COUNTED)))
    await copy(connection, "task_buckets", _BUCKET_COLUMNS, buckets)
