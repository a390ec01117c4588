"""SENT -> what a session came to, on SQLite: one statement for all that differ in nothing but their device.

What can be prepared is prepared before the transaction, for the only writer's time is what bounds all.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, Self

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import lock_key
from metercast.domain.states import DEVICE_TRANSITIONS, DeviceEvent, DeviceStatus, TaskStatus, states_before
from metercast.store.attempts import Lease, Result, in_cancelled_task
from metercast.store.sqlite import conflicts
from metercast.store.sqlite.database import undo
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

_KEEP_RUNNING = f"""
UPDATE task_devices SET progress = ? WHERE id = ? AND command_status = '{_ENDS_FROM}' AND tries = ?
"""

_but_device = attrgetter(
    "status", "error", "detail", "how", "used", "association_failures", "verify_first", "delay_seconds", "count_try",
    "tries",
)  # fmt: skip


class Alike(NamedTuple):
    """Results that differ in nothing but their device, and what the statements need of them."""

    results: list[Result]
    positions: str
    bounds: tuple[int, int]
    keys: str
    values: list[tuple[int, str]]
    progress: list[tuple[str, int]]

    @classmethod
    def of(cls, results: list[Result]) -> Self:
        positions = [r.position for r in results]
        return cls(
            results,
            json_array(positions),
            (min(positions), max(positions)),
            json_array([lock_key(r.device_id) for r in results]),
            [(r.position, msgspec.json.encode(r.result).decode()) for r in results if r.result is not None],
            [(msgspec.json.encode(r.progress).decode(), r.position) for r in results if r.progress is not None],
        )


def prepare(results: Sequence[Result]) -> list[Alike]:
    groups: defaultdict[tuple[Any, ...], list[Result]] = defaultdict(list)
    for result in results:
        groups[_but_device(result)].append(result)
    return [Alike.of(same) for same in groups.values()]


def record(
    connection: sqlite3.Connection, now: datetime, lease: Lease, groups: list[Alike]
) -> tuple[str, list[Result]]:
    """The task, and the results that really moved a device."""
    held = require_held(connection, now, lease, [each for same in groups for each in same.bounds])
    if not _ENDS_IN.issuperset(same.results[0].status for same in groups):
        raise ValueError(f"a session ends in {', '.join(sorted(_ENDS_IN))} only")
    if held.status is TaskStatus.CANCELLED:
        groups = prepare([in_cancelled_task(result) for same in groups for result in same.results])
    text = to_text(now)
    if not all(_end(connection, now, text, same) for same in groups):
        undo(connection)
        groups = [ended for same in groups if (ended := _end_some(connection, now, text, same)) is not None]
    statuses: Counter[DeviceStatus] = Counter()
    for same in groups:
        _keep_details(connection, text, same)
        connection.execute(_UNLOCK, (same.keys, lease.bucket_id, lease.epoch))
        status = same.results[0].status
        if held.group is not ConflictGroup.NONE and status is not DeviceStatus.PENDING:
            conflicts.forget(connection, [each.position for each in same.results])
        statuses[status] += len(same.results)
    move_counts(
        connection,
        held,
        pending=statuses[DeviceStatus.PENDING],
        sent=-statuses.total(),
        success=statuses[DeviceStatus.SUCCESS],
        failed=statuses[DeviceStatus.FAILED],
        cancelled=statuses[DeviceStatus.CANCELLED],
    )
    return held.task_id, [result for same in groups for result in same.results]


def keep_progress(connection: sqlite3.Connection, position: int, tries: int, progress: str) -> bool:
    """Of a session that runs; whether it does."""
    return connection.execute(_KEEP_RUNNING, (progress, position, tries)).rowcount == 1


def _end(connection: sqlite3.Connection, now: datetime, text: str, same: Alike) -> bool:
    """Whether all of them moved: whether they were SENT in the attempt they name."""
    r = same.results[0]
    next_at = later(now, r.delay_seconds) if r.status is DeviceStatus.PENDING and r.delay_seconds else None
    moved = connection.execute(_RECORD, (
        same.positions, r.status, r.error, r.detail, r.how, r.used, r.association_failures, r.verify_first,
        next_at, 0 if r.count_try else 1, text, r.tries,
    )).rowcount  # fmt: skip
    return moved == len(same.results)


def _end_some(connection: sqlite3.Connection, now: datetime, text: str, same: Alike) -> Alike | None:
    """Those of `same` that moved."""
    ending = set(found(connection, _ENDING, (same.positions, same.results[0].tries)))
    results = {each.position: each for each in same.results if each.position in ending}
    if not results:
        return None
    ended = Alike.of(list(results.values()))
    _end(connection, now, text, ended)
    return ended


def _keep_details(connection: sqlite3.Connection, text: str, same: Alike) -> None:
    if same.results[0].error is not None:
        connection.executemany(_KEEP_ATTEMPT, [(r.position, r.tries, text, r.error, r.detail) for r in same.results])
    if same.values:
        connection.executemany(_KEEP_RESULT, same.values)
    if same.progress:
        connection.executemany(_KEEP_PROGRESS, same.progress)
