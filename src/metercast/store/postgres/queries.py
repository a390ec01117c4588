"""What people ask of tasks, on PostgreSQL: look up, page, stream."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from metercast.domain.problem import NotFound
from metercast.domain.states import DeviceStatus
from metercast.domain.task import DeviceCommand, DeviceCommandDetail, Task
from metercast.domain.words import ErrorWord
from metercast.store.pages import Page, decode_cursor, encode_cursor
from metercast.store.postgres.database import Connection, Database
from metercast.store.postgres.texts import findable
from metercast.store.results import PIECE_DEVICES, ResultLine, encoded
from metercast.store.sql.buckets import bucket_ranges, whole_buckets
from metercast.store.sql.rows import detail_of, device_of, task_of
from metercast.store.tasks import DeviceQuery, ErrorCount, TaskQuery

# Devices of a stream that are read at a time.
_PIECE = 4000

# Live counts are the sum over the buckets; a final task has them frozen in its header. `{}` says which tasks.
_TASKS = """
SELECT t.task_id, t.command_id, t.command_type, t.command_params::text, t.scheduled_at, t.status, t.created_at,
  t.updated_at, t.expires_at, t.priority, t.requested_by, t.parent_task_id, t.retry::text, t.outcome, t.total,
  live.pending, live.sent, coalesce(live.success, t.success), coalesce(live.failed, t.failed),
  coalesce(live.cancelled, t.cancelled), t.follow_up_at, t.follow_up_task_id
FROM (SELECT * FROM tasks WHERE unsealed_until IS NULL{}) t, LATERAL (
  SELECT sum(b.pending) AS pending, sum(b.sent) AS sent, sum(b.success) AS success, sum(b.failed) AS failed,
    sum(b.cancelled) AS cancelled
  FROM task_buckets b WHERE b.task_id = t.task_id AND t.outcome IS NULL
) live
"""
_TASK = _TASKS.format(" AND task_id = $1")
_FOLLOW_UPS = (
    _TASKS.format(" AND follow_up_at <= $1 AND follow_up_task_id IS NULL AND outcome IS NOT NULL")
    + " ORDER BY t.follow_up_at, t.task_id LIMIT $2"
)
_NEWEST_FIRST = " ORDER BY created_at DESC, task_id DESC"

_DEVICES = """
SELECT d.device_id, d.command_status, d.error_message, d.last_updated, d.tries, d.how, d.error_detail,
  d.next_attempt_at, d.id{}
