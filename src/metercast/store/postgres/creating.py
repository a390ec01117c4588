"""Creating a task on PostgreSQL: a header that nobody sees, its devices by COPY, and a seal that makes the task be."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from metercast.domain.command import ConflictGroup
from metercast.domain.states import TaskStatus
from metercast.domain.task import Task
from metercast.store.errors import StoreUnavailable
from metercast.store.postgres.database import Connection, Database
from metercast.store.postgres.queries import require_task
from metercast.store.postgres.sweep import Sweeper
from metercast.store.sql.buckets import bucket_ranges, whole_buckets
from metercast.store.sql.rows import json_text
from metercast.store.tasks import CREATE_CHUNK, UNSEALED_SECONDS, Created, NewTask, UnknownDevices

_SHOWN = 10

_FIND = "SELECT body_hash, unsealed_until FROM tasks WHERE task_id = $1"

_UNKNOWN = """
SELECT u.id FROM unnest($1::varchar[]) WITH ORDINALITY u (id, place)
WHERE NOT EXISTS (SELECT FROM devices d WHERE d.device_id = u.id) ORDER BY u.place
"""

_IDS = "SELECT metercast_ids($1)"

_INSERT = """
INSERT INTO tasks (task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, command_params,
  conflict_group, expires_at, priority, requested_by, parent_task_id, retry, body_hash, bucket_size, total, first_id,
  unsealed_until, follow_up_at)
VALUES ($1, $2, $3, $4, 'QUEUED', $5, $5, $6::text::json, $7, $8, $9, $10, $11, $12::text::json, $13, $14, $15, $16,
  $17, $18)
