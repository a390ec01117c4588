"""Attempts on SQLite: begin, record, refuse, correct. The hot path: one statement for many devices."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import SealedMeter, lock_key
from metercast.domain.states import DEVICE_TRANSITIONS, DeviceEvent, DeviceStatus, TaskStatus, states_before
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Begun, BegunDevice, Lease, LeaseLost, OpenDevice, Result, Transition
from metercast.store.sqlite import conflicts, late
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.meters import meters_of
from metercast.store.sqlite.statements import found, json_array
from metercast.store.sqlite.times import later, to_text

(_BEGINS_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.BEGIN)
(_REFUSED_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.REFUSE)
(_ENDS_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.SUCCEED)
_ENDS_IN = frozenset(after for (before, _), after in DEVICE_TRANSITIONS.items() if before is _ENDS_FROM)

_HELD = """
SELECT b.task_id, t.status, t.conflict_group, t.expires_at, b.first_id, b.last_id
FROM task_buckets b JOIN tasks t ON t.task_id = b.task_id
WHERE b.bucket_id = ? AND b.lease_owner = ? AND b.lease_epoch = ? AND b.lease_until > ? AND t.unsealed_until IS NULL
"""

# A lock whose lease (bucket, epoch) no longer lives is free.
_LOCKED = """
SELECT json_group_array(l.lock_key) FROM json_each(?1) j JOIN meter_locks l ON l.lock_key = j.value
JOIN task_buckets b ON b.bucket_id = l.bucket_id AND b.lease_epoch = l.epoch AND b.lease_until > ?2
"""
_LOCK = """
INSERT INTO meter_locks (lock_key, bucket_id, epoch) SELECT value, ?1, ?2 FROM json_each(?3) WHERE true
ON CONFLICT (lock_key) DO UPDATE SET bucket_id = excluded.bucket_id, epoch = excluded.epoch
"""
# An earlier epoch of this bucket is dead: what it left goes too.
_UNLOCK = "DELETE FROM meter_locks WHERE lock_key IN (SELECT value FROM json_each(?)) AND bucket_id = ? AND epoch <= ?"

_STANDING = """
SELECT json_group_array(id), json_group_array(tries),
  json_group_object(id, json(progress)) FILTER (WHERE progress IS NOT NULL)
FROM task_devices WHERE id IN (SELECT value FROM json_each(?)) AND command_status = ?
"""
# What was begun under a lease holds the lock of its meter under that lease until its result is recorded.
_OWN_LOCKS = """
SELECT json_group_array(lock_key) FROM meter_locks
WHERE lock_key IN (SELECT value FROM json_each(?)) AND bucket_id = ? AND epoch = ?
"""
_BEGIN = f"""
UPDATE task_devices SET command_status = 'SENT', tries = tries + 1, error_message = NULL, error_detail = NULL,
  next_attempt_at = NULL, sent_at = ?1, last_updated = ?1
WHERE id IN (SELECT value FROM json_each(?2)) AND command_status = '{_BEGINS_FROM}'
"""

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

_REFUSE = f"""
UPDATE task_devices SET command_status = 'FAILED', error_message = ?2, error_detail = ?3, next_attempt_at = NULL,
  last_updated = ?4
WHERE id IN (SELECT value FROM json_each(?1)) AND command_status = '{_REFUSED_FROM}' RETURNING id, device_id
"""

# A bucket without open devices is never due again.
_MOVE_COUNTS = """
UPDATE task_buckets SET pending = pending + ?2, sent = sent + ?3, success = success + ?4, failed = failed + ?5,
  cancelled = cancelled + ?6, due_at = CASE WHEN pending + ?2 + sent + ?3 > 0 THEN due_at END
