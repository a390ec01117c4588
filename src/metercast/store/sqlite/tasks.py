"""Tasks on SQLite: act upon, move on."""

import sqlite3
from datetime import datetime

from metercast.domain.problem import NotFound
from metercast.domain.states import TASK_TRANSITIONS, TaskEvent, TaskStatus, states_before, task_after
from metercast.domain.task import Task, final_state
from metercast.domain.words import ErrorWord
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.queries import find_task, require_task
from metercast.store.sqlite.times import to_text

_STATUS = "SELECT status FROM tasks WHERE task_id = ? AND unsealed_until IS NULL"
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
SELECT task_id FROM tasks t
WHERE outcome IS NULL AND unsealed_until IS NULL AND status IN ('QUEUED', 'IN_PROGRESS', 'PAUSED') AND expires_at <= ?
  AND EXISTS (SELECT 1 FROM task_buckets b WHERE b.task_id = t.task_id AND b.due_at IS NOT NULL AND b.pending > 0)
"""

_START_DUE = """
UPDATE tasks SET status = 'IN_PROGRESS', updated_at = ?1
WHERE outcome IS NULL AND unsealed_until IS NULL AND status = 'QUEUED' AND scheduled_at <= ?1
RETURNING task_id
"""

# A bucket has a due time while a device of it is open.
_ENDED = """
SELECT task_id FROM tasks t WHERE outcome IS NULL AND unsealed_until IS NULL
  AND NOT EXISTS (SELECT 1 FROM task_buckets b WHERE b.task_id = t.task_id AND b.due_at IS NOT NULL)
"""
_FINALISE = """
UPDATE tasks SET status = ?, outcome = ?, success = ?, failed = ?, cancelled = ?, updated_at = ?
WHERE task_id = ? AND outcome IS NULL
"""

_SETTLE_FOLLOW_UP = """
UPDATE tasks SET follow_up_task_id = ?2, follow_up_at = CASE WHEN ?2 IS NOT NULL THEN follow_up_at END
WHERE task_id = ?1 AND follow_up_at IS NOT NULL AND follow_up_task_id IS NULL
"""

assert states_before(TASK_TRANSITIONS, TaskEvent.START) == (TaskStatus.QUEUED,)


class SqliteTasks:
    """Implements the acting half of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

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

    async def settle_follow_up(self, task_id: str, follow_up_task_id: str | None) -> None:
        await self.database.write(
            lambda connection, now: connection.execute(_SETTLE_FOLLOW_UP, (task_id, follow_up_task_id)).rowcount
        )

    async def finalise_ended(self) -> list[Task]:
        if not await self.database.read(lambda connection: connection.execute(_ENDED).fetchone()):
            return []

        def work(connection: sqlite3.Connection, now: datetime) -> list[Task]:
            ended = [row[0] for row in connection.execute(_ENDED).fetchall()]
            return [require_task(connection, each) for each in ended if _finalise(connection, now, each)]

        return await self.database.write(work)


def _move(connection: sqlite3.Connection, now: datetime, task_id: str, event: TaskEvent) -> None:
    """One guarded write; raises NotFound or IllegalTransition."""
    row = connection.execute(_STATUS, (task_id,)).fetchone()
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
    counts = task.counts
    status, outcome = final_state(task.status, counts)
    values = (status, outcome, counts.success, counts.failed, counts.cancelled, to_text(now), task_id)
    return connection.execute(_FINALISE, values).rowcount == 1