FROM task_devices d
"""

_DETAIL = f"""
{_DEVICES.format(", d.sent_at, r.result::text, t.command_type")}
JOIN tasks t ON t.task_id = d.task_id LEFT JOIN task_device_results r ON r.task_device_id = d.id
WHERE d.device_id = $2 AND t.task_id = $1 AND t.unsealed_until IS NULL
"""

_ATTEMPTS = """
SELECT attempt, started_at, ended_at, error_message, error_detail, late FROM task_device_attempts
WHERE task_device_id = $1 ORDER BY attempt, late
"""

# A task's devices are a range of ids, which is cheaper to walk than an index on the task.
_RANGE = "SELECT first_id, total, bucket_size FROM tasks WHERE task_id = $1 AND unsealed_until IS NULL"

_ERRORS = """
SELECT command_status, error_message, count(*) FROM task_devices
WHERE id BETWEEN $1 AND $2 AND error_message IS NOT NULL GROUP BY 1, 2 ORDER BY 3 DESC, 2, 1
"""

# A JSON string, or null.
_WORD = "CASE WHEN d.{0} IS NULL THEN 'null' ELSE '\"' || d.{0} || '\"' END"
_TIME = 'to_char(d.{0}, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\')'

# The text is made by the database and goes on as it is.
_STREAM = f"""
SELECT convert_to(string_agg(device, ','), 'UTF8') FROM (
  SELECT concat('{{"deviceId":', to_json(d.device_id)::text, ',"commandStatus":"', d.command_status,
    '","error":', {_WORD.format("error_message")}, ',"lastUpdated":"', {_TIME.format("last_updated")},
    '","attempts":', d.tries::text, ',"how":', {_WORD.format("how")},
    ',"errorDetail":', coalesce(to_json(d.error_detail)::text, 'null'),
    ',"nextAttemptAt":', coalesce('"' || {_TIME.format("next_attempt_at")} || '"', 'null'), '}}') AS device
  FROM task_devices d WHERE d.id BETWEEN $1 AND $2 ORDER BY d.id
) devices
"""

# What is stored of a result, compressed, can be asked for without reading it: rows are given up to so many octets.
_STORED_OCTETS = 128 * 1024
_RESULTS = f"""
SELECT f.id, f.device_id, f.command_status, f.error_message, f.last_updated, f.how, r.result::text
FROM (
  SELECT d.id, d.device_id, d.command_status, d.error_message, {_TIME.format("last_updated")} AS last_updated, d.how,
    sum(pg_column_size(s.result)) OVER (ORDER BY d.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
  FROM (SELECT * FROM task_devices WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT {PIECE_DEVICES}) d
  LEFT JOIN task_device_results s ON s.task_device_id = d.id
) f LEFT JOIN task_device_results r ON r.task_device_id = f.id
WHERE coalesce(f.before, 0) < {_STORED_OCTETS} ORDER BY f.id
"""

_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class PostgresQueries:
    """The reading half of store.tasks.TaskStore."""

    database: Database

    async def get_task(self, task_id: str) -> Task:
        return _required(task_id, await self.database.call(_TASK, findable(task_id)))

    async def list_tasks(self, query: TaskQuery, limit: int, cursor: str | None) -> Page[Task]:
        conditions, parameters = _conditions(query)
        if cursor is not None:
            created_at, task_id = decode_cursor(query, cursor, tuple[_Instant, str])
            parameters += [created_at, findable(task_id)]
            conditions.append(f"(created_at, task_id) < (${len(parameters) - 1}, ${len(parameters)})")
        where = "".join(f" AND {condition}" for condition in conditions)
        where += f"{_NEWEST_FIRST} LIMIT ${len(parameters) + 1}"
        statement = _TASKS.format(where) + _NEWEST_FIRST
        rows = await self.database.rows(statement, *parameters, limit + 1)
        items = [task_of(row, _as_it_is) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(items, None)
        return Page(items, encode_cursor(query, [items[-1].created_at, items[-1].task_id]))

    async def due_follow_ups(self, limit: int) -> list[Task]:
        rows = await self.database.rows(_FOLLOW_UPS, self.database.clock(), limit)
        return [task_of(row, _as_it_is) for row in rows]

    async def stream_devices(self, task_id: str) -> AsyncIterator[bytes]:
        first, total, bucket_size = await self._range(task_id)
        separator = b""
        for start, end in bucket_ranges(first, total, whole_buckets(_PIECE, bucket_size)):
            row = await self.database.call(_STREAM, start, end)
            if row[0] is not None:
                yield separator + row[0]
                separator = b","

    async def stream_results(self, task_id: str) -> AsyncIterator[bytes]:
        first, total, _ = await self._range(task_id)
        last = first + total - 1
        while first <= last:
            rows = await self.database.rows(_RESULTS, first, last)
            if not rows:
                await self._range(task_id)  # it may have been retired since
                return
            yield b"".join(encoded(ResultLine.of(*tuple(row)[1:])) for row in rows)
            first = rows[-1][0] + 1

    async def list_devices(
        self, task_id: str, query: DeviceQuery, limit: int, cursor: str | None
    ) -> Page[DeviceCommand]:
        asked = [task_id, query]
        after = 0 if cursor is None else decode_cursor(asked, cursor, tuple[_Position])[0]
        first, total, _ = await self._range(task_id)
        parameters: list[Any] = [max(first, after + 1), first + total - 1]
        conditions = ""
        for column, value in (
            ("command_status =", query.status),
            ("error_message =", query.error),
            ("last_updated >=", query.updated_since),
        ):
            if value is not None:
                parameters.append(value)
                conditions += f" AND d.{column} ${len(parameters)}"
        statement = (
            f"{_DEVICES.format('')} WHERE d.id BETWEEN $1 AND $2{conditions} ORDER BY d.id LIMIT ${len(parameters) + 1}"
        )
        rows = await self.database.rows(statement, *parameters, limit + 1)
        items = [device_of(row, _as_it_is) for row in rows[:limit]]
        return Page(items, encode_cursor(asked, [rows[limit - 1][8]]) if len(rows) > limit else None)

    async def get_device_command(self, task_id: str, device_id: str) -> DeviceCommandDetail:
        async def work(connection: Connection) -> DeviceCommandDetail:
            row = await connection.fetchrow(_DETAIL, findable(task_id), findable(device_id))
            if row is None:
                raise NotFound(f"no device {device_id!r} in task {task_id!r}")
            kept = await connection.fetch(_ATTEMPTS, row[8])
            return detail_of(
                row, kept, _as_it_is, task_id=task_id, sent_at=row[9], result=row[10], command_type=row[11]
            )

        return await self.database.read(work)

    async def error_counts(self, task_id: str) -> list[ErrorCount]:
        first, total, _ = await self._range(task_id)
        rows = await self.database.rows(_ERRORS, first, first + total - 1)
        return [ErrorCount(DeviceStatus(status), ErrorWord(word), count) for status, word, count in rows]

    async def _range(self, task_id: str) -> tuple[int, int, int]:
        """The id of its first device, their number, and how many are in a bucket. Raises NotFound."""
        row = await self.database.call(_RANGE, findable(task_id))
        if row is None:
            raise NotFound(f"no task {task_id!r}")
        first, total, bucket_size = row
        return first, total, bucket_size


async def find_task(connection: Connection, task_id: str) -> Task | None:
    row = await connection.fetchrow(_TASK, findable(task_id))
    return None if row is None else task_of(row, _as_it_is)


async def require_task(connection: Connection, task_id: str) -> Task:
    """Raises NotFound."""
    return _required(task_id, await connection.fetchrow(_TASK, findable(task_id)))


def _required(task_id: str, row: Sequence[Any] | None) -> Task:
    if row is None:
        raise NotFound(f"no task {task_id!r}")
    return task_of(row, _as_it_is)


def _conditions(query: TaskQuery) -> tuple[list[str], list[Any]]:
    wanted = (
        ("command_id = {}", query.command_id),
        # Found first, for a planner that can't know how few they are.
        ("task_id = ANY (ARRAY(SELECT d.task_id FROM task_devices d WHERE d.device_id = {}))", query.device_id),
        ("status = {}", query.status),
        ("command_type = {}", query.command_type),
        ("created_at >= {}", query.created_from),
        ("created_at < {}", query.created_to),
    )
    given = [(condition, value) for condition, value in wanted if value is not None]
    conditions = [condition.format(f"${number}") for number, (condition, _) in enumerate(given, 1)]
    return conditions, [findable(value) if isinstance(value, str) else value for _, value in given]


def _as_it_is(instant: datetime) -> datetime:
    return instant
