"""Late results on SQLite: a session's end that came after its attempt was decided."""

import sqlite3
from datetime import datetime

import msgspec

from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import Counts, corrected_state
from metercast.domain.words import CORRECTABLE
from metercast.store.attempts import Result, Transition
from metercast.store.sqlite.times import to_text

_WORDS = ", ".join(f"'{word}'" for word in sorted(CORRECTABLE))

_SEALED = "SELECT 1 FROM tasks WHERE task_id = ? AND unsealed_until IS NULL"

_KEEP = """
INSERT OR REPLACE INTO task_device_attempts
  (task_device_id, attempt, late, started_at, ended_at, error_message, error_detail)
SELECT d.id, ?2, 1, coalesce(a.started_at, CASE WHEN d.tries = ?2 THEN d.sent_at END), ?3, ?4, ?5
FROM task_devices d
LEFT JOIN task_device_attempts a ON a.task_device_id = d.id AND a.attempt = ?2 AND a.late = 0
WHERE d.id = ?1 AND d.task_id = ?6 AND d.device_id = ?7 AND ?2 BETWEEN 1 AND d.tries
"""

_FIND = f"""
SELECT command_status FROM task_devices WHERE id = ? AND task_id = ? AND device_id = ? AND tries = ?
  AND command_status IN ('FAILED', 'PENDING') AND error_message IN ({_WORDS})
"""

_CORRECT = """
UPDATE task_devices SET command_status = 'SUCCESS', error_message = NULL, error_detail = NULL, how = ?2,
  next_attempt_at = NULL, verify_first = 0, last_updated = ?3 WHERE id = ?1
"""

_COUNT = """
UPDATE task_buckets SET success = success + 1, failed = failed - ?2, pending = pending - ?3,
  due_at = CASE WHEN pending - ?3 + sent > 0 THEN due_at END
WHERE bucket_id = (SELECT bucket_id FROM task_buckets WHERE task_id = ?1 AND ?4 BETWEEN first_id AND last_id)
"""

_HEADER = "SELECT status, total, success, failed, cancelled FROM tasks WHERE task_id = ? AND outcome IS NOT NULL"
_REWRITE = "UPDATE tasks SET status = ?, outcome = ?, success = ?, failed = ?, updated_at = ? WHERE task_id = ?"


def record(connection: sqlite3.Connection, now: datetime, task_id: str, result: Result) -> Transition | None:
    """See store.attempts.AttemptStore.record_late_result."""
    if connection.execute(_SEALED, (task_id,)).fetchone() is None:
        return None
    text = to_text(now)
    connection.execute(
        _KEEP, (result.position, result.tries, text, result.error, result.detail, task_id, result.device_id)
    )
    if result.status is not DeviceStatus.SUCCESS:
        return None
    row = connection.execute(_FIND, (result.position, task_id, result.device_id, result.tries)).fetchone()
    if row is None:
        return None
    was_failed = row[0] == DeviceStatus.FAILED
    connection.execute(_CORRECT, (result.position, result.how, text))
    connection.execute(_COUNT, (task_id, was_failed, not was_failed, result.position))
    connection.execute("DELETE FROM open_commands WHERE id = ?", (result.position,))
    if result.result is not None:
        value = msgspec.json.encode(result.result).decode()
        connection.execute("INSERT OR REPLACE INTO task_device_results VALUES (?, ?)", (result.position, value))
    header = connection.execute(_HEADER, (task_id,)).fetchone()
    if header is not None:
        _correct_header(connection, text, task_id, header)
    return Transition(task_id, result.device_id, DeviceStatus.SUCCESS, None)


def _correct_header(
    connection: sqlite3.Connection, text: str, task_id: str, header: tuple[str, int, int, int, int]
) -> None:
    status, total, success, failed, cancelled = header
    counts = Counts(total, 0, 0, success + 1, failed - 1, cancelled)
    after, outcome = corrected_state(TaskStatus(status), counts)
    connection.execute(_REWRITE, (after, outcome, counts.success, counts.failed, text, task_id))
