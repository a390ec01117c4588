"""The raw side on PostgreSQL: asyncpg on one connection, with COPY and `UPDATE .. FROM unnest`."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import asyncpg

from bench.raw import BATCH
from metercast.store.tasks import DEFAULT_BUCKET

_COPIED_AT_ONCE = 1000  # rows in one message
_DEVICES = ("task_id", "device_id", "command_status", "last_updated")
_METERS = ("device_id", "document", "sealed", "channel", "max_sessions", "created_at", "updated_at")

_INSERT_TASK = """
INSERT INTO tasks (task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, conflict_group,
  expires_at, priority, retry, body_hash, bucket_size, total, first_id)
VALUES ($1, 'command', 'READ_CLOCK', $2, 'IN_PROGRESS', $2, $2, 'none', $3, 4, '{}', 'hash', $4, $5, 0)
"""
_INSERT_BUCKETS = """
INSERT INTO task_buckets (task_id, first_id, last_id, due_at, pending)
SELECT $1, first, least(first + $4 - 1, $3), $5, least($4, $3 - first + 1)
FROM generate_series($2::bigint, $3::bigint, $4::bigint) AS first
"""

# Each row comes with what becomes of it, as the results of a batch do.
_BEGIN = """
UPDATE task_devices d SET command_status = u.status, error_message = u.error, error_detail = NULL,
  next_attempt_at = NULL, tries = d.tries + 1, sent_at = $5, last_updated = $5
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS u (id, status, error, how)
WHERE d.id = u.id AND d.command_status = 'PENDING'
"""
_FINISH = """
UPDATE task_devices d SET command_status = u.status, error_message = u.error, how = u.how, used = d.used + 1,
  last_updated = $5
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS u (id, status, error, how)
WHERE d.id = u.id AND d.command_status = 'SENT' AND d.tries = 1
"""
_BEGIN_ONE = """
UPDATE task_devices SET command_status = 'SENT', error_message = NULL, error_detail = NULL, next_attempt_at = NULL,
  tries = tries + 1, sent_at = $2, last_updated = $2 WHERE id = $1 AND command_status = 'PENDING'
"""
_FINISH_ONE = """
UPDATE task_devices SET command_status = 'SUCCESS', error_message = NULL, how = 'DONE', used = used + 1,
  last_updated = $2 WHERE id = $1 AND command_status = 'SENT' AND tries = 1
"""

_TIME = """'"' || to_char({}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"'"""
_WORD = """coalesce('"' || {} || '"', 'null')"""
_TEXT = f"""
SELECT '{{"deviceId":' || to_json(device_id) || ',"commandStatus":"' || command_status
  || '","error":' || {_WORD.format("error_message")} || ',"lastUpdated":' || {_TIME.format("last_updated")}
  || ',"attempts":' || tries || ',"how":' || {_WORD.format("how")}
  || ',"errorDetail":' || coalesce(to_json(error_detail)::text, 'null')
  || ',"nextAttemptAt":' || coalesce({_TIME.format("next_attempt_at")}, 'null') || '}}'
FROM task_devices WHERE id BETWEEN $1 AND $2 ORDER BY id
"""


class RawPostgres:
    """Implements bench.raw.Raw."""

    how_created = "COPY in one transaction"
    how_moved = f"UPDATE .. FROM unnest, {BATCH} rows a transaction, one connection"
    how_moved_one_by_one = "one UPDATE a transaction, one connection"
    how_streamed = "COPY of the same text"

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @classmethod
    async def open(cls, url: str) -> Self:
        return cls(await asyncpg.connect(url, server_settings={"timezone": "UTC", "jit": "off"}))

    async def register(self, names: Sequence[str], document: bytes, sealed: bytes | None) -> None:
        now = datetime.now(UTC)
        rows = ((each, document, sealed, each, 1, now, now) for each in names)
        await self.connection.copy_records_to_table("devices", records=rows, columns=_METERS)
        await self.settle()

    async def create(self, task_id: str, names: Sequence[str]) -> float:
        now = datetime.now(UTC)
        lines = [f"{task_id}\t{each}\tPENDING\t{now.isoformat()}\n" for each in names]
        starts = range(0, len(lines), _COPIED_AT_ONCE)
        chunks = ["".join(lines[start : start + _COPIED_AT_ONCE]).encode() for start in starts]
        del lines
        began = time.perf_counter()
        async with self.connection.transaction():
            values = (task_id, now, now + timedelta(days=1), DEFAULT_BUCKET, len(names))
            await self.connection.execute(_INSERT_TASK, *values)
            await self.connection.copy_to_table("task_devices", source=_each(chunks), columns=_DEVICES)
            last = await self.connection.fetchval("SELECT max(id) FROM task_devices")
            await self.connection.execute(_INSERT_BUCKETS, task_id, last - len(names) + 1, last, DEFAULT_BUCKET, now)
        return time.perf_counter() - began

    async def move(self, task_id: str) -> float:
        first, last = await self._range(task_id)
        now = datetime.now(UTC)
        batches = []
        for start in range(first, last + 1, BATCH):
            ids = list(range(start, min(start + BATCH, last + 1)))
            nothing = [None] * len(ids)
            begin = (ids, ["SENT"] * len(ids), nothing, nothing, now)
            batches.append((begin, (ids, ["SUCCESS"] * len(ids), nothing, ["DONE"] * len(ids), now)))
        moved = 0
        began = time.perf_counter()
        for begin, finish in batches:
            moved += _count(await self.connection.execute(_BEGIN, *begin))
            moved += _count(await self.connection.execute(_FINISH, *finish))
        elapsed = time.perf_counter() - began
        assert moved == 2 * (last - first + 1)
        return elapsed

    async def move_one_by_one(self, task_id: str) -> float:
        first, last = await self._range(task_id)
        now = datetime.now(UTC)
        moved = 0
        began = time.perf_counter()
        for each in range(first, last + 1):
            moved += _count(await self.connection.execute(_BEGIN_ONE, each, now))
            moved += _count(await self.connection.execute(_FINISH_ONE, each, now))
        elapsed = time.perf_counter() - began
        assert moved == 2 * (last - first + 1)
        return elapsed

    async def stream(self, task_id: str) -> tuple[float, int]:
        length = 0

        async def take(data: bytes) -> None:
            nonlocal length
            length += len(data)

        first, last = await self._range(task_id)
        began = time.perf_counter()
        await self.connection.copy_from_query(_TEXT, first, last, output=take)
        return time.perf_counter() - began, length

    async def settle(self) -> None:
        await self.connection.execute("VACUUM ANALYZE")
        await self.connection.execute("CHECKPOINT")

    async def close(self) -> None:
        await self.connection.close()

    async def _range(self, task_id: str) -> tuple[int, int]:
        row = await self.connection.fetchrow(
            "SELECT min(first_id), max(last_id) FROM task_buckets WHERE task_id = $1", task_id
        )
        return row[0], row[1]


async def _each(chunks: Sequence[bytes]) -> Any:
    for chunk in chunks:
        yield chunk


def _count(answer: str) -> int:
    """Of rows, from `UPDATE 1000`."""
    return int(answer.rpartition(" ")[2])
