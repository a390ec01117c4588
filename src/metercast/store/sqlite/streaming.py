"""A whole task as JSON text, on SQLite: the database makes it, a few buckets at a time."""

import sqlite3
from collections.abc import AsyncIterator

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


class SqliteStreaming:
    """Implements the stream of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def stream_devices(self, task_id: str) -> AsyncIterator[bytes]:
        def ranges(connection: sqlite3.Connection) -> list[tuple[int, int]]:
            require_sealed(connection, task_id)
            return _joined(connection.execute(_RANGES, (task_id,)).fetchall())

        separator = b""
        for first, last in await self.database.read(ranges):
            yield separator + await self.database.read(
                lambda connection, first=first, last=last: _piece(connection, task_id, first, last)  # type: ignore[misc]
            )
            separator = b","


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
