"""Everything out of a SQLite store, in neutral records."""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import StoredMeter
from metercast.domain.outcome import How
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import TaskOutcome
from metercast.domain.words import ErrorWord
from metercast.store.copying import AttemptRecord, CounterRecord, DeviceRecord, KeyRecord, TaskRecord
from metercast.store.counters import CounterName
from metercast.store.keys import ApiKey, Role
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.devices import stored_meter
from metercast.store.sqlite.queries import require_sealed
from metercast.store.sqlite.times import from_text, optional

_PIECE = 500

_METERS = """
SELECT device_id, document, sealed, channel, max_sessions, created_at, updated_at FROM devices
WHERE device_id > ? ORDER BY device_id LIMIT ?
"""
_COUNTERS = """
SELECT device_id, key_fingerprint, client_system_title, next_value FROM invocation_counters
WHERE (device_id, key_fingerprint, client_system_title) > (?, ?, ?)
ORDER BY device_id, key_fingerprint, client_system_title LIMIT ?
"""
_KEYS = "SELECT key_id, name, role, created_at, revoked_at, secret_hash FROM api_keys ORDER BY key_id"
_TASKS = """
SELECT task_id, body_hash, command_id, command_type, conflict_group, command_params, scheduled_at, expires_at, status,
  created_at, updated_at, priority, requested_by, parent_task_id, retry, bucket_size, total, outcome, success, failed,
  cancelled, follow_up_at, follow_up_task_id
FROM tasks WHERE task_id > ? AND unsealed_until IS NULL ORDER BY task_id LIMIT ?
"""
_NEXT_BUCKET = """
SELECT bucket_id, first_id, last_id FROM task_buckets WHERE task_id = ? AND bucket_id > ? ORDER BY bucket_id LIMIT 1
"""
_DEVICES = """
SELECT d.id, d.device_id, d.command_status, d.error_message, d.error_detail, d.last_updated, d.tries, d.used,
  d.association_failures, d.verify_first, d.next_attempt_at, d.sent_at, d.how,
  CAST(d.progress AS text), CAST(r.result AS text), o.superseded
FROM task_devices d LEFT JOIN task_device_results r ON r.task_device_id = d.id LEFT JOIN open_commands o ON o.id = d.id
WHERE d.id BETWEEN ? AND ? ORDER BY d.id
"""
_ATTEMPTS = """
SELECT task_device_id, attempt, late, started_at, ended_at, error_message, error_detail FROM task_device_attempts
WHERE task_device_id BETWEEN ? AND ? ORDER BY task_device_id, attempt, late
"""


class SqliteExporting:
    """Implements the exports of store.copying.CopyStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def export_meters(self) -> AsyncIterator[list[StoredMeter]]:
        after = ""
        while rows := await self._page(_METERS, after):
            yield [stored_meter(row) for row in rows]
            after = rows[-1][0]

    async def export_counters(self) -> AsyncIterator[list[CounterRecord]]:
        after = "", "", ""
        while rows := await self._page(_COUNTERS, *after):
            yield [CounterRecord(CounterName(*row[:3]), row[3]) for row in rows]
            after = rows[-1][:3]

    async def export_keys(self) -> list[KeyRecord]:
        rows = await self.database.read(lambda connection: connection.execute(_KEYS).fetchall())
        return [
            KeyRecord(ApiKey(key_id, name, Role(role), from_text(created_at), optional(revoked_at)), secret_hash)
            for key_id, name, role, created_at, revoked_at, secret_hash in rows
        ]

    async def export_tasks(self) -> AsyncIterator[list[TaskRecord]]:
        after = ""
        while rows := await self._page(_TASKS, after):
            yield [_task(row) for row in rows]
            after = rows[-1][0]

    async def export_task_devices(self, task_id: str) -> AsyncIterator[list[DeviceRecord]]:
        def work(connection: sqlite3.Connection) -> tuple[int, list[DeviceRecord]] | None:
            require_sealed(connection, task_id)
            bucket = connection.execute(_NEXT_BUCKET, (task_id, after)).fetchone()
            if bucket is None:
                return None
            bucket_id, *ids = bucket
            attempts: dict[int, list[AttemptRecord]] = {}
            for row in connection.execute(_ATTEMPTS, ids):
                attempts.setdefault(row[0], []).append(_attempt(row))
            return bucket_id, [_device(row, attempts.get(row[0], [])) for row in connection.execute(_DEVICES, ids)]

        after = 0
        while bucket := await self.database.read(work):
            after, devices = bucket
            yield devices

    async def _page(self, statement: str, *after: str) -> list[tuple[Any, ...]]:
        return await self.database.read(lambda connection: connection.execute(statement, (*after, _PIECE)).fetchall())


def _task(row: tuple[Any, ...]) -> TaskRecord:
    return TaskRecord(
        task_id=row[0],
        body_hash=row[1],
        command_id=row[2],
        command_type=row[3],
        conflict_group=ConflictGroup(row[4]),
        command_params=_json(row[5]),
        scheduled_at=from_text(row[6]),
        expires_at=from_text(row[7]),
        status=TaskStatus(row[8]),
        created_at=from_text(row[9]),
        updated_at=from_text(row[10]),
        priority=row[11],
        requested_by=row[12],
        parent_task_id=row[13],
        retry=msgspec.json.decode(row[14], type=RetryPolicy),
        bucket_size=row[15],
        total=row[16],
        outcome=None if row[17] is None else TaskOutcome(row[17]),
        success=row[18],
        failed=row[19],
        cancelled=row[20],
        follow_up_at=None if row[21] is None else from_text(row[21]),
        follow_up_task_id=row[22],
    )


def _device(row: tuple[Any, ...], attempts: list[AttemptRecord]) -> DeviceRecord:
    return DeviceRecord(
        device_id=row[1],
        status=DeviceStatus(row[2]),
        error=_word(row[3]),
        detail=row[4],
        last_updated=from_text(row[5]),
        tries=row[6],
        used=row[7],
        association_failures=row[8],
        verify_first=bool(row[9]),
        next_attempt_at=optional(row[10]),
        sent_at=optional(row[11]),
        how=None if row[12] is None else How(row[12]),
        progress=_json(row[13]),
        result=_json(row[14]),
        superseded=bool(row[15]),
        attempts=attempts,
    )


def _attempt(row: tuple[Any, ...]) -> AttemptRecord:
    _, attempt, late, started_at, ended_at, word, detail = row
    return AttemptRecord(attempt, bool(late), optional(started_at), from_text(ended_at), _word(word), detail)


def _word(text: str | None) -> ErrorWord | None:
    return None if text is None else ErrorWord(text)


def _json(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
