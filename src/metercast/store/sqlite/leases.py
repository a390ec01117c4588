"""Buckets and their leases on SQLite."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import TaskStatus
from metercast.store.attempts import (
    BucketId,
    DueBucket,
    HeldLease,
    Lease,
    LeasedBucket,
    LeaseLost,
    OpenDevice,
    TaskHeader,
)
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.times import from_text, later, to_text

# What is SENT under a dead lease must be decided whatever the task is, and first: it looks busy and is not. What is
# PENDING needs a task that runs.
_DUE = """
SELECT b.bucket_id, b.task_id, t.priority FROM task_buckets b JOIN tasks t ON t.task_id = b.task_id
WHERE b.due_at <= ?1 AND (b.lease_until IS NULL OR b.lease_until <= ?1)
  AND (b.sent > 0 OR (b.pending > 0 AND t.status = 'IN_PROGRESS'))
ORDER BY t.priority DESC, b.sent = 0, b.due_at, b.bucket_id LIMIT ?2
"""

_LEASE = """
UPDATE task_buckets SET lease_owner = ?2, lease_epoch = lease_epoch + 1, lease_until = ?3
WHERE bucket_id = ?1 AND (lease_until IS NULL OR lease_until <= ?4) AND pending + sent > 0
  AND (sent > 0 OR (SELECT status FROM tasks t WHERE t.task_id = task_buckets.task_id) = 'IN_PROGRESS')
RETURNING task_id, lease_epoch, first_id, last_id
"""

_HEADER = """
SELECT command_type, conflict_group, command_params, status, priority, scheduled_at, expires_at, retry
FROM tasks WHERE task_id = ?
"""

# One row for all of them: see the note in sqlite/meters.py.
_OPEN_DEVICES = """
SELECT json_group_array(json_array(d.id, d.device_id, d.command_status, d.tries, d.used, d.association_failures,
  json(iif(d.verify_first, 'true', 'false')),
  coalesce(max(0.0, (julianday(d.next_attempt_at) - julianday(?3)) * 86400.0), 0.0),
  m.channel, coalesce(m.max_sessions, 1)))
FROM task_devices d LEFT JOIN devices m ON m.device_id = d.device_id
WHERE d.id BETWEEN ?1 AND ?2 AND d.command_status IN ('PENDING', 'SENT')
"""

_RENEW = """
UPDATE task_buckets SET lease_until = ?
WHERE bucket_id = ? AND lease_owner = ? AND lease_epoch = ? AND lease_until > ?
RETURNING bucket_id, (SELECT status FROM tasks t WHERE t.task_id = task_buckets.task_id),
  (SELECT expires_at FROM tasks t WHERE t.task_id = task_buckets.task_id)
"""

_RELEASE = """
UPDATE task_buckets SET lease_owner = NULL, lease_until = NULL,
  due_at = CASE WHEN pending + sent = 0 THEN NULL ELSE ?5 END
WHERE bucket_id = ?1 AND lease_owner = ?2 AND lease_epoch = ?3 AND lease_until > ?4
"""


class _OpenRow(OpenDevice, frozen=True, array_like=True, gc=False):
    """As `_OPEN_DEVICES` gathers it."""


_open_rows = msgspec.json.Decoder(list[_OpenRow])


class SqliteLeases:
    """Implements the leases of store.attempts.AttemptStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def due_buckets(self, limit: int) -> list[DueBucket]:
        now = to_text(self.database.clock())
        return await self.database.read(
            lambda connection: [DueBucket(*row) for row in connection.execute(_DUE, (now, limit))]
        )

    async def lease_bucket(self, bucket_id: BucketId, owner: str, lease_seconds: float) -> LeasedBucket | None:
        def work(connection: sqlite3.Connection, now: datetime) -> LeasedBucket | None:
            until = later(now, lease_seconds)
            row = connection.execute(_LEASE, (bucket_id, owner, until, to_text(now))).fetchone()
            if row is None:
                return None
            task_id, epoch, first_id, last_id = row
            header = read_header(connection, task_id)
            (rows,) = connection.execute(_OPEN_DEVICES, (first_id, last_id, to_text(now))).fetchone()
            return LeasedBucket(Lease(bucket_id, owner, epoch), header, [*_open_rows.decode(rows)])

        return await self.database.write(work)

    async def renew_leases(self, leases: Sequence[Lease], lease_seconds: float) -> list[HeldLease]:
        def work(connection: sqlite3.Connection, now: datetime) -> list[HeldLease]:
            until, text = later(now, lease_seconds), to_text(now)
            held = []
            for lease in leases:
                parameters = (until, lease.bucket_id, lease.owner, lease.epoch, text)
                for bucket_id, status, expires_at in connection.execute(_RENEW, parameters).fetchall():
                    held.append(HeldLease(bucket_id, TaskStatus(status), expires_at <= text))
            return held

        return await self.database.write(work)

    async def release_bucket(self, lease: Lease, due_seconds: float) -> None:
        def work(connection: sqlite3.Connection, now: datetime) -> None:
            parameters = (lease.bucket_id, lease.owner, lease.epoch, to_text(now), later(now, due_seconds))
            if connection.execute(_RELEASE, parameters).rowcount == 0:
                raise LeaseLost(f"the lease of bucket {lease.bucket_id} at epoch {lease.epoch} is not ours")

        await self.database.write(work)

    async def release_owner(self, owner_prefix: str) -> int:
        def work(connection: sqlite3.Connection, now: datetime) -> int:
            return connection.execute(
                "UPDATE task_buckets SET lease_owner = NULL, lease_until = NULL,"
                " due_at = CASE WHEN pending + sent > 0 THEN ?1 END"
                " WHERE lease_owner IS NOT NULL AND substr(lease_owner, 1, length(?2)) = ?2",
                (to_text(now), owner_prefix),
            ).rowcount

        return await self.database.write(work)


def read_header(connection: sqlite3.Connection, task_id: str) -> TaskHeader:
    row = connection.execute(_HEADER, (task_id,)).fetchone()
    command_type, group, params, status, priority, scheduled_at, expires_at, retry = row
    return TaskHeader(
        task_id,
        command_type,
        ConflictGroup(group),
        None if params is None else msgspec.json.decode(params),
        TaskStatus(status),
        priority,
        from_text(scheduled_at),
        from_text(expires_at),
        msgspec.json.decode(retry, type=RetryPolicy),
    )
