"""A whole task as JSON text, on SQLite: the database makes it, a few buckets at a time; and its results."""

import sqlite3
from collections.abc import AsyncIterator

from metercast.store.results import PIECE_DEVICES, ResultLine, piece_of
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.queries import require_sealed

_PIECE_DEVICES = 2000

_RANGES = "SELECT first_id, last_id FROM task_buckets WHERE task_id = ? ORDER BY bucket_id"

# The fields of domain.task.DeviceCommand. As a blob, so that the text is not decoded only to be encoded again. Without
# an index the rows come in order of their id.
_PIECE = """
SELECT CAST(group_concat(json_object('deviceId', device_id, 'commandStatus', command_status, 'error', error_message,
  'lastUpdated', last_updated, 'attempts', tries, 'how', how, 'errorDetail', error_detail,
  'nextAttemptAt', next_attempt_at)) AS blob)
FROM task_devices NOT INDEXED WHERE id BETWEEN ? AND ?
"""

# The rows are stepped through one by one, so that no more results are in memory than a piece takes.
_RESULTS = f"""
SELECT d.id, d.device_id, d.command_status, d.error_message, d.last_updated, d.how, CAST(r.result AS text)
FROM task_devices d NOT INDEXED LEFT JOIN task_device_results r ON r.task_device_id = d.id
WHERE d.id BETWEEN ? AND ? ORDER BY d.id LIMIT {PIECE_DEVICES + 1}
"""


class SqliteStreaming:
    """Implements the streams of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def stream_devices(self, task_id: str) -> AsyncIterator[bytes]:
        separator = b""
        for first, last in await self._ranges(task_id):
            yield separator + await self.database.read(
                lambda connection, first=first, last=last: _piece(connection, task_id, first, last)  # type: ignore[misc]
            )
            separator = b","

    async def stream_results(self, task_id: str) -> AsyncIterator[bytes]:
        for first, last in await self._ranges(task_id):
            after: int | None = first - 1
            while after is not None:
                piece, after = await self.database.read(
                    lambda connection, first=after + 1, last=last: _results(connection, task_id, first, last)  # type: ignore[misc]
                )
                if piece:
                    yield piece

    async def _ranges(self, task_id: str) -> list[tuple[int, int]]:
        def ranges(connection: sqlite3.Connection) -> list[tuple[int, int]]:
            require_sealed(connection, task_id)
            return _joined(connection.execute(_RANGES, (task_id,)).fetchall())

        return await self.database.read(ranges)


def _joined(buckets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of whole buckets that follow each other, up to about _PIECE_DEVICES."""
    joined: list[tuple[int, int]] = []
    for first, last in buckets:
        if joined and joined[-1][1] + 1 == first and last - joined[-1][0] < _PIECE_DEVICES:
            joined[-1] = joined[-1][0], last
        else:
            joined.append((first, last))
    return joined


def _piece(connection: sqlite3.Connection, task_id: str, first: int, last: int) -> bytes:
    require_sealed(connection, task_id)  # it may have been retired since
    text: bytes = connection.execute(_PIECE, (first, last)).fetchone()[0]
    return text


def _results(connection: sqlite3.Connection, task_id: str, first: int, last: int) -> tuple[bytes, int | None]:
    require_sealed(connection, task_id)
    cursor = connection.execute(_RESULTS, (first, last))
    try:
        return piece_of((row[0], ResultLine.of(*row[1:])) for row in cursor)
    finally:
        cursor.close()
