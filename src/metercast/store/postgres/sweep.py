"""Retention on PostgreSQL: final tasks leave the sight of all, and are then deleted in short transactions."""

from datetime import datetime

from metercast.store.postgres.database import Connection, Database

# One whose follow-up is still to come is not done with.
_ENDED = """
outcome IS NOT NULL AND unsealed_until IS NULL AND updated_at < $1 AND created_at < $1
AND (follow_up_at IS NULL OR follow_up_task_id IS NOT NULL)
"""
_COUNT = f"SELECT count(*) FROM tasks WHERE {_ENDED}"
_RETIRE = f"""
UPDATE tasks SET unsealed_until = $2 WHERE task_id IN (
  SELECT task_id FROM tasks WHERE {_ENDED} ORDER BY created_at, task_id LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING 1
"""

# Whoever creates a task, or sweeps it, has its header locked.
_ANY = """
SELECT task_id FROM tasks WHERE unsealed_until <= $1 ORDER BY unsealed_until LIMIT 1 FOR UPDATE
"""
_ONE = "SELECT task_id FROM tasks WHERE task_id = $2 AND unsealed_until <= $1 FOR UPDATE"

_BUCKETS = "SELECT bucket_id, first_id, last_id FROM task_buckets WHERE task_id = $1 ORDER BY first_id LIMIT $2"
_PARTS = (
    ("task_device_attempts", "task_device_id"),
    ("task_device_results", "task_device_id"),
    ("open_commands", "id"),
    ("task_devices", "id"),
)
_DELETE_BUCKETS = "DELETE FROM task_buckets WHERE bucket_id = ANY ($1::bigint[])"
_CUT_BUCKET = "UPDATE task_buckets SET first_id = $2 WHERE bucket_id = $1"
_DELETE_HEADER = "DELETE FROM tasks WHERE task_id = $1"

_STEP = 20_000


class Sweeper:
    """The retention calls of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count_ended(self, ended_before: datetime) -> int:
        row = await self._database.call(_COUNT, ended_before)
        return int(row[0])

    async def retire(self, ended_before: datetime, limit: int) -> int:
        return len(await self._database.rows(_RETIRE, ended_before, self._database.clock(), limit))

    async def sweep(self, limit: int) -> int:
        async def work(connection: Connection, now: datetime) -> int:
            task_id = await connection.fetchval(_ANY, now)
            return 0 if task_id is None else await _sweep_some(connection, task_id, limit)

        return await self._database.write(work)

    async def sweep_task(self, task_id: str) -> None:
        """All that a dead creation left of it."""

        async def work(connection: Connection, now: datetime) -> int:
            found = await connection.fetchval(_ONE, now, task_id)
            return 0 if found is None else await _sweep_some(connection, task_id, _STEP)

        while await self._database.write(work):
            pass


async def _sweep_some(connection: Connection, task_id: str, limit: int) -> int:
    buckets = await connection.fetch(_BUCKETS, task_id, max(limit, 1))
    deleted, left = 0, max(limit, 1)
    gone: list[int] = []
    for bucket_id, first, last in buckets:
        if left <= 0:
            break
        end = min(last, first + left - 1)
        left -= end - first + 1
        deleted += await delete_range(connection, first, end)
        if end == last:
            gone.append(bucket_id)
        else:
            await connection.execute(_CUT_BUCKET, bucket_id, end + 1)
    await connection.execute(_DELETE_BUCKETS, gone)
    deleted += len(gone)
    if len(gone) == len(buckets) and len(buckets) < max(limit, 1):
        await connection.execute(_DELETE_HEADER, task_id)
        deleted += 1
    return deleted


async def delete_range(connection: Connection, first: int, last: int) -> int:
    """Device rows, and all that hangs on them; how many devices."""
    said = ""
    for table, column in _PARTS:
        said = await connection.execute(f"DELETE FROM {table} WHERE {column} BETWEEN $1 AND $2", first, last)
    return int(said.rpartition(" ")[2])
