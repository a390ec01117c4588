"""A lease that is ours, and what may be written under it whatever is done: counts, and devices that never begin."""

import sqlite3
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from metercast.domain.command import ConflictGroup
from metercast.domain.states import DEVICE_TRANSITIONS, DeviceEvent, DeviceStatus, TaskStatus, states_before
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Lease, LeaseLost, Transition
from metercast.store.sqlite import conflicts
from metercast.store.sqlite.statements import json_array
from metercast.store.sqlite.times import to_text

(_REFUSED_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.REFUSE)

_HELD = """
SELECT b.task_id, t.status, t.conflict_group, t.expires_at, b.first_id, b.last_id
FROM task_buckets b JOIN tasks t ON t.task_id = b.task_id
WHERE b.bucket_id = ? AND b.lease_owner = ? AND b.lease_epoch = ? AND b.lease_until > ? AND t.unsealed_until IS NULL
"""

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


class Held(NamedTuple):
    """A lease that is ours now, and what its writes need of the task."""

    lease: Lease
    task_id: str
    status: TaskStatus
    group: ConflictGroup
    expires_at: str


def require_held(connection: sqlite3.Connection, now: datetime, lease: Lease, positions: Collection[int]) -> Held:
    row = connection.execute(_HELD, (lease.bucket_id, lease.owner, lease.epoch, to_text(now))).fetchone()
    if row is None:
        raise LeaseLost(f"the lease of bucket {lease.bucket_id} at epoch {lease.epoch} is not ours")
    task_id, status, group, expires_at, first, last = row
    if positions and not (first <= min(positions) and max(positions) <= last):
        raise ValueError(f"bucket {lease.bucket_id} holds the positions {first} to {last} only")
    return Held(lease, task_id, TaskStatus(status), ConflictGroup(group), expires_at)


def refuse(
    connection: sqlite3.Connection,
    now: datetime,
    held: Held,
    positions: Collection[int],
    error: ErrorWord,
    detail: str,
) -> list[Transition]:
    rows = connection.execute(_REFUSE, (json_array(positions), error, detail, to_text(now))).fetchall()
    if held.group is not ConflictGroup.NONE:
        conflicts.forget(connection, [row[0] for row in rows])
    move_counts(connection, held, pending=-len(rows), failed=len(rows))
    return [Transition(held.task_id, device_id, DeviceStatus.FAILED, error) for _, device_id in rows]


def move_counts(
    connection: sqlite3.Connection,
    held: Held,
    *,
    pending: int = 0,
    sent: int = 0,
    success: int = 0,
    failed: int = 0,
    cancelled: int = 0,
) -> None:
    connection.execute(_MOVE_COUNTS, (held.lease.bucket_id, pending, sent, success, failed, cancelled))