WHERE bucket_id = ?1
"""

_integers = msgspec.json.Decoder(list[int])
_progress = msgspec.json.Decoder(dict[int, Any])
_but_device = attrgetter(
    "status", "error", "detail", "how", "used", "association_failures", "verify_first", "delay_seconds", "count_try",
    "tries",
)  # fmt: skip


class SqliteAttempts:
    """Implements the attempts of store.attempts.AttemptStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def begin_attempts(self, lease: Lease, devices: Sequence[OpenDevice]) -> Begun:
        # A meter may change between this read and the write as it may right after: its session has what it had.
        asked = {device.position: device.tries for device in devices}
        meters = await self.database.read(lambda connection: meters_of(connection, asked.keys()))
        keys = {lock_key(meter.device_id): position for position, meter in meters.items()}
        return await self.database.write(lambda connection, now: _begin(connection, now, lease, asked, meters, keys))

    async def record_results(self, lease: Lease, results: Sequence[Result]) -> list[Transition]:
        return await self.database.write(lambda connection, now: _record(connection, now, lease, results))

    async def refuse_devices(
        self, lease: Lease, positions: Sequence[int], error: ErrorWord, detail: str
    ) -> list[Transition]:
        def work(connection: sqlite3.Connection, now: datetime) -> list[Transition]:
            held = _held(connection, now, lease, positions)
            return _refuse(connection, now, held, positions, error, detail)

        return await self.database.write(work)

    async def record_late_result(self, task_id: str, result: Result) -> Transition | None:
        return await self.database.write(lambda connection, now: late.record(connection, now, task_id, result))


class _Held(NamedTuple):
    """A lease that is ours now, and what its writes need of the task."""

    lease: Lease
    task_id: str
    status: TaskStatus
    group: ConflictGroup
    expires_at: str


def _held(connection: sqlite3.Connection, now: datetime, lease: Lease, positions: Collection[int]) -> _Held:
    row = connection.execute(_HELD, (lease.bucket_id, lease.owner, lease.epoch, to_text(now))).fetchone()
    if row is None:
        raise LeaseLost(f"the lease of bucket {lease.bucket_id} at epoch {lease.epoch} is not ours")
    task_id, status, group, expires_at, first, last = row
    if positions and not (first <= min(positions) and max(positions) <= last):
        raise ValueError(f"bucket {lease.bucket_id} holds the positions {first} to {last} only")
    return _Held(lease, task_id, TaskStatus(status), ConflictGroup(group), expires_at)


def _begin(
    connection: sqlite3.Connection,
    now: datetime,
    lease: Lease,
    asked: dict[int, int],
    meters: dict[int, SealedMeter],
    keys: dict[int, int],
) -> Begun:
    """`asked` holds their attempts so far by position; `meters` and the positions by lock key, `keys`, are of those
    that are registered."""
    held = _held(connection, now, lease, asked.keys())
    text = to_text(now)
    if held.status is not TaskStatus.IN_PROGRESS:
        return Begun(held.status, [], [], [], [])
    if held.expires_at <= text:
        return Begun(held.status, [], [], [], list(asked))
    tries, progress = _standing(connection, asked.keys(), _BEGINS_FROM)
    again = _begun_before(connection, lease, asked, keys, meters) if len(tries) < len(asked) else []
    waits: frozenset[int] = frozenset()
    if held.group is not ConflictGroup.NONE:
        void = conflicts.superseded(connection, tries.keys())
        if void:
            detail = "a newer command of its kind ran on this meter first"
            _refuse(connection, now, held, void, ErrorWord.SUPERSEDED, detail)
        waits = conflicts.that_wait(connection, tries.keys(), held.group, text)
        tries = {position: tries[position] for position in tries.keys() - waits - set(void)}
    free = {key: position for key, position in keys.items() if position in tries}
    for key in found(connection, _LOCKED, (json_array(free), text)):
        del free[key]
    connection.execute(_LOCK, (lease.bucket_id, lease.epoch, json_array(free)))
    begun = [BegunDevice(each, tries[each] + 1, meters[each], progress.get(each)) for each in free.values()]
    _mark_sent(connection, held, free.values(), text)
    pending = meters.keys() & tries.keys()
    ended = asked.keys() - waits - pending - {each.position for each in again}
    return Begun(held.status, again + begun, list(pending.difference(free.values())), list(waits), list(ended))


def _standing(
    connection: sqlite3.Connection, positions: Collection[int], status: DeviceStatus
) -> tuple[dict[int, int], dict[int, Any]]:
    """The attempts so far, and the progress of long commands, of those of `positions` that are in `status`."""
    found_ids, tries, progress = connection.execute(_STANDING, (json_array(positions), status)).fetchone()
    return dict(zip(_integers.decode(found_ids), _integers.decode(tries), strict=True)), _progress.decode(progress)


