"""What nobody sees any more, on SQLite: old tasks are retired, and what is not sealed is deleted little by little."""

import sqlite3
from datetime import datetime

from metercast.store.sqlite import rowids
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.times import to_text

_CLEARED_AT_ONCE = 5000

# One whose follow-up is still to come is not done with.
_ENDED = """
outcome IS NOT NULL AND unsealed_until IS NULL AND (follow_up_at IS NULL OR follow_up_task_id IS NOT NULL)
"""
_COUNT_ENDED = f"SELECT count(*) FROM tasks WHERE {_ENDED} AND updated_at < ?"
_RETIRE = f"""
UPDATE tasks SET unsealed_until = ?1 WHERE task_id IN (
  SELECT task_id FROM tasks WHERE {_ENDED} AND updated_at < ?2 ORDER BY updated_at LIMIT ?3)
"""

_ANY_DEAD = "SELECT task_id FROM tasks WHERE unsealed_until <= ? LIMIT 1"
_DEAD = "SELECT task_id FROM tasks WHERE task_id = ? AND unsealed_until <= ?"

# In one task, ids of buckets ascend as those of their devices do.
_FIRST_BUCKET = """
SELECT bucket_id, first_id, last_id FROM task_buckets WHERE task_id = ? ORDER BY bucket_id LIMIT 1
"""
_DELETE_DEVICES = (
    "DELETE FROM task_device_attempts WHERE task_device_id BETWEEN ? AND ?",
    "DELETE FROM task_device_results WHERE task_device_id BETWEEN ? AND ?",
    "DELETE FROM open_commands WHERE id BETWEEN ? AND ?",
    "DELETE FROM task_devices WHERE id BETWEEN ? AND ?",
)


class SqliteSweeping:
    """Implements the retention of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def count_ended(self, ended_before: datetime) -> int:
        before = to_text(ended_before)
        return await self.database.read(
            lambda connection: int(connection.execute(_COUNT_ENDED, (before,)).fetchone()[0])
        )

    async def retire_tasks(self, ended_before: datetime, limit: int) -> int:
        before = to_text(ended_before)
        return await self.database.write(
            lambda connection, now: connection.execute(_RETIRE, (to_text(now), before, limit)).rowcount
        )

    async def sweep_unsealed(self, limit: int) -> int:
        now = to_text(self.database.clock())
        if not await self.database.read(lambda connection: connection.execute(_ANY_DEAD, (now,)).fetchone()):
            return 0

        def work(connection: sqlite3.Connection, now: datetime) -> int:
            deleted = 0
            while deleted < limit:
                dead = connection.execute(_ANY_DEAD, (to_text(now),)).fetchone()
                if dead is None:
                    break
                deleted += _delete(connection, dead[0], limit - deleted)
            return deleted

        return await self.database.write(work)


async def clear(database: Database, task_id: str) -> None:
    """Deletes what a dead creation left of this task, in short transactions."""

    def work(connection: sqlite3.Connection, now: datetime) -> int:
        if connection.execute(_DEAD, (task_id, to_text(now))).fetchone() is None:
            return 0
        return _delete(connection, task_id, _CLEARED_AT_ONCE)

    while await database.write(work):
        pass


def _delete(connection: sqlite3.Connection, task_id: str, limit: int) -> int:
    """Up to `limit` devices of the task, and its header with the last; the number of rows of both. Never 0."""
    deleted = 0
    while deleted < limit:
        bucket = connection.execute(_FIRST_BUCKET, (task_id,)).fetchone()
        if bucket is None:
            connection.execute("DELETE FROM tasks WHERE task_id = ?", (task_id,))
            return deleted + 1
        bucket_id, first, end = bucket
        last = min(end, first + limit - deleted - 1)
        for statement in _DELETE_DEVICES:
            connection.execute(statement, (first, last))
        rowids.remember(connection, rowids.DEVICES, last)
        if last == end:
            connection.execute("DELETE FROM task_buckets WHERE bucket_id = ?", (bucket_id,))
            rowids.remember(connection, rowids.BUCKETS, bucket_id)
        else:
            connection.execute("UPDATE task_buckets SET first_id = ? WHERE bucket_id = ?", (last + 1, bucket_id))
        deleted += last - first + 1
    return deleted
