"""PENDING -> SENT on SQLite: the order on each meter is looked at, its lock taken, the device marked."""

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import SealedMeter, lock_key
from metercast.domain.states import DEVICE_TRANSITIONS, DeviceEvent, DeviceStatus, TaskStatus, states_before
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Begun, BegunDevice, Lease, OpenDevice
from metercast.store.sqlite import conflicts
from metercast.store.sqlite.database import undo
from metercast.store.sqlite.holding import Held, move_counts, refuse, require_held
from metercast.store.sqlite.statements import found, json_array
from metercast.store.sqlite.times import to_text

(_BEGINS_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.BEGIN)
_BEGUN = DEVICE_TRANSITIONS[_BEGINS_FROM, DeviceEvent.BEGIN]

# A lock whose lease (bucket, epoch) no longer lives is free.
_LOCKED = """
SELECT json_group_array(l.lock_key) FROM json_each(?1) j JOIN meter_locks l ON l.lock_key = j.value
JOIN task_buckets b ON b.bucket_id = l.bucket_id AND b.lease_epoch = l.epoch AND b.lease_until > ?2
"""
_LOCK = """
INSERT INTO meter_locks (lock_key, bucket_id, epoch) SELECT value, ?1, ?2 FROM json_each(?3) WHERE true
ON CONFLICT (lock_key) DO UPDATE SET bucket_id = excluded.bucket_id, epoch = excluded.epoch
"""

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

# For a batch that stands as it was asked for, in the same attempt, its meters free and its commands new.
_BEGIN_NEW = f"{_BEGIN} AND tries = ?3 AND progress IS NULL"
_LOCK_FREE = f"""{_LOCK} WHERE NOT EXISTS (
  SELECT 1 FROM task_buckets b
  WHERE b.bucket_id = meter_locks.bucket_id AND b.lease_epoch = meter_locks.epoch AND b.lease_until > ?4)
"""

_integers = msgspec.json.Decoder(list[int])
_progress = msgspec.json.Decoder(dict[int, Any])


class Asked(NamedTuple):
    """A batch as it is asked for, prepared before the transaction: the only writer's time is what bounds all.

    `tries` are their attempts so far by position; `keys` the positions by lock key, of those that are registered.
    """

    tries: dict[int, int]
    keys: dict[int, int]
    positions: str
    locks: str
    bounds: tuple[int, int] | tuple[()]

    @classmethod
    def of(cls, devices: Sequence[OpenDevice], meters: dict[int, SealedMeter]) -> Self:
        tries = {device.position: device.tries for device in devices}
        keys = {lock_key(meter.device_id): position for position, meter in meters.items()}
        bounds = (min(tries), max(tries)) if tries else ()
        return cls(tries, keys, json_array(tries), json_array(keys), bounds)


class Marked(NamedTuple):
    """What a begin has done, by position; `sent` are the attempts of those that are SENT now."""

    task_status: TaskStatus
    sent: dict[int, int]
    progress: dict[int, Any]
    locked: list[int]
    waits: list[int]
    ended: list[int]

    def begun(self, meters: dict[int, SealedMeter]) -> Begun:
        begun = [BegunDevice(each, tries, meters[each], self.progress.get(each)) for each, tries in self.sent.items()]
        return Begun(self.task_status, begun, self.locked, self.waits, self.ended)


def begin(connection: sqlite3.Connection, now: datetime, lease: Lease, asked: Asked) -> Marked:
    held = require_held(connection, now, lease, asked.bounds)
    text = to_text(now)
    if held.status is not TaskStatus.IN_PROGRESS:
        return Marked(held.status, {}, {}, [], [], [])
    if held.expires_at <= text:
        return Marked(held.status, {}, {}, [], [], list(asked.tries))
    if held.group is ConflictGroup.NONE and _begin_at_once(connection, held, asked, text):
        (tries,) = {*asked.tries.values()}
        return Marked(held.status, dict.fromkeys(asked.tries, tries + 1), {}, [], [], [])
    return _sort_out(connection, now, held, asked)


def _begin_at_once(connection: sqlite3.Connection, held: Held, asked: Asked, text: str) -> bool:
    """The common case, and the cheap one: all of them can begin. Where they can't, nothing is written."""
    count, attempts = len(asked.tries), {*asked.tries.values()}
    if len(attempts) != 1 or len(asked.keys) < count:
        return False
    lock = held.lease.bucket_id, held.lease.epoch, asked.locks, text
    if (
        connection.execute(_BEGIN_NEW, (text, asked.positions, *attempts)).rowcount < count
        or connection.execute(_LOCK_FREE, lock).rowcount < count
    ):
        undo(connection)
        return False
    move_counts(connection, held, pending=-count, sent=count)
    return True


def _sort_out(connection: sqlite3.Connection, now: datetime, held: Held, asked: Asked) -> Marked:
    """Begins those that may, and says of each other why not."""
    lease, text = held.lease, to_text(now)
    tries, progress = _standing(connection, asked, _BEGINS_FROM)
    sent: dict[int, int] = {}
    if len(tries) < len(asked.tries):
        sent, before = _begun_before(connection, lease, asked)
        progress |= before
    waits: frozenset[int] = frozenset()
    if held.group is not ConflictGroup.NONE:
        void = conflicts.superseded(connection, tries.keys())
        if void:
            detail = "a newer command of its kind ran on this meter first"
            refuse(connection, now, held, void, ErrorWord.SUPERSEDED, detail)
        waits = conflicts.that_wait(connection, tries.keys(), held.group, text)
        tries = {position: tries[position] for position in tries.keys() - waits - set(void)}
    free = {key: position for key, position in asked.keys.items() if position in tries}
    locked = [free.pop(key) for key in found(connection, _LOCKED, (json_array(free), text))]
    connection.execute(_LOCK, (lease.bucket_id, lease.epoch, json_array(free)))
    _mark_sent(connection, held, free.values(), json_array(free.values()), text)
    registered = {*asked.keys.values()} & tries.keys()
    ended = list(asked.tries.keys() - waits - registered - sent.keys())
    sent |= {position: tries[position] + 1 for position in free.values()}
    return Marked(held.status, sent, progress, locked, list(waits), ended)


def _standing(
    connection: sqlite3.Connection, asked: Asked, status: DeviceStatus
) -> tuple[dict[int, int], dict[int, Any]]:
    """The attempts so far, and the progress of long commands, of those that are in `status`."""
    found_ids, tries, progress = connection.execute(_STANDING, (asked.positions, status)).fetchone()
    return dict(zip(_integers.decode(found_ids), _integers.decode(tries), strict=True)), _progress.decode(progress)


def _begun_before(connection: sqlite3.Connection, lease: Lease, asked: Asked) -> tuple[dict[int, int], dict[int, Any]]:
    """The attempts and the progress of those that this call has begun already, when its answer was lost."""
    tries, progress = _standing(connection, asked, _BEGUN)
    sent = {key: each for key, each in asked.keys.items() if tries.get(each) == asked.tries[each] + 1}
    own = found(connection, _OWN_LOCKS, (json_array(sent), lease.bucket_id, lease.epoch))
    return {sent[key]: tries[sent[key]] for key in own}, progress


def _mark_sent(connection: sqlite3.Connection, held: Held, positions: Collection[int], as_json: str, text: str) -> None:
    moved = connection.execute(_BEGIN, (text, as_json)).rowcount
    assert moved == len(positions)
    move_counts(connection, held, pending=-moved, sent=moved)
    if held.group.supersedes and positions:
        conflicts.supersede_older(connection, positions, text)
