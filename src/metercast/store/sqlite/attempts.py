"""Attempts on SQLite: begin, record, refuse, correct. The hot path: one statement for many devices."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import lock_key
from metercast.domain.states import DEVICE_TRANSITIONS, DeviceEvent, DeviceStatus, TaskStatus, states_before
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Begun, BegunDevice, Lease, LeaseLost, OpenDevice, Result, Transition
from metercast.store.sqlite import late
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.devices import stored_meter
from metercast.store.sqlite.times import later, to_text

(_BEGINS_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.BEGIN)
(_REFUSED_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.REFUSE)
(_ENDS_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.SUCCEED)

_HELD = """
SELECT b.task_id, t.status, t.conflict_group, t.expires_at FROM task_buckets b JOIN tasks t ON t.task_id = b.task_id
WHERE b.bucket_id = ? AND b.lease_owner = ? AND b.lease_epoch = ? AND b.lease_until > ?
"""

_CANDIDATES = f"""
SELECT d.id, d.tries, d.progress,
  m.device_id, m.document, m.sealed, m.channel, m.max_sessions, m.created_at, m.updated_at
FROM json_each(?) j JOIN task_devices d ON d.id = j.value JOIN devices m ON m.device_id = d.device_id
WHERE d.command_status = '{_BEGINS_FROM}'
"""

# A lock whose lease (bucket, epoch) no longer lives is free.
_LOCK = """
INSERT INTO meter_locks (lock_key, bucket_id, epoch) SELECT value, ?1, ?2 FROM json_each(?3) WHERE true
ON CONFLICT (lock_key) DO UPDATE SET bucket_id = excluded.bucket_id, epoch = excluded.epoch
WHERE NOT EXISTS (SELECT 1 FROM task_buckets b WHERE b.bucket_id = meter_locks.bucket_id
                  AND b.lease_epoch = meter_locks.epoch AND b.lease_until > ?4)
RETURNING lock_key
"""
_UNLOCK = "DELETE FROM meter_locks WHERE lock_key IN (SELECT value FROM json_each(?)) AND bucket_id = ? AND epoch = ?"

_BEGIN = f"""
UPDATE task_devices SET command_status = 'SENT', tries = tries + 1, error_message = NULL, error_detail = NULL,
  next_attempt_at = NULL, sent_at = ?1, last_updated = ?1
WHERE id IN (SELECT value FROM json_each(?2)) AND command_status = '{_BEGINS_FROM}'
"""

_RECORD = f"""
UPDATE task_devices SET command_status = ?2, error_message = ?3, error_detail = ?4, how = ?5, used = ?6,
  association_failures = ?7, verify_first = ?8, next_attempt_at = ?9, tries = tries - ?10, last_updated = ?11
WHERE id IN (SELECT value FROM json_each(?1)) AND command_status = '{_ENDS_FROM}' AND tries = ?12
RETURNING id
"""

_KEEP_ATTEMPT = """
INSERT OR REPLACE INTO task_device_attempts
  (task_device_id, attempt, late, started_at, ended_at, error_message, error_detail)
SELECT id, ?2, 0, sent_at, ?3, ?4, ?5 FROM task_devices WHERE id = ?1
"""

_REFUSE = f"""
UPDATE task_devices SET command_status = 'FAILED', error_message = ?2, error_detail = ?3, next_attempt_at = NULL,
  last_updated = ?4
WHERE id IN (SELECT value FROM json_each(?1)) AND command_status = '{_REFUSED_FROM}' RETURNING id, device_id
"""

_MOVE_COUNTS = """
UPDATE task_buckets SET pending = pending + ?2, sent = sent + ?3, success = success + ?4, failed = failed + ?5
WHERE bucket_id = ?1
"""

_SUPERSEDED = "SELECT id FROM open_commands WHERE id IN (SELECT value FROM json_each(?)) AND superseded"

# An older command of the group comes first while it is in a session or could begin now; where a newer one does not
# supersede it, also while it waits for its next attempt.
_WAITS = """
SELECT mine.id FROM json_each(?1) j JOIN open_commands mine ON mine.id = j.value
JOIN tasks my_task ON my_task.task_id = mine.task_id
WHERE EXISTS (
  SELECT 1 FROM open_commands other JOIN tasks t ON t.task_id = other.task_id
  JOIN task_devices d ON d.id = other.id
  WHERE other.device_id = mine.device_id AND other.conflict_group = mine.conflict_group AND other.id <> mine.id
    AND (t.scheduled_at, t.created_at, t.task_id) < (my_task.scheduled_at, my_task.created_at, my_task.task_id)
    AND (d.command_status = 'SENT' OR (t.status = 'IN_PROGRESS' AND NOT other.superseded
         AND (NOT ?2 OR d.next_attempt_at IS NULL OR d.next_attempt_at <= ?3))))
