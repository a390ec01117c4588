"""Late results on PostgreSQL: a session's end that came after its attempt was decided."""

from datetime import datetime

from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import Counts, corrected_state
from metercast.domain.words import CORRECTABLE
from metercast.store.attempts import Result, Transition
from metercast.store.postgres.database import Connection
from metercast.store.postgres.texts import storable
from metercast.store.sql.rows import json_text

_WORDS = sorted(word.value for word in CORRECTABLE)

# The task first, then its bucket: nothing of either moves meanwhile.
_TASK = "SELECT outcome, status FROM tasks WHERE task_id = $1 AND unsealed_until IS NULL FOR NO KEY UPDATE"
_BUCKET = "SELECT bucket_id FROM task_buckets WHERE task_id = $1 AND $2 BETWEEN first_id AND last_id FOR UPDATE"

_KEEP = """
INSERT INTO task_device_attempts (task_device_id, attempt, late, started_at, ended_at, error_message, error_detail)
SELECT d.id, $2, true, coalesce(a.started_at, CASE WHEN d.tries = $2 THEN d.sent_at END), $3, $4, $5
FROM task_devices d
LEFT JOIN task_device_attempts a ON a.task_device_id = d.id AND a.attempt = $2 AND NOT a.late
WHERE d.id = $1 AND d.task_id = $6 AND d.device_id = $7 AND $2::integer BETWEEN 1 AND d.tries
ON CONFLICT (task_device_id, attempt, late) DO UPDATE SET started_at = excluded.started_at,
  ended_at = excluded.ended_at, error_message = excluded.error_message, error_detail = excluded.error_detail
"""

_FIND = """
SELECT command_status FROM task_devices WHERE id = $1 AND task_id = $2 AND device_id = $3 AND tries = $4
  AND command_status IN ('FAILED', 'PENDING') AND error_message = ANY ($5::varchar[])
"""

_CORRECT = """
UPDATE task_devices SET command_status = 'SUCCESS', error_message = NULL, error_detail = NULL, how = $2,
  next_attempt_at = NULL, verify_first = false, last_updated = $3 WHERE id = $1
"""
_COUNT = "SELECT metercast_count($1, $2, 0, 1, $3, 0)"
_RESULT = """
INSERT INTO task_device_results (task_device_id, result) VALUES ($1, $2::text::json)
ON CONFLICT (task_device_id) DO UPDATE SET result = excluded.result
"""

_COUNTS = "SELECT total, success, failed, cancelled FROM tasks WHERE task_id = $1"
_REWRITE = """
UPDATE tasks SET status = $2, outcome = $3, success = $4, failed = $5, updated_at = $6 WHERE task_id = $1
"""


async def record(connection: Connection, now: datetime, task_id: str, result: Result) -> Transition | None:
    """See store.attempts.AttemptStore.record_late_result."""
    task = await connection.fetchrow(_TASK, task_id)
    bucket = await connection.fetchval(_BUCKET, task_id, result.position)
    if task is None or bucket is None:
        return None
    await connection.execute(
        _KEEP, result.position, result.tries, now, result.error, storable(result.detail), task_id, result.device_id
    )
    if result.status is not DeviceStatus.SUCCESS:
        return None
    found = (result.position, task_id, result.device_id, result.tries)
    status = await connection.fetchval(_FIND, *found, _WORDS)
    if status is None:
        return None
    was_failed = status == DeviceStatus.FAILED
    await connection.execute(_CORRECT, result.position, result.how, now)
    await connection.execute(_COUNT, bucket, 0 if was_failed else -1, -1 if was_failed else 0)
    await connection.execute("DELETE FROM open_commands WHERE id = $1", result.position)
    if result.result is not None:
        await connection.execute(_RESULT, result.position, json_text(result.result))
    if task["outcome"] is not None:
        await _correct_header(connection, now, task_id, TaskStatus(task["status"]))
    return Transition(task_id, result.device_id, DeviceStatus.SUCCESS, None)


async def _correct_header(connection: Connection, now: datetime, task_id: str, status: TaskStatus) -> None:
    total, success, failed, cancelled = await connection.fetchrow(_COUNTS, task_id)
    counts = Counts(total, 0, 0, success + 1, failed - 1, cancelled)
    status, outcome = corrected_state(status, counts)
    await connection.execute(_REWRITE, task_id, status, outcome, counts.success, counts.failed, now)