ON CONFLICT (task_id) DO NOTHING RETURNING 1
"""
_CLAIM = """
UPDATE tasks SET unsealed_until = $3
WHERE task_id = $1 AND first_id = $2 AND unsealed_until > $4 RETURNING 1
"""
_UNCLAIM = "UPDATE tasks SET unsealed_until = $3 WHERE task_id = $1 AND first_id = $2 AND unsealed_until IS NOT NULL"

DEVICE_COLUMNS = ("id", "task_id", "device_id", "command_status", "last_updated")
COMMAND_COLUMNS = ("id", "device_id", "conflict_group", "task_id")
_BUCKETS = """
INSERT INTO task_buckets (task_id, first_id, last_id, pending)
SELECT $1, b.first_id, b.last_id, b.last_id - b.first_id + 1
FROM unnest($2::bigint[], $3::bigint[]) b (first_id, last_id)
"""

# A batch of begins of the group sees the sealed task or began before it was: whatever has begun is then older.
_IN_ORDER = "SELECT pg_advisory_xact_lock(1296257363, 2)"
_SEAL_BUCKETS = "UPDATE task_buckets SET due_at = $2 WHERE task_id = $1"
_SEAL = """
UPDATE tasks SET unsealed_until = NULL, scheduled_at = $3, created_at = $4, updated_at = $4, status = $5
WHERE task_id = $1 AND first_id = $2 AND unsealed_until > $4 RETURNING 1
"""


class Creator:
    """See store.tasks.TaskStore.create_task. `first_id`, which no other creation has, tells whose a header is."""

    def __init__(self, database: Database, sweeper: Sweeper) -> None:
        self._database = database
        self._sweeper = sweeper

    async def create(self, task: NewTask, device_ids: Sequence[str], *, allow_unknown: bool) -> Created:
        if not len(device_ids):
            raise ValueError("a task has at least one device")
        found = await self._find(task)
        if found is not None:
            return found
        if not allow_unknown:
            await self._check_known(device_ids)
        first = (await self._database.call(_IDS, len(device_ids)))[0]
        if len(device_ids) <= CREATE_CHUNK:
            return await self._create_at_once(task, first, device_ids)
        return await self._create_in_chunks(task, first, device_ids)

    async def _find(self, task: NewTask) -> Created | None:
        """The task that has this id already. What a dead creation left of it is swept. Raises StoreUnavailable."""
        row = await self._database.call(_FIND, task.task_id)
        if row is not None and row[1] is not None and row[1] <= self._database.clock():
            await self._sweeper.sweep_task(task.task_id)
            return None
        if row is None:
            return None
        return await self._database.read(lambda connection: _found(connection, task))

    async def _check_known(self, device_ids: Sequence[str]) -> None:
        first: list[str] = []
        count = 0
        async for each in _slices(device_ids, CREATE_CHUNK):
            rows = await self._database.rows(_UNKNOWN, each)
            first += [row[0] for row in rows[: _SHOWN - len(first)]]
            count += len(rows)
        if count:
            raise UnknownDevices(first, count)

    async def _create_at_once(self, task: NewTask, first: int, device_ids: Sequence[str]) -> Created:
        (ids,) = [each async for each in _slices(device_ids, len(device_ids))]

        async def work(connection: Connection, now: datetime) -> Created:
            if not await _insert(connection, now, task, first, len(ids)):
                return await _found(connection, task)
            await _write_chunk(connection, now, task, first, ids)
            return Created(await self._seal(connection, now, task, first), True, True)

        return await self._database.write(work)

    async def _create_in_chunks(self, task: NewTask, first: int, device_ids: Sequence[str]) -> Created:
        total = len(device_ids)

        async def begin(connection: Connection, now: datetime) -> Created | None:
            inserted = await _insert(connection, now, task, first, total)
            return None if inserted else await _found(connection, task)

        async def seal(connection: Connection, now: datetime) -> Created:
            return Created(await self._seal(connection, now, task, first), True, True)

        try:
            found = await self._database.write(begin, repeat=False)
            if found is not None:
                return found
            step = whole_buckets(CREATE_CHUNK, task.bucket_size)
            start = first
            async for each in _slices(device_ids, step):
                await self._add_chunk(task, start, first, each)
                start += len(each)
            return await self._database.write(seal, repeat=False)
        except BaseException:
            await self._let_go(task, first)
            raise

    async def _add_chunk(self, task: NewTask, start: int, first: int, device_ids: Sequence[str]) -> None:
        async def work(connection: Connection, now: datetime) -> None:
            until = now + timedelta(seconds=UNSEALED_SECONDS)
            if await connection.fetchrow(_CLAIM, task.task_id, first, until, now) is None:
                raise StoreUnavailable(f"task {task.task_id} was not written in time")
            await _write_chunk(connection, now, task, start, device_ids)

        await self._database.write(work, repeat=False)

    async def _seal(self, connection: Connection, now: datetime, task: NewTask, first: int) -> Task:
        if task.conflict_group is not ConflictGroup.NONE:
            await connection.execute(_IN_ORDER)
            now = self._database.clock()
        # A due time of the past is now: the order of what is due at once is the order in which it was stored.
        due = max(task.scheduled_at, now)
        status = TaskStatus.IN_PROGRESS if task.scheduled_at <= now else TaskStatus.QUEUED
        await connection.execute(_SEAL_BUCKETS, task.task_id, due)
        if await connection.fetchrow(_SEAL, task.task_id, first, due, now, status) is None:
            raise StoreUnavailable(f"task {task.task_id} was not written in time")
        return await require_task(connection, task.task_id)

    async def _let_go(self, task: NewTask, first: int) -> None:
        """The claim ends now, so that the next sweep takes what was written."""
        work = self._database.call(_UNCLAIM, task.task_id, first, self._database.clock())
        with contextlib.suppress(StoreUnavailable, asyncio.CancelledError):
            await asyncio.shield(asyncio.ensure_future(work))


async def _slices(device_ids: Sequence[str], count: int) -> AsyncIterator[list[str]]:
    """All of them. A slice may wait for a disk."""
    for start in range(0, len(device_ids), count):
        yield list(await asyncio.to_thread(device_ids.__getitem__, slice(start, start + count)))


async def _found(connection: Connection, task: NewTask) -> Created:
    row = await connection.fetchrow(_FIND, task.task_id)
    if row is None or row[1] is not None:
        raise StoreUnavailable(f"task {task.task_id} is being created by another request")
    return Created(await require_task(connection, task.task_id), False, row[0] == task.body_hash)


async def _insert(connection: Connection, now: datetime, task: NewTask, first: int, total: int) -> bool:
    """Whether the header is ours now; else there is one with this id."""
    inserted = await connection.fetchrow(
        _INSERT, task.task_id, task.command_id, task.command_type, task.scheduled_at, now,
        json_text(task.command_params), task.conflict_group, task.expires_at, task.priority, task.requested_by,
        task.parent_task_id, json_text(task.retry), task.body_hash, task.bucket_size, total, first,
        now + timedelta(seconds=UNSEALED_SECONDS), task.follow_up_at,
    )  # fmt: skip
    return inserted is not None


async def _write_chunk(
    connection: Connection, now: datetime, task: NewTask, start: int, device_ids: Sequence[str]
) -> None:
    """Whole buckets, but for the task's last."""
    task_id, pending = task.task_id, "PENDING"
    devices = [(number, task_id, device_id, pending, now) for number, device_id in enumerate(device_ids, start)]
    await copy(connection, "task_devices", DEVICE_COLUMNS, devices)
    if task.conflict_group is not ConflictGroup.NONE:
        group = task.conflict_group.value
        commands = [(number, device_id, group, task_id) for number, device_id in enumerate(device_ids, start)]
        await copy(connection, "open_commands", COMMAND_COLUMNS, commands)
    ranges = list(bucket_ranges(start, len(device_ids), task.bucket_size))
    await connection.execute(_BUCKETS, task_id, [first for first, _ in ranges], [last for _, last in ranges])


async def copy(connection: Connection, table: str, columns: Sequence[str], records: Iterable[tuple[Any, ...]]) -> None:
    await connection.copy_records_to_table(table, columns=columns, records=records)
