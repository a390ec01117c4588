"""Invocation counters on SQLite."""

import sqlite3
from datetime import datetime

from metercast.store.counters import CounterExhausted, CounterName
from metercast.store.sqlite.database import Database

_LIMIT = 2**32

_FIND = """
SELECT next_value FROM invocation_counters WHERE device_id = ? AND key_fingerprint = ? AND client_system_title = ?
"""
_SAVE = """
INSERT INTO invocation_counters (device_id, key_fingerprint, client_system_title, next_value) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET next_value = excluded.next_value
"""


class SqliteCounters:
    """Implements store.counters.CounterStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def reserve_counters(self, name: CounterName, count: int, at_least: int = 0) -> int:
        if count < 0:
            raise ValueError(f"cannot reserve {count} values")
        key = (name.device_id, name.key, name.client_system_title)

        def work(connection: sqlite3.Connection, now: datetime) -> int:
            row = connection.execute(_FIND, key).fetchone()
            first = max(at_least, row[0] if row else 1)
            if first + count > _LIMIT:
                raise CounterExhausted(f"the invocation counter of {name.device_id} is at {first} of {_LIMIT}")
            if count:
                connection.execute(_SAVE, (*key, first + count))
            return first

        return await self.database.write(work)
