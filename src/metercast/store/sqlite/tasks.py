"""Tasks on SQLite: create, act upon, move on."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.problem import NotFound
from metercast.domain.states import TASK_TRANSITIONS, TaskEvent, TaskStatus, states_before, task_after
from metercast.domain.task import Task, outcome_of
from metercast.domain.words import ErrorWord
from metercast.store.sqlite.queries import SqliteQueries, find_task, require_task
from metercast.store.sqlite.times import to_text
from metercast.store.tasks import Created, NewTask, UnknownDevices

_UNKNOWN = """
SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM devices WHERE device_id = value)
"""

_INSERT_TASK = """
INSERT INTO tasks (task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, command_params,
  conflict_group, expires_at, priority, requested_by, parent_task_id, retry, body_hash, bucket_size, total)
VALUES (?, ?, ?, ?, 'QUEUED', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# One transaction has the only writer, so the ids of one statement are contiguous.
_INSERT_DEVICES = """
INSERT INTO task_devices (task_id, device_id, command_status, last_updated)
SELECT ?1, value, 'PENDING', ?2 FROM json_each(?3) ORDER BY key
"""

_INSERT_COMMANDS = """
INSERT INTO open_commands (id, device_id, conflict_group, task_id)
SELECT id, device_id, ?3, task_id FROM task_devices WHERE id BETWEEN ?1 AND ?2
"""

_INSERT_BUCKET = "INSERT INTO task_buckets (task_id, first_id, last_id, due_at, pending) VALUES (?, ?, ?, ?, ?)"

_SET_STATUS = "UPDATE tasks SET status = ?, updated_at = ? WHERE task_id = ? AND status = ?"

_CANCEL_DEVICES = """
UPDATE task_devices SET command_status = 'CANCELLED', next_attempt_at = NULL, last_updated = ?2
WHERE task_id = ?1 AND command_status = 'PENDING'
"""
_CANCEL_BUCKETS = """
UPDATE task_buckets SET cancelled = cancelled + pending, pending = 0, due_at = CASE WHEN sent > 0 THEN due_at END
WHERE task_id = ?
"""

# A guess must not look like a plain failure: the meter may have done it.
_EXPIRE_DEVICES = f"""
UPDATE task_devices SET command_status = 'FAILED', next_attempt_at = NULL, last_updated = ?2,
  error_message = CASE WHEN verify_first THEN '{ErrorWord.OUTCOME_UNKNOWN}' ELSE '{ErrorWord.EXPIRED}' END,
  error_detail = 'expired before it succeeded' || CASE WHEN error_message IS NULL THEN ''
    ELSE '; last: ' || error_message || coalesce(': ' || error_detail, '') END
WHERE task_id = ?1 AND command_status = 'PENDING'
"""
_EXPIRE_BUCKETS = """
UPDATE task_buckets SET failed = failed + pending, pending = 0, due_at = CASE WHEN sent > 0 THEN due_at END
WHERE task_id = ?
"""
_FORGET_COMMANDS = """
DELETE FROM open_commands WHERE id IN (
  SELECT o.id FROM task_buckets b JOIN open_commands o ON o.id BETWEEN b.first_id AND b.last_id
  JOIN task_devices d ON d.id = o.id
  WHERE b.task_id = ? AND d.command_status NOT IN ('PENDING', 'SENT'))
"""

_EXPIRED_TASKS = """
SELECT task_id FROM tasks t WHERE outcome IS NULL AND status IN ('QUEUED', 'IN_PROGRESS', 'PAUSED')
  AND expires_at <= ? AND EXISTS (SELECT 1 FROM task_buckets b WHERE b.task_id = t.task_id AND b.pending > 0)
"""

_START_DUE = """
UPDATE tasks SET status = 'IN_PROGRESS', updated_at = ?1
WHERE outcome IS NULL AND status = 'QUEUED' AND scheduled_at <= ?1
RETURNING task_id
"""

_ENDED = """
SELECT task_id FROM tasks t WHERE outcome IS NULL
  AND NOT EXISTS (SELECT 1 FROM task_buckets b WHERE b.task_id = t.task_id AND b.pending + b.sent > 0)
"""
_FINALISE = """
UPDATE tasks SET status = ?, outcome = ?, success = ?, failed = ?, cancelled = ?, updated_at = ?
WHERE task_id = ? AND outcome IS NULL
"""

assert states_before(TASK_TRANSITIONS, TaskEvent.START) == (TaskStatus.QUEUED,)


class SqliteTasks(SqliteQueries):
    """Implements store.tasks.TaskStore."""

    async def create_task(self, task: NewTask, device_ids: Sequence[str], *, allow_unknown: bool) -> Created:
        # What is long and needs no transaction is done before it.
        ids = msgspec.json.encode(device_ids).decode()
        unknown = [] if allow_unknown else await self._unknown(ids)

        def work(connection: sqlite3.Connection, now: datetime) -> Created:
            row = connection.execute("SELECT body_hash FROM tasks WHERE task_id = ?", (task.task_id,)).fetchone()
            if row is not None:
                return Created(require_task(connection, task.task_id), False, row[0] == task.body_hash)
            if unknown:
                raise UnknownDevices(unknown[:10], len(unknown))
            _insert(connection, now, task, ids, len(device_ids))
            return Created(require_task(connection, task.task_id), True, True)

        return await self.database.write(work)

    async def _unknown(self, ids: str) -> list[str]:
        return await self.database.read(
            lambda connection: [row[0] for row in connection.execute(_UNKNOWN, (ids,)).fetchall()]
        )

    async def cancel_task(self, task_id: str) -> Task:
        def work(connection: sqlite3.Connection, now: datetime) -> Task:
            _move(connection, now, task_id, TaskEvent.CANCEL)
            connection.execute(_CANCEL_DEVICES, (task_id, to_text(now)))
            connection.execute(_CANCEL_BUCKETS, (task_id,))
            connection.execute(_FORGET_COMMANDS, (task_id,))
            _finalise(connection, now, task_id)
            return require_task(connection, task_id)

        return await self.database.write(work)

    async def pause_task(self, task_id: str) -> Task:
        def work(connection: sqlite3.Connection, now: datetime) -> Task:
            _move(connection, now, task_id, TaskEvent.PAUSE)
            return require_task(connection, task_id)

        return await self.database.write(work)

    async def resume_task(self, task_id: str) -> Task:
        def work(connection: sqlite3.Connection, now: datetime) -> Task:
            early = require_task(connection, task_id).scheduled_at > now
            _move(connection, now, task_id, TaskEvent.RESUME_EARLY if early else TaskEvent.RESUME)
            return require_task(connection, task_id)

        return await self.database.write(work)

    async def start_due_tasks(self) -> list[str]:
        def work(connection: sqlite3.Connection, now: datetime) -> list[str]:
            return [row[0] for row in connection.execute(_START_DUE, (to_text(now),)).fetchall()]

        return await self.database.write(work)

    async def expire_due(self) -> list[str]:
        def work(connection: sqlite3.Connection, now: datetime) -> list[str]:
            text = to_text(now)
            tasks = [row[0] for row in connection.execute(_EXPIRED_TASKS, (text,)).fetchall()]
            for task_id in tasks:
                connection.execute(_EXPIRE_DEVICES, (task_id, text))
                connection.execute(_EXPIRE_BUCKETS, (task_id,))
                connection.execute(_FORGET_COMMANDS, (task_id,))
            return tasks

        return await self.database.write(work)

    async def finalise_ended(self) -> list[Task]:
        if not await self.database.read(lambda connection: connection.execute(_ENDED).fetchone()):
            return []

        def work(connection: sqlite3.Connection, now: datetime) -> list[Task]:
            ended = [row[0] for row in connection.execute(_ENDED).fetchall()]
            return [require_task(connection, each) for each in ended if _finalise(connection, now, each)]

        return await self.database.write(work)


def _insert(connection: sqlite3.Connection, now: datetime, task: NewTask, ids: str, count: int) -> None:
    # A due time of the past is now: the order of what is due at once is the order in which it was stored.
    created, due = to_text(now), to_text(max(task.scheduled_at, now))
    params = None if task.command_params is None else msgspec.json.encode(task.command_params).decode()
    retry = msgspec.json.encode(task.retry).decode()
    connection.execute(
        _INSERT_TASK,
        (
            task.task_id, task.command_id, task.command_type, due, created, created, params, task.conflict_group,
            to_text(task.expires_at), task.priority, task.requested_by, task.parent_task_id, retry, task.body_hash,
            task.bucket_size, count,
        ),
    )  # fmt: skip
    connection.execute(_INSERT_DEVICES, (task.task_id, created, ids))
    (last,) = connection.execute("SELECT last_insert_rowid()").fetchone()
    first = last - count + 1
    if task.conflict_group is not ConflictGroup.NONE:
        connection.execute(_INSERT_COMMANDS, (first, last, task.conflict_group))
    ends = [(start, min(start + task.bucket_size - 1, last)) for start in range(first, last + 1, task.bucket_size)]
    connection.executemany(_INSERT_BUCKET, [(task.task_id, start, end, due, end - start + 1) for start, end in ends])
    if task.scheduled_at <= now:
        connection.execute(_SET_STATUS, (TaskStatus.IN_PROGRESS, created, task.task_id, TaskStatus.QUEUED))


def _move(connection: sqlite3.Connection, now: datetime, task_id: str, event: TaskEvent) -> None:
    """One guarded write; raises NotFound or IllegalTransition."""
    row = connection.execute("SELECT status FROM tasks WHERE task_id = ?", (task_id,)).fetchone()
    if row is None:
        raise NotFound(f"no task {task_id!r}")
    status = TaskStatus(row[0])
    changed = connection.execute(_SET_STATUS, (task_after(status, event), to_text(now), task_id, status)).rowcount
    assert changed == 1


def _finalise(connection: sqlite3.Connection, now: datetime, task_id: str) -> bool:
    """Final status, outcome and frozen counts, where no device is open. Guarded and idempotent."""
    task = find_task(connection, task_id)
    if task is None or task.outcome is not None or task.counts.open:
        return False
    counts, status = task.counts, task.status
    if status is not TaskStatus.CANCELLED:
        if status is TaskStatus.QUEUED and counts.success:
            status = task_after(status, TaskEvent.START)
        status = task_after(status, TaskEvent.COMPLETE if counts.success else TaskEvent.FAIL)
    outcome = outcome_of(status, counts)
    values = (status, outcome, counts.success, counts.failed, counts.cancelled, to_text(now), task_id)
    return connection.execute(_FINALISE, values).rowcount == 1
