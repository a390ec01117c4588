"""Tasks on PostgreSQL: create, act upon, move on."""

from collections.abc import Sequence
from datetime import datetime

from metercast.domain.problem import NotFound
from metercast.domain.states import TASK_TRANSITIONS, TaskEvent, TaskStatus, states_before, task_after
from metercast.domain.task import Task, final_state
from metercast.domain.words import ErrorWord
from metercast.store.postgres.creating import Creator
from metercast.store.postgres.database import Connection, Database
from metercast.store.postgres.queries import PostgresQueries, find_task, require_task
from metercast.store.postgres.sweep import Sweeper
from metercast.store.postgres.texts import findable
from metercast.store.tasks import Created, NewTask

# Whatever moves a task has its header locked first, then its buckets in their order.
_LOCK = "SELECT status FROM tasks WHERE task_id = $1 AND unsealed_until IS NULL FOR NO KEY UPDATE"
_LOCK_BUCKETS = "SELECT FROM task_buckets WHERE task_id = $1 AND pending > 0 ORDER BY bucket_id FOR UPDATE"
_SET_STATUS = "UPDATE tasks SET status = $2, updated_at = $3 WHERE task_id = $1"

# Of a million devices in one transaction.
_LONG_SECONDS = 600.0
_LONG = f"SET LOCAL statement_timeout = {round(_LONG_SECONDS * 1000)}"

_DEVICES = """
FROM task_buckets b
WHERE b.task_id = $1 AND b.pending > 0 AND d.id BETWEEN b.first_id AND b.last_id AND d.command_status = 'PENDING'
"""
_CANCEL_DEVICES = f"""
UPDATE task_devices d SET command_status = 'CANCELLED', next_attempt_at = NULL, last_updated = $2 {_DEVICES}
"""
_CANCEL_BUCKETS = """
UPDATE task_buckets SET cancelled = cancelled + pending, pending = 0, due_at = CASE WHEN sent > 0 THEN due_at END
WHERE task_id = $1 AND pending > 0
"""

# A guess must not look like a plain failure: the meter may have done it.
_EXPIRE_DEVICES = f"""
UPDATE task_devices d SET command_status = 'FAILED', next_attempt_at = NULL, last_updated = $2,
  error_message = CASE WHEN d.verify_first THEN '{ErrorWord.OUTCOME_UNKNOWN}' ELSE '{ErrorWord.EXPIRED}' END,
  error_detail = 'expired before it succeeded' || CASE WHEN d.error_message IS NULL THEN ''
    ELSE '; last: ' || d.error_message || coalesce(': ' || d.error_detail, '') END {_DEVICES}
"""
_EXPIRE_BUCKETS = """
UPDATE task_buckets SET failed = failed + pending, pending = 0, due_at = CASE WHEN sent > 0 THEN due_at END
WHERE task_id = $1 AND pending > 0
"""
_FORGET_COMMANDS = """
WITH final AS (
  SELECT o.id FROM task_buckets b JOIN open_commands o ON o.id BETWEEN b.first_id AND b.last_id
  JOIN task_devices d ON d.id = o.id
  WHERE b.task_id = $1 AND d.command_status NOT IN ('PENDING', 'SENT') ORDER BY o.id FOR UPDATE OF o)
DELETE FROM open_commands o USING final WHERE o.id = final.id
"""

_EXPIRED_TASKS = """
SELECT task_id FROM tasks t WHERE outcome IS NULL AND status IN ('QUEUED', 'IN_PROGRESS', 'PAUSED')
  AND unsealed_until IS NULL AND expires_at <= $1
  AND EXISTS (SELECT FROM task_buckets b WHERE b.task_id = t.task_id AND b.pending > 0)
"""

_START_DUE = """
UPDATE tasks SET status = 'IN_PROGRESS', updated_at = $1
WHERE outcome IS NULL AND status = 'QUEUED' AND scheduled_at <= $1 AND unsealed_until IS NULL
RETURNING task_id
"""

_ENDED = """
SELECT task_id FROM tasks t WHERE outcome IS NULL AND unsealed_until IS NULL
  AND NOT EXISTS (SELECT FROM task_buckets b WHERE b.task_id = t.task_id AND b.pending + b.sent > 0)
"""
_FINALISE = """
UPDATE tasks SET status = $2, outcome = $3, success = $4, failed = $5, cancelled = $6, updated_at = $7
WHERE task_id = $1 AND outcome IS NULL
"""

assert states_before(TASK_TRANSITIONS, TaskEvent.START) == (TaskStatus.QUEUED,)

_SETTLE_FOLLOW_UP = """
UPDATE tasks SET follow_up_task_id = $2::varchar,
  follow_up_at = CASE WHEN $2::varchar IS NOT NULL THEN follow_up_at END
WHERE task_id = $1 AND follow_up_at IS NOT NULL AND follow_up_task_id IS NULL
"""