def _begun_before(
    connection: sqlite3.Connection,
    lease: Lease,
    asked: dict[int, int],
    keys: dict[int, int],
    meters: dict[int, SealedMeter],
) -> list[BegunDevice]:
    """Those that this call has begun already, when its answer was lost."""
    tries, progress = _standing(connection, asked.keys(), _ENDS_FROM)
    sent = {key: each for key, each in keys.items() if tries.get(each) == asked[each] + 1}
    own = found(connection, _OWN_LOCKS, (json_array(sent), lease.bucket_id, lease.epoch))
    return [BegunDevice(each, tries[each], meters[each], progress.get(each)) for each in map(sent.__getitem__, own)]


def _mark_sent(connection: sqlite3.Connection, held: _Held, positions: Collection[int], text: str) -> None:
    moved = connection.execute(_BEGIN, (text, json_array(positions))).rowcount
    assert moved == len(positions)
    _move_counts(connection, held, pending=-moved, sent=moved)
    if held.group.supersedes and positions:
        conflicts.supersede_older(connection, positions, text)


def _record(connection: sqlite3.Connection, now: datetime, lease: Lease, results: Sequence[Result]) -> list[Transition]:
    held = _held(connection, now, lease, [result.position for result in results])
    text = to_text(now)
    if not _ENDS_IN.issuperset(result.status for result in results):
        raise ValueError(f"a session ends in {', '.join(sorted(_ENDS_IN))} only")
    if held.status is TaskStatus.CANCELLED:
        results = [_in_cancelled_task(result) for result in results]
    moved: list[Result] = []
    for same in _alike(results):
        moved += _record_alike(connection, now, text, same)
    _keep_details(connection, text, moved)
    keys = json_array([lock_key(each.device_id) for each in moved])
    connection.execute(_UNLOCK, (keys, lease.bucket_id, lease.epoch))
    if held.group is not ConflictGroup.NONE:
        conflicts.forget(connection, (each.position for each in moved if each.status is not DeviceStatus.PENDING))
    statuses = Counter(each.status for each in moved)
    _move_counts(
        connection,
        held,
        pending=statuses[DeviceStatus.PENDING],
        sent=-len(moved),
        success=statuses[DeviceStatus.SUCCESS],
        failed=statuses[DeviceStatus.FAILED],
        cancelled=statuses[DeviceStatus.CANCELLED],
    )
    return [Transition(held.task_id, each.device_id, each.status, each.error) for each in moved]


def _in_cancelled_task(result: Result) -> Result:
    """Nothing goes back to waiting there: what is given back unused is cancelled as well, what was tried has failed."""
    if result.status is not DeviceStatus.PENDING:
        return result
    if not result.count_try:
        return msgspec.structs.replace(result, status=DeviceStatus.CANCELLED)
    guess = result.verify_first or result.error is None
    error = ErrorWord.OUTCOME_UNKNOWN if guess else result.error
    return msgspec.structs.replace(result, status=DeviceStatus.FAILED, error=error)


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


def _refuse(
    connection: sqlite3.Connection,
    now: datetime,
    held: _Held,
    positions: Collection[int],
    error: ErrorWord,
    detail: str,
) -> list[Transition]:
    rows = connection.execute(_REFUSE, (json_array(positions), error, detail, to_text(now))).fetchall()
    if held.group is not ConflictGroup.NONE:
        conflicts.forget(connection, [row[0] for row in rows])
    _move_counts(connection, held, pending=-len(rows), failed=len(rows))
    return [Transition(held.task_id, device_id, DeviceStatus.FAILED, error) for _, device_id in rows]


def _move_counts(
    connection: sqlite3.Connection,
    held: _Held,
    *,
    pending: int = 0,
    sent: int = 0,
    success: int = 0,
    failed: int = 0,
    cancelled: int = 0,
) -> None:
    connection.execute(_MOVE_COUNTS, (held.lease.bucket_id, pending, sent, success, failed, cancelled))
