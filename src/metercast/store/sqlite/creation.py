"""Creating tasks on SQLite: small ones in one transaction, large ones in chunks under a header that is not sealed."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.states import TaskEvent, TaskStatus, task_after
from metercast.store.errors import StoreUnavailable
from metercast.store.sqlite import rowids, sweeping
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.queries import require_task
from metercast.store.sqlite.times import later, to_text
from metercast.store.tasks import CREATE_CHUNK, UNSEALED_SECONDS, Created, NewTask, UnknownDevices

# Other writes wait for one of a large task about so long; the time of its commit comes to it.
_WRITE_SECONDS = 0.06

_UNKNOWN = """
SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM devices WHERE device_id = value)
"""

_FIND = "SELECT body_hash, unsealed_until FROM tasks WHERE task_id = ?"

_INSERT_TASK = """
INSERT INTO tasks (task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, command_params,
  conflict_group, expires_at, priority, requested_by, parent_task_id, retry, body_hash, bucket_size, total,
  unsealed_until, follow_up_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_INSERT_DEVICES = """
INSERT INTO task_devices (id, task_id, device_id, command_status, last_updated)
SELECT ?4 + key, ?1, value, 'PENDING', ?2 FROM json_each(?3)
"""
_INSERT_COMMANDS = """
INSERT INTO open_commands (id, device_id, conflict_group, task_id)
SELECT id, device_id, ?3, task_id FROM task_devices WHERE id BETWEEN ?1 AND ?2
"""
_INSERT_BUCKET = """
INSERT INTO task_buckets (bucket_id, task_id, first_id, last_id, due_at, pending) VALUES (?, ?, ?, ?, ?, ?)
"""

_HOLD = "UPDATE tasks SET unsealed_until = ?3 WHERE task_id = ?1 AND unsealed_until = ?2 AND unsealed_until > ?4"
_LET_GO = "UPDATE tasks SET unsealed_until = min(unsealed_until, ?3) WHERE task_id = ?1 AND unsealed_until <= ?2"
_SEAL_BUCKETS = "UPDATE task_buckets SET due_at = ?2 WHERE task_id = ?1"
_SEAL = """
UPDATE tasks SET unsealed_until = NULL, scheduled_at = ?3, status = ?4, created_at = ?5, updated_at = ?5
WHERE task_id = ?1 AND unsealed_until = ?2
"""


class SqliteCreation:
    """Implements the creation of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def create_task(self, task: NewTask, device_ids: Sequence[str], *, allow_unknown: bool) -> Created:
        if not len(device_ids):
            raise ValueError("a task has at least one device")
        create = self._at_once if len(device_ids) <= CREATE_CHUNK else self._in_chunks
        while True:
            try:
                return await create(task, device_ids, allow_unknown)
            except _Leftover:
                await sweeping.clear(self.database, task.task_id)

    async def _at_once(self, task: NewTask, device_ids: Sequence[str], allow_unknown: bool) -> Created:
        # What is long and needs no transaction is done before it.
        chunk = await _read(self.database, device_ids, 0, len(device_ids), allow_unknown)

        def work(connection: sqlite3.Connection, now: datetime) -> Created:
            found = _found(connection, now, task)
            if found is not None:
                return found
            if chunk.unknown:
                raise UnknownDevices(chunk.unknown[:10], len(chunk.unknown))
            text, (status, due) = to_text(now), _start(task, now)
            _insert_header(connection, task, len(chunk.ids), status, due, text, None)
            _insert_devices(connection, task, chunk.ids, text, due)
            return Created(require_task(connection, task.task_id), True, True)

        return await self.database.write(work)

    async def _in_chunks(self, task: NewTask, device_ids: Sequence[str], allow_unknown: bool) -> Created:
        creation = _Creation(self.database, task, len(device_ids))
        try:
            found = await creation.open()
            if found is not None:
                return found
            await creation.fill(device_ids, allow_unknown)
            return await creation.seal()
        except BaseException:
            with contextlib.suppress(StoreUnavailable):  # then its time runs out
                await asyncio.shield(creation.let_go())
            raise


class _Leftover(Exception):
    """A dead creation has left something under this id."""


class _Chunk(NamedTuple):
    """Device ids, and those of them that are not registered."""

    ids: list[str]
    unknown: list[str]


class _Creation:
    """One task that is written in chunks. `until` is its claim: the only one that is not later than any of ours."""

    def __init__(self, database: Database, task: NewTask, total: int) -> None:
        self._database = database
        self._task = task
        self._total = total
        self._until: str | None = None
        self._buckets = 1 + CREATE_CHUNK // 4 // task.bucket_size  # that are written at once

    async def open(self) -> Created | None:
        """Writes the header, or finds the task."""
        task = self._task

        def work(connection: sqlite3.Connection, now: datetime) -> Created | None:
            found = _found(connection, now, task)
            if found is None:
                text, self._until = to_text(now), later(now, UNSEALED_SECONDS)
                due = to_text(task.scheduled_at)
                _insert_header(connection, task, self._total, TaskStatus.QUEUED, due, text, self._until)
            return found

        return await self._database.write(work)

    async def fill(self, device_ids: Sequence[str], allow_unknown: bool) -> None:
        """The devices, whole buckets at a time; the next chunk is read while one is written."""
        unknown: list[str] = []
        missing = 0
        size = CREATE_CHUNK - CREATE_CHUNK % self._task.bucket_size
        starts = range(0, self._total, size)
        ahead = asyncio.ensure_future(_read(self._database, device_ids, 0, size, allow_unknown))
        try:
            for start in starts:
                chunk = await ahead
                if start != starts[-1]:
                    ahead = asyncio.ensure_future(
                        _read(self._database, device_ids, start + size, start + 2 * size, allow_unknown)
                    )
                unknown += chunk.unknown[: 10 - len(unknown)]
                missing += len(chunk.unknown)
                if not missing:
                    await self._write(chunk.ids)
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
        if missing:
            raise UnknownDevices(unknown, missing)

    async def _write(self, ids: list[str]) -> None:
        written = 0
        while written < len(ids):
            part = ids[written : written + self._buckets * self._task.bucket_size]
            seconds = await self._write_some(part)
            written += len(part)
            fitting = self._buckets * min(2.0, _WRITE_SECONDS / seconds)
            self._buckets = max(1, min(int(fitting), CREATE_CHUNK // self._task.bucket_size))

    async def _write_some(self, ids: list[str]) -> float:
        """How long the writer was at it, in seconds."""

        def work(connection: sqlite3.Connection, now: datetime) -> float:
            start = time.perf_counter()
            self._hold(connection, now)
            _insert_devices(connection, self._task, ids, to_text(now), None)
            return time.perf_counter() - start

        return await self._database.write(work)

    async def seal(self) -> Created:
        task = self._task

        def work(connection: sqlite3.Connection, now: datetime) -> Created:
            self._hold(connection, now)
            status, due = _start(task, now)
            connection.execute(_SEAL_BUCKETS, (task.task_id, due))
            connection.execute(_SEAL, (task.task_id, self._until, due, status, to_text(now)))
            created = require_task(connection, task.task_id)
            assert created.counts.pending == created.counts.total
            return Created(created, True, True)

        return await self._database.write(work)

    async def let_go(self) -> None:
        """Ends the claim now: what was written may be swept. Comes after every write that was asked for before."""
        if self._until is not None:
            await self._database.write(
                lambda connection, now: connection.execute(_LET_GO, (self._task.task_id, self._until, to_text(now)))
            )

    def _hold(self, connection: sqlite3.Connection, now: datetime) -> None:
        until = later(now, UNSEALED_SECONDS)
        held = connection.execute(_HOLD, (self._task.task_id, self._until, until, to_text(now))).rowcount
        if not held:
            raise StoreUnavailable(f"the creation of task {self._task.task_id} took too long and is given up")
        self._until = until


async def _read(database: Database, device_ids: Sequence[str], start: int, end: int, allow_unknown: bool) -> _Chunk:
    """Reads one slice, on a thread: it may come from a file."""

    def unknown(connection: sqlite3.Connection) -> list[str]:
        return [row[0] for row in connection.execute(_UNKNOWN, (msgspec.json.encode(ids).decode(),))]

    ids = await asyncio.to_thread(lambda: device_ids[start:end])
    return _Chunk(list(ids), [] if allow_unknown else await database.read(unknown))


def _found(connection: sqlite3.Connection, now: datetime, task: NewTask) -> Created | None:
    """The task that has this id already. Raises _Leftover, or StoreUnavailable while another call creates it."""
    row = connection.execute(_FIND, (task.task_id,)).fetchone()
    if row is None:
        return None
    body_hash, unsealed_until = row
    if unsealed_until is None:
        return Created(require_task(connection, task.task_id), False, body_hash == task.body_hash)
    if unsealed_until > to_text(now):
        raise StoreUnavailable(f"task {task.task_id} is being created by another request")
    raise _Leftover


def _start(task: NewTask, now: datetime) -> tuple[TaskStatus, str]:
    """A due time of the past is now: the order of what is due at once is the order in which it was stored."""
    if task.scheduled_at > now:
        return TaskStatus.QUEUED, to_text(task.scheduled_at)
    return task_after(TaskStatus.QUEUED, TaskEvent.START), to_text(now)


def _insert_header(
    connection: sqlite3.Connection,
    task: NewTask,
    count: int,
    status: TaskStatus,
    due: str,
    created: str,
    unsealed_until: str | None,
) -> None:
    params = None if task.command_params is None else msgspec.json.encode(task.command_params).decode()
    connection.execute(
        _INSERT_TASK,
        (
            task.task_id, task.command_id, task.command_type, due, status, created, created, params,
            task.conflict_group, to_text(task.expires_at), task.priority, task.requested_by, task.parent_task_id,
            msgspec.json.encode(task.retry).decode(), task.body_hash, task.bucket_size, count, unsealed_until,
            None if task.follow_up_at is None else to_text(task.follow_up_at),
        ),
    )  # fmt: skip


def _insert_devices(
    connection: sqlite3.Connection, task: NewTask, ids: list[str], created: str, due: str | None
) -> None:
    """With their buckets, which are not due where `due` is None."""
    first = rowids.next_device(connection)
    last = first + len(ids) - 1
    connection.execute(_INSERT_DEVICES, (task.task_id, created, msgspec.json.encode(ids).decode(), first))
    if task.conflict_group is not ConflictGroup.NONE:
        connection.execute(_INSERT_COMMANDS, (first, last, task.conflict_group))
    ranges = [(start, min(start + task.bucket_size - 1, last)) for start in range(first, last + 1, task.bucket_size)]
    numbered = enumerate(ranges, rowids.next_bucket(connection))
    connection.executemany(
        _INSERT_BUCKET, [(number, task.task_id, start, end, due, end - start + 1) for number, (start, end) in numbered]
    )