class PostgresTasks(PostgresQueries):
    """Implements store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._sweeper = Sweeper(database)
        self._creator = Creator(database, self._sweeper)

    async def create_task(self, task: NewTask, device_ids: Sequence[str], *, allow_unknown: bool) -> Created:
        return await self._creator.create(task, device_ids, allow_unknown=allow_unknown)

    async def cancel_task(self, task_id: str) -> Task:
        async def work(connection: Connection, now: datetime) -> Task:
            await _move(connection, now, task_id, TaskEvent.CANCEL)
            await _end_pending(connection, now, task_id, _CANCEL_DEVICES, _CANCEL_BUCKETS)
            await _finalise(connection, now, task_id)
            return await require_task(connection, task_id)

        return await self.database.write(work, repeat=False)

    async def pause_task(self, task_id: str) -> Task:
        async def work(connection: Connection, now: datetime) -> Task:
            await _move(connection, now, task_id, TaskEvent.PAUSE)
            return await require_task(connection, task_id)

        return await self.database.write(work, repeat=False)

    async def resume_task(self, task_id: str) -> Task:
        async def work(connection: Connection, now: datetime) -> Task:
            early = (await require_task(connection, task_id)).scheduled_at > now
            await _move(connection, now, task_id, TaskEvent.RESUME_EARLY if early else TaskEvent.RESUME)
            return await require_task(connection, task_id)

        return await self.database.write(work, repeat=False)

    async def start_due_tasks(self) -> list[str]:
        return [row[0] for row in await self.database.rows(_START_DUE, self.database.clock())]

    async def expire_due(self) -> list[str]:
        tasks = [row[0] for row in await self.database.rows(_EXPIRED_TASKS, self.database.clock())]
        return [task_id for task_id in tasks if await self._expire(task_id)]

    async def _expire(self, task_id: str) -> bool:
        async def work(connection: Connection, now: datetime) -> bool:
            status = await connection.fetchval(_LOCK, task_id)
            if status not in (TaskStatus.QUEUED, TaskStatus.IN_PROGRESS, TaskStatus.PAUSED):
                return False
            await _end_pending(connection, now, task_id, _EXPIRE_DEVICES, _EXPIRE_BUCKETS)
            return True

        return await self.database.write(work)

    async def finalise_ended(self) -> list[Task]:
        ended = [row[0] for row in await self.database.rows(_ENDED)]
        return [task for task_id in ended if (task := await self._finalise(task_id)) is not None]

    async def _finalise(self, task_id: str) -> Task | None:
        async def work(connection: Connection, now: datetime) -> Task | None:
            await connection.fetchval(_LOCK, task_id)
            if not await _finalise(connection, now, task_id):
                return None
            return await require_task(connection, task_id)

        return await self.database.write(work)

    async def settle_follow_up(self, task_id: str, follow_up_task_id: str | None) -> None:
        await self.database.call(_SETTLE_FOLLOW_UP, findable(task_id), follow_up_task_id)

    async def count_ended(self, ended_before: datetime) -> int:
        return await self._sweeper.count_ended(ended_before)

    async def retire_tasks(self, ended_before: datetime, limit: int) -> int:
        return await self._sweeper.retire(ended_before, limit)

    async def sweep_unsealed(self, limit: int) -> int:
        return await self._sweeper.sweep(limit)


async def _move(connection: Connection, now: datetime, task_id: str, event: TaskEvent) -> None:
    """One guarded write; raises NotFound or IllegalTransition."""
    status = await connection.fetchval(_LOCK, findable(task_id))
    if status is None:
        raise NotFound(f"no task {task_id!r}")
    await connection.execute(_SET_STATUS, task_id, task_after(TaskStatus(status), event), now)


async def _end_pending(connection: Connection, now: datetime, task_id: str, devices: str, buckets: str) -> None:
    """What waits in a task whose header is locked ends by these statements."""
    await connection.execute(_LONG)
    for statement, *arguments in (
        (_LOCK_BUCKETS, task_id),
        (devices, task_id, now),
        (buckets, task_id),
        (_FORGET_COMMANDS, task_id),
    ):
        await connection.execute(statement, *arguments, timeout=_LONG_SECONDS)


async def _finalise(connection: Connection, now: datetime, task_id: str) -> bool:
    """Final status, outcome and frozen counts, where no device is open. Guarded and idempotent."""
    task = await find_task(connection, task_id)
    if task is None or task.outcome is not None or task.counts.open:
        return False
    counts = task.counts
    status, outcome = final_state(task.status, counts)
    await connection.execute(_FINALISE, task_id, status, outcome, counts.success, counts.failed, counts.cancelled, now)
    return True