"""

_SUPERSEDE = """
UPDATE open_commands SET superseded = 1 WHERE id IN (
  SELECT other.id FROM json_each(?1) j JOIN open_commands mine ON mine.id = j.value
  JOIN tasks my_task ON my_task.task_id = mine.task_id
  JOIN open_commands other ON other.device_id = mine.device_id AND other.conflict_group = mine.conflict_group
  JOIN tasks t ON t.task_id = other.task_id
  WHERE other.id <> mine.id
    AND (t.scheduled_at, t.created_at, t.task_id) < (my_task.scheduled_at, my_task.created_at, my_task.task_id))
RETURNING id
"""
_HURRY_SUPERSEDED = """
UPDATE task_buckets SET due_at = ?1 WHERE due_at > ?1 AND bucket_id IN (
  SELECT b.bucket_id FROM json_each(?2) j JOIN task_devices d ON d.id = j.value
  JOIN task_buckets b ON b.task_id = d.task_id AND d.id BETWEEN b.first_id AND b.last_id)
"""
_HURRY_DEVICES = """
UPDATE task_devices SET next_attempt_at = NULL
WHERE id IN (SELECT value FROM json_each(?)) AND command_status = 'PENDING'
"""
_FORGET_COMMANDS = "DELETE FROM open_commands WHERE id IN (SELECT value FROM json_each(?))"


class SqliteAttempts:
    """Implements the attempts of store.attempts.AttemptStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def begin_attempts(self, lease: Lease, devices: Sequence[OpenDevice]) -> Begun:
        return await self.database.write(lambda connection, now: _begin(connection, now, lease, devices))

    async def record_results(self, lease: Lease, results: Sequence[Result]) -> list[Transition]:
        return await self.database.write(lambda connection, now: _record(connection, now, lease, results))

    async def refuse_devices(
        self, lease: Lease, positions: Sequence[int], error: ErrorWord, detail: str
    ) -> list[Transition]:
        def work(connection: sqlite3.Connection, now: datetime) -> list[Transition]:
            task_id, _, group, _ = _held(connection, now, lease)
            return _refuse(connection, now, lease, task_id, group, positions, error, detail)

        return await self.database.write(work)

    async def record_late_result(self, task_id: str, result: Result) -> Transition | None:
        return await self.database.write(lambda connection, now: late.record(connection, now, task_id, result))


def _held(connection: sqlite3.Connection, now: datetime, lease: Lease) -> tuple[str, TaskStatus, ConflictGroup, str]:
    row = connection.execute(_HELD, (lease.bucket_id, lease.owner, lease.epoch, to_text(now))).fetchone()
    if row is None:
        raise LeaseLost(f"the lease of bucket {lease.bucket_id} at epoch {lease.epoch} is not ours")
    return row[0], TaskStatus(row[1]), ConflictGroup(row[2]), row[3]


def _begin(connection: sqlite3.Connection, now: datetime, lease: Lease, devices: Sequence[OpenDevice]) -> Begun:
    task_id, status, group, expires_at = _held(connection, now, lease)
    text = to_text(now)
    if status is not TaskStatus.IN_PROGRESS or expires_at <= text:
        return Begun(status, [], [], [], [])
    asked = {device.position for device in devices}
    waits: set[int] = set()
    if group is not ConflictGroup.NONE:
        superseded = _ids(connection, _SUPERSEDED, _json(asked))
        if superseded:
            detail = "a newer command of its kind ran on this meter first"
            _refuse(connection, now, lease, task_id, group, superseded, ErrorWord.SUPERSEDED, detail)
        waits = set(_ids(connection, _WAITS, _json(asked), group.supersedes, text))
    rows = connection.execute(_CANDIDATES, (_json(asked - waits),)).fetchall()
    keys = {lock_key(row[3]): row for row in rows}
    taken = _ids(connection, _LOCK, lease.bucket_id, lease.epoch, _json(keys), text)
    begun = [
        BegunDevice(row[0], row[1] + 1, stored_meter(row[3:]), None if row[2] is None else msgspec.json.decode(row[2]))
        for row in (keys[key] for key in taken)
    ]
    ids = _json(device.position for device in begun)
    changed = connection.execute(_BEGIN, (text, ids)).rowcount
    assert changed == len(begun)
    _move_counts(connection, lease, pending=-changed, sent=changed)
    if group.supersedes and begun:
        _supersede(connection, text, ids)
    begun_positions = {device.position for device in begun}
    found = {row[0] for row in rows}
    return Begun(status, begun, list(found - begun_positions), list(waits), list(asked - waits - found))


