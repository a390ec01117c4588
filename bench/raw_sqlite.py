"""The raw side on SQLite: stdlib sqlite3 on one connection, WAL with synchronous=FULL as the store has it."""

import json
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.raw import BATCH
from metercast.store.sqlite.migrations import migrate
from metercast.store.sqlite.times import to_text
from metercast.store.tasks import DEFAULT_BUCKET

READ_AT_ONCE = 2000

INSERT_TASK = """
INSERT INTO tasks (task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, conflict_group,
  expires_at, priority, retry, body_hash, bucket_size, total)
VALUES (?1, 'command', 'READ_CLOCK', ?2, 'IN_PROGRESS', ?2, ?2, 'none', ?3, 4, '{}', 'hash', ?4, ?5)
"""
INSERT_DEVICES = """
INSERT INTO task_devices (task_id, device_id, command_status, last_updated)
SELECT ?1, value, 'PENDING', ?2 FROM json_each(?3)
"""
INSERT_BUCKET = "INSERT INTO task_buckets (task_id, first_id, last_id, due_at, pending) VALUES (?, ?, ?, ?, ?)"

# Each row comes with what becomes of it, as the results of a batch do; OFFSET materialises the subquery.
_ROWS = """
FROM (SELECT value ->> 0 AS id, value ->> 1 AS status, value ->> 2 AS error, value ->> 3 AS how
      FROM json_each(?1) LIMIT -1 OFFSET 0) j WHERE task_devices.id = j.id
"""
_BEGIN = f"""
UPDATE task_devices SET command_status = j.status, error_message = j.error, error_detail = NULL,
  next_attempt_at = NULL, tries = tries + 1, sent_at = ?2, last_updated = ?2
{_ROWS} AND command_status = 'PENDING'
"""
_FINISH = f"""
UPDATE task_devices SET command_status = j.status, error_message = j.error, how = j.how, used = used + 1,
  last_updated = ?2
{_ROWS} AND command_status = 'SENT' AND tries = 1
"""
_BEGIN_ONE = """
UPDATE task_devices SET command_status = 'SENT', error_message = NULL, error_detail = NULL, next_attempt_at = NULL,
  tries = tries + 1, sent_at = ?2, last_updated = ?2 WHERE id = ?1 AND command_status = 'PENDING'
"""
_FINISH_ONE = """
UPDATE task_devices SET command_status = 'SUCCESS', error_message = NULL, how = 'DONE', used = used + 1,
  last_updated = ?2 WHERE id = ?1 AND command_status = 'SENT' AND tries = 1
"""

_TEXT = """
SELECT CAST(group_concat(json_object('deviceId', device_id, 'commandStatus', command_status, 'error', error_message,
  'lastUpdated', last_updated, 'attempts', tries, 'how', how, 'errorDetail', error_detail,
  'nextAttemptAt', next_attempt_at)) AS blob)
FROM (SELECT * FROM task_devices WHERE id BETWEEN ? AND ? ORDER BY id)
"""


class RawSqlite:
    """Implements bench.raw.Raw."""

    how_created = "INSERT .. SELECT json_each in one transaction"
    how_moved = f"UPDATE .. json_each, {BATCH} rows a transaction, one connection"
    how_moved_one_by_one = "one UPDATE a transaction, one connection"
    how_streamed = f"SELECT of the same text, {READ_AT_ONCE:,} rows a read"

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("PRAGMA foreign_keys=ON")
        self.connection.execute("PRAGMA cache_size=-32768")
        migrate(self.connection)

    async def register(self, names: Sequence[str], document: bytes, sealed: bytes | None) -> None:
        now = _now()
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT INTO devices (device_id, document, sealed, channel, max_sessions, created_at, updated_at)"
            " VALUES (?1, ?2, ?3, ?1, 1, ?4, ?4)",
            ((each, document, sealed, now) for each in names),
        )
        self.connection.execute("COMMIT")
        await self.settle()

    async def create(self, task_id: str, names: Sequence[str]) -> float:
        count = len(names)
        text = json.dumps(names[:])
        now, end = _now(), to_text(datetime.now(UTC) + timedelta(days=1))
        began = time.perf_counter()
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute(INSERT_TASK, (task_id, now, end, DEFAULT_BUCKET, count))
        self.connection.execute(INSERT_DEVICES, (task_id, now, text))
        (last,) = self.connection.execute("SELECT max(id) FROM task_devices").fetchone()
        firsts = range(last - count + 1, last + 1, DEFAULT_BUCKET)
        ends = ((first, min(first + DEFAULT_BUCKET - 1, last)) for first in firsts)
        self.connection.executemany(INSERT_BUCKET, [(task_id, a, z, now, z - a + 1) for a, z in ends])
        self.connection.execute("COMMIT")
        return time.perf_counter() - began

    async def move(self, task_id: str) -> float:
        first, last = self._range(task_id)
        steps = []
        for start in range(first, last + 1, BATCH):
            ids = range(start, min(start + BATCH, last + 1))
            steps.append((_BEGIN, json.dumps([[each, "SENT", None, None] for each in ids])))
            steps.append((_FINISH, json.dumps([[each, "SUCCESS", None, "DONE"] for each in ids])))
        return self._moved(steps, 2 * (last - first + 1))

    async def move_one_by_one(self, task_id: str) -> float:
        first, last = self._range(task_id)
        steps = [(each, number) for number in range(first, last + 1) for each in (_BEGIN_ONE, _FINISH_ONE)]
        return self._moved(steps, len(steps))

    def _moved(self, steps: Sequence[tuple[str, str | int]], transitions: int) -> float:
        now = _now()
        moved = 0
        began = time.perf_counter()
        for statement, parameter in steps:
            moved += self.connection.execute(statement, (parameter, now)).rowcount
        elapsed = time.perf_counter() - began
        assert moved == transitions
        return elapsed

    async def stream(self, task_id: str) -> tuple[float, int]:
        first, last = self._range(task_id)
        length = 0
        began = time.perf_counter()
        for start in range(first, last + 1, READ_AT_ONCE):
            (text,) = self.connection.execute(_TEXT, (start, min(start + READ_AT_ONCE - 1, last))).fetchone()
            length += len(text)
        return time.perf_counter() - began, length

    async def settle(self) -> None:
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def close(self) -> None:
        self.connection.close()

    def _range(self, task_id: str) -> tuple[int, int]:
        first, last = self.connection.execute(
            "SELECT min(first_id), max(last_id) FROM task_buckets WHERE task_id = ?", (task_id,)
        ).fetchone()
        return first, last


def _now() -> str:
    return to_text(datetime.now(UTC))
