"""What people ask of tasks, on SQLite: look up and page. A task that is not sealed is not there."""

import sqlite3
from typing import Annotated, Any

import msgspec

from metercast.domain.problem import NotFound
from metercast.domain.states import DeviceStatus
from metercast.domain.task import DeviceCommand, DeviceCommandDetail, Task
from metercast.domain.words import ErrorWord
from metercast.store.pages import Page, decode_cursor, encode_cursor
from metercast.store.sql.rows import detail_of, device_of, task_of
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.times import from_text, to_text
from metercast.store.tasks import DeviceQuery, ErrorCount, TaskQuery

# A final task has its counts frozen in its header.
_TASKS = """
SELECT t.task_id, t.command_id, t.command_type, t.command_params, t.scheduled_at, t.status, t.created_at, t.updated_at,
  t.expires_at, t.priority, t.requested_by, t.parent_task_id, t.retry, t.outcome, t.total, 0, 0, t.success, t.failed,
  t.cancelled, t.follow_up_at, t.follow_up_task_id
FROM tasks t
"""

_LIVE_COUNTS = """
SELECT sum(pending), sum(sent), sum(success), sum(failed), sum(cancelled) FROM task_buckets WHERE task_id = ?
"""

_FOLLOW_UPS = """
 WHERE t.follow_up_at <= ? AND t.follow_up_task_id IS NULL AND t.outcome IS NOT NULL AND t.unsealed_until IS NULL
ORDER BY t.follow_up_at, t.task_id LIMIT ?
"""

_SEALED = "SELECT 1 FROM tasks WHERE task_id = ? AND unsealed_until IS NULL"

_DEVICES = """
SELECT d.device_id, d.command_status, d.error_message, d.last_updated, d.tries, d.how, d.error_detail,
  d.next_attempt_at, d.id
FROM task_devices d
"""

# JSON that is a bare number is stored as a number: such is the affinity of the type json.
_DETAIL = f"""
{_DEVICES.replace("FROM task_devices d", ", d.sent_at, CAST(r.result AS text), t.command_type FROM task_devices d")}
JOIN tasks t ON t.task_id = d.task_id LEFT JOIN task_device_results r ON r.task_device_id = d.id
WHERE d.device_id = ? AND +d.task_id = ? AND t.unsealed_until IS NULL
"""

_ATTEMPTS = """
SELECT attempt, started_at, ended_at, error_message, error_detail, late FROM task_device_attempts
WHERE task_device_id = ? ORDER BY attempt, late
"""

_ERRORS = """
SELECT command_status, error_message, count(*) FROM task_devices
WHERE task_id = ? AND error_message IS NOT NULL GROUP BY 1, 2 ORDER BY 3 DESC, 2, 1
"""


_Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class SqliteQueries:
    """The reading half of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def get_task(self, task_id: str) -> Task:
        return await self.database.read(lambda connection: require_task(connection, task_id))

    async def list_tasks(self, query: TaskQuery, limit: int, cursor: str | None) -> Page[Task]:
        conditions, parameters = _conditions(query)
        if cursor is not None:
            conditions.append("(t.created_at, t.task_id) < (?, ?)")
            parameters += decode_cursor(query, cursor, tuple[str, str])
        statement = f"{_TASKS} WHERE {' AND '.join(conditions)} ORDER BY t.created_at DESC, t.task_id DESC LIMIT ?"

        def work(connection: sqlite3.Connection) -> list[Task]:
            return [
                _task(connection, row) for row in connection.execute(statement, (*parameters, limit + 1)).fetchall()
            ]

        found = await self.database.read(work)
        items = found[:limit]
        if len(found) <= limit:
            return Page(items, None)
        last = items[-1]
        return Page(items, encode_cursor(query, [to_text(last.created_at), last.task_id]))

    async def due_follow_ups(self, limit: int) -> list[Task]:
        due = to_text(self.database.clock()), limit

        def work(connection: sqlite3.Connection) -> list[Task]:
            return [_task(connection, row) for row in connection.execute(_TASKS + _FOLLOW_UPS, due).fetchall()]

        return await self.database.read(work)

    async def list_devices(
        self, task_id: str, query: DeviceQuery, limit: int, cursor: str | None
    ) -> Page[DeviceCommand]:
        asked = [task_id, query]
        conditions: list[str] = ["d.task_id = ?"]
        parameters: list[str] = [task_id]
        for condition, value in (
            ("d.command_status = ?", query.status),
            ("d.error_message = ?", query.error),
            ("d.last_updated >= ?", to_text(query.updated_since) if query.updated_since else None),
        ):
            if value is not None:
                conditions.append(condition)
                parameters.append(value)
        after = 0 if cursor is None else decode_cursor(asked, cursor, tuple[_Position])[0]
        statement = f"{_DEVICES} WHERE {' AND '.join(conditions)} AND d.id > ? ORDER BY d.id LIMIT ?"

        def work(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            require_sealed(connection, task_id)
            return connection.execute(statement, (*parameters, after, limit + 1)).fetchall()

        rows = await self.database.read(work)
        items = [device_of(row, from_text) for row in rows[:limit]]
        return Page(items, encode_cursor(asked, [rows[limit - 1][8]]) if len(rows) > limit else None)

    async def get_device_command(self, task_id: str, device_id: str) -> DeviceCommandDetail:
        def work(connection: sqlite3.Connection) -> DeviceCommandDetail:
            row = connection.execute(_DETAIL, (device_id, task_id)).fetchone()
            if row is None:
                raise NotFound(f"no device {device_id!r} in task {task_id!r}")
            kept = connection.execute(_ATTEMPTS, (row[8],)).fetchall()
            *_, sent_at, result, command_type = row
            return detail_of(
                row, kept, from_text, task_id=task_id, command_type=command_type, sent_at=sent_at, result=result
            )

        return await self.database.read(work)

    async def error_counts(self, task_id: str) -> list[ErrorCount]:
        def work(connection: sqlite3.Connection) -> list[ErrorCount]:
            require_sealed(connection, task_id)
            rows = connection.execute(_ERRORS, (task_id,))
            return [ErrorCount(DeviceStatus(status), ErrorWord(word), count) for status, word, count in rows]

        return await self.database.read(work)


def find_task(connection: sqlite3.Connection, task_id: str) -> Task | None:
    row = connection.execute(f"{_TASKS} WHERE t.task_id = ? AND t.unsealed_until IS NULL", (task_id,)).fetchone()
    return None if row is None else _task(connection, row)


def require_task(connection: sqlite3.Connection, task_id: str) -> Task:
    """Raises NotFound."""
    task = find_task(connection, task_id)
    if task is None:
        raise NotFound(f"no task {task_id!r}")
    return task


def require_sealed(connection: sqlite3.Connection, task_id: str) -> None:
    """Raises NotFound; costs less than `require_task`."""
    if connection.execute(_SEALED, (task_id,)).fetchone() is None:
        raise NotFound(f"no task {task_id!r}")


def _conditions(query: TaskQuery) -> tuple[list[str], list[Any]]:
    wanted = (
        ("t.command_id = ?", query.command_id),
        ("t.task_id IN (SELECT d.task_id FROM task_devices d WHERE d.device_id = ?)", query.device_id),
        ("t.status = ?", query.status),
        ("t.command_type = ?", query.command_type),
        ("t.created_at >= ?", query.created_from and to_text(query.created_from)),
        ("t.created_at < ?", query.created_to and to_text(query.created_to)),
    )
    given = [(condition, value) for condition, value in wanted if value is not None]
    return ["t.unsealed_until IS NULL", *(condition for condition, _ in given)], [value for _, value in given]


def _task(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Task:
    if row[13] is None:
        row = (*row[:15], *connection.execute(_LIVE_COUNTS, (row[0],)).fetchone(), *row[20:])
    return task_of(row, from_text)