def _supersede(connection: sqlite3.Connection, text: str, ids: str) -> None:
    older = _ids(connection, _SUPERSEDE, ids)
    if older:
        connection.execute(_HURRY_DEVICES, (_json(older),))
        connection.execute(_HURRY_SUPERSEDED, (text, _json(older)))


def _record(connection: sqlite3.Connection, now: datetime, lease: Lease, results: Sequence[Result]) -> list[Transition]:
    task_id, _, group, _ = _held(connection, now, lease)
    text = to_text(now)
    groups: defaultdict[tuple[Any, ...], list[Result]] = defaultdict(list)
    for r in results:
        groups[
            r.status, r.error, r.detail, r.how, r.used, r.association_failures, r.verify_first, r.delay_seconds,
            r.count_try, r.tries,
        ].append(r)  # fmt: skip
    moved: list[Result] = []
    for same in groups.values():
        r = same[0]
        next_at = later(now, r.delay_seconds) if r.status is DeviceStatus.PENDING and r.delay_seconds else None
        changed = _ids(
            connection, _RECORD, _json(each.position for each in same), r.status, r.error, r.detail, r.how, r.used,
            r.association_failures, r.verify_first, next_at, 0 if r.count_try else 1, text, r.tries,
        )  # fmt: skip
        if len(changed) == len(same):
            moved.extend(same)
        else:
            kept = set(changed)
            moved.extend(each for each in same if each.position in kept)
    _keep_details(connection, text, moved)
    connection.execute(_UNLOCK, (_json(lock_key(each.device_id) for each in moved), lease.bucket_id, lease.epoch))
    if group is not ConflictGroup.NONE:
        _forget(connection, (each.position for each in moved if each.status is not DeviceStatus.PENDING))
    by_status: defaultdict[DeviceStatus, int] = defaultdict(int)
    for each in moved:
        by_status[each.status] += 1
    _move_counts(
        connection,
        lease,
        pending=by_status[DeviceStatus.PENDING],
        sent=-len(moved),
        success=by_status[DeviceStatus.SUCCESS],
        failed=by_status[DeviceStatus.FAILED],
    )
    return [Transition(task_id, each.device_id, each.status, each.error) for each in moved]


def _keep_details(connection: sqlite3.Connection, text: str, moved: list[Result]) -> None:
    attempts = [(r.position, r.tries, text, r.error, r.detail) for r in moved if r.error is not None]
    if attempts:
        connection.executemany(_KEEP_ATTEMPT, attempts)
    values = [(r.position, msgspec.json.encode(r.result).decode()) for r in moved if r.result is not None]
    if values:
        connection.executemany("INSERT OR REPLACE INTO task_device_results VALUES (?, ?)", values)
    progress = [(msgspec.json.encode(r.progress).decode(), r.position) for r in moved if r.progress is not None]
    if progress:
        connection.executemany("UPDATE task_devices SET progress = ? WHERE id = ?", progress)


def _refuse(
    connection: sqlite3.Connection,
    now: datetime,
    lease: Lease,
    task_id: str,
    group: ConflictGroup,
    positions: Sequence[int],
    error: ErrorWord,
    detail: str,
) -> list[Transition]:
    rows = connection.execute(_REFUSE, (_json(positions), error, detail, to_text(now))).fetchall()
    if group is not ConflictGroup.NONE:
        _forget(connection, (row[0] for row in rows))
    _move_counts(connection, lease, pending=-len(rows), failed=len(rows))
    return [Transition(task_id, device_id, DeviceStatus.FAILED, error) for _, device_id in rows]


def _forget(connection: sqlite3.Connection, positions: Iterable[int]) -> None:
    connection.execute(_FORGET_COMMANDS, (_json(positions),))


def _move_counts(
    connection: sqlite3.Connection, lease: Lease, *, pending: int = 0, sent: int = 0, success: int = 0, failed: int = 0
) -> None:
    connection.execute(_MOVE_COUNTS, (lease.bucket_id, pending, sent, success, failed))


def _ids(connection: sqlite3.Connection, statement: str, *parameters: Any) -> list[int]:
    return [row[0] for row in connection.execute(statement, parameters).fetchall()]


def _json(integers: Iterable[int]) -> str:
    """A JSON array for json_each: one statement for many ids."""
    return f"[{','.join(map(str, integers))}]"
