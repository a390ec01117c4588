"""SENT -> what a session came to, on SQLite: one statement for all that differ in nothing but their device."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import lock_key
from metercast.domain.states import DEVICE_TRANSITIONS, DeviceEvent, DeviceStatus, TaskStatus, states_before
from metercast.store.attempts import Lease, Result, Transition, in_cancelled_task
from metercast.store.sqlite import conflicts
from metercast.store.sqlite.holding import move_counts, require_held
from metercast.store.sqlite.statements import found, json_array
from metercast.store.sqlite.times import later, to_text

(_ENDS_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.SUCCEED)
_ENDS_IN = frozenset(after for (before, _), after in DEVICE_TRANSITIONS.items() if before is _ENDS_FROM)

# An earlier epoch of this bucket is dead: what it left goes too.
_UNLOCK = "DELETE FROM meter_locks WHERE lock_key IN (SELECT value FROM json_each(?)) AND bucket_id = ? AND epoch <= ?"

_ENDING = f"""
SELECT json_group_array(id) FROM task_devices
WHERE id IN (SELECT value FROM json_each(?)) AND command_status = '{_ENDS_FROM}' AND tries = ?
"""
_RECORD = f"""
UPDATE task_devices SET command_status = ?2, error_message = ?3, error_detail = ?4, how = ?5, used = ?6,
  association_failures = ?7, verify_first = ?8, next_attempt_at = ?9, tries = tries - ?10, last_updated = ?11
WHERE id IN (SELECT value FROM json_each(?1)) AND command_status = '{_ENDS_FROM}' AND tries = ?12
"""

_KEEP_ATTEMPT = """
INSERT OR REPLACE INTO task_device_attempts
  (task_device_id, attempt, late, started_at, ended_at, error_message, error_detail)
SELECT id, ?2, 0, sent_at, ?3, ?4, ?5 FROM task_devices WHERE id = ?1
"""
_KEEP_RESULT = "INSERT OR REPLACE INTO task_device_results (task_device_id, result) VALUES (?, ?)"
_KEEP_PROGRESS = "UPDATE task_devices SET progress = ? WHERE id = ?"

_but_device = attrgetter(
    "status", "error", "detail", "how", "used", "association_failures", "verify_first", "delay_seconds", "count_try",
    "tries",
)  # fmt: skip


def record(connection: sqlite3.Connection, now: datetime, lease: Lease, results: Sequence[Result]) -> list[Transition]:
    held = require_held(connection, now, lease, [result.position for result in results])
    text = to_text(now)
    if not _ENDS_IN.issuperset(result.status for result in results):
        raise ValueError(f"a session ends in {', '.join(sorted(_ENDS_IN))} only")
    if held.status is TaskStatus.CANCELLED:
        results = [in_cancelled_task(result) for result in results]
    moved: list[Result] = []
    for same in _alike(results):
        moved += _record_alike(connection, now, text, same)
    _keep_details(connection, text, moved)
    keys = json_array([lock_key(each.device_id) for each in moved])
    connection.execute(_UNLOCK, (keys, lease.bucket_id, lease.epoch))
    if held.group is not ConflictGroup.NONE:
        conflicts.forget(connection, (each.position for each in moved if each.status is not DeviceStatus.PENDING))
    statuses = Counter(each.status for each in moved)
    move_counts(
        connection,
        held,
        pending=statuses[DeviceStatus.PENDING],
        sent=-len(moved),
        success=statuses[DeviceStatus.SUCCESS],
        failed=statuses[DeviceStatus.FAILED],
        cancelled=statuses[DeviceStatus.CANCELLED],
    )
    return [Transition(held.task_id, each.device_id, each.status, each.error) for each in moved]


def _alike(results: Sequence[Result]) -> list[list[Result]]:
    """Results that differ in nothing but their device: each group is one statement."""
    groups: defaultdict[tuple[Any, ...], list[Result]] = defaultdict(list)
    for result in results:
        groups[_but_device(result)].append(result)
    return list(groups.values())


def _record_alike(connection: sqlite3.Connection, now: datetime, text: str, same: list[Result]) -> list[Result]:
    """Those of `same` that were SENT in the attempt they name."""
    r = same[0]
    next_at = later(now, r.delay_seconds) if r.status is DeviceStatus.PENDING and r.delay_seconds else None
    positions = found(connection, _ENDING, (json_array([each.position for each in same]), r.tries))
    if len(positions) < len(same):
        ending = set(positions)
        same = [each for each in same if each.position in ending]
    connection.execute(_RECORD, (
        json_array(positions), r.status, r.error, r.detail, r.how, r.used, r.association_failures, r.verify_first,
        next_at, 0 if r.count_try else 1, text, r.tries,
    ))  # fmt: skip
    return same


def _keep_details(connection: sqlite3.Connection, text: str, moved: list[Result]) -> None:
    attempts = [(r.position, r.tries, text, r.error, r.detail) for r in moved if r.error is not None]
    if attempts:
        connection.executemany(_KEEP_ATTEMPT, attempts)
    values = [(r.position, msgspec.json.encode(r.result).decode()) for r in moved if r.result is not None]
    if values:
        connection.executemany(_KEEP_RESULT, values)
    progress = [(msgspec.json.encode(r.progress).decode(), r.position) for r in moved if r.progress is not None]
    if progress:
        connection.executemany(_KEEP_PROGRESS, progress)
