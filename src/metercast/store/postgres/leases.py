"""Buckets and their leases on PostgreSQL."""

from collections.abc import Sequence

from metercast.domain.command import ConflictGroup
from metercast.domain.states import DeviceStatus, TaskStatus
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
from metercast.store.postgres.database import Database
from metercast.store.postgres.times import later
from metercast.store.sql.rows import json_or_none, retry_of

# What is SENT under a dead lease must be decided whatever the task is, and first: it looks busy and is not. What is
# PENDING needs a task that runs.
_DUE = """
SELECT b.bucket_id, b.task_id, t.priority FROM task_buckets b JOIN tasks t ON t.task_id = b.task_id
WHERE b.due_at <= $1 AND (b.lease_until IS NULL OR b.lease_until <= $1) AND t.unsealed_until IS NULL
  AND (b.sent > 0 OR (b.pending > 0 AND t.status = 'IN_PROGRESS'))
ORDER BY t.priority DESC, b.sent = 0, b.due_at, b.bucket_id LIMIT $2
"""

_LEASE = "SELECT * FROM metercast_lease($1, $2, $3, $4)"

# In order of the buckets, as whoever takes several of them.
_RENEW = """
WITH held AS (
  SELECT b.bucket_id, b.task_id
  FROM unnest($1::bigint[], $2::varchar[], $3::integer[]) l (bucket_id, owner, epoch)
  JOIN task_buckets b ON b.bucket_id = l.bucket_id AND b.lease_owner = l.owner AND b.lease_epoch = l.epoch
  WHERE b.lease_until > $4 ORDER BY b.bucket_id FOR UPDATE OF b
)
UPDATE task_buckets b SET lease_until = $5 FROM held, tasks t
WHERE b.bucket_id = held.bucket_id AND t.task_id = held.task_id
RETURNING b.bucket_id, t.status, t.expires_at
"""

_RELEASE = """
UPDATE task_buckets SET lease_owner = NULL, lease_until = NULL,
  due_at = CASE WHEN pending + sent = 0 THEN NULL ELSE $5::timestamptz END
WHERE bucket_id = $1 AND lease_owner = $2 AND lease_epoch = $3 AND lease_until > $4 RETURNING 1
"""

_RELEASE_OWNER = """
UPDATE task_buckets SET lease_owner = NULL, lease_until = NULL,
  due_at = CASE WHEN pending + sent > 0 THEN $1::timestamptz END
WHERE bucket_id IN (
  SELECT bucket_id FROM task_buckets WHERE starts_with(lease_owner, $2) ORDER BY bucket_id FOR UPDATE)
RETURNING 1
"""


class PostgresLeases:
    """Implements the leases of store.attempts.AttemptStore."""

    database: Database

    async def due_buckets(self, limit: int) -> list[DueBucket]:
        return [DueBucket(*row) for row in await self.database.rows(_DUE, self.database.clock(), limit)]

    async def lease_bucket(self, bucket_id: BucketId, owner: str, lease_seconds: float) -> LeasedBucket | None:
        now = self.database.clock()
        row = await self.database.call(_LEASE, bucket_id, owner, later(now, lease_seconds), now)
        if row is None:
            return None
        header = TaskHeader(
            row[0], row[1], ConflictGroup(row[2]), json_or_none(row[3]), TaskStatus(row[4]), row[5], row[6], row[7],
            retry_of(row[8]),
        )  # fmt: skip
        positions, ids, statuses, *others = row[10:20]
        states = map(DeviceStatus, statuses)
        devices = [OpenDevice(*device) for device in zip(positions, ids, states, *others, strict=True)]
        return LeasedBucket(Lease(bucket_id, owner, row[9]), header, devices)

    async def renew_leases(self, leases: Sequence[Lease], lease_seconds: float) -> list[HeldLease]:
        now = self.database.clock()
        rows = await self.database.rows(
            _RENEW,
            [lease.bucket_id for lease in leases],
            [lease.owner for lease in leases],
            [lease.epoch for lease in leases],
            now,
            later(now, lease_seconds),
        )
        return [HeldLease(bucket_id, TaskStatus(status), expires_at <= now) for bucket_id, status, expires_at in rows]

    async def release_bucket(self, lease: Lease, due_seconds: float) -> None:
        now = self.database.clock()
        arguments = (lease.bucket_id, lease.owner, lease.epoch, now, later(now, due_seconds))
        if await self.database.call(_RELEASE, *arguments) is None:
            raise LeaseLost(f"the lease of bucket {lease.bucket_id} at epoch {lease.epoch} is not ours")

    async def release_owner(self, owner_prefix: str) -> int:
        return len(await self.database.rows(_RELEASE_OWNER, self.database.clock(), owner_prefix))
