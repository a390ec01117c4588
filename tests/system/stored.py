"""What a server's database really holds, asked of the database itself, whichever it is, while the server runs."""

import asyncio
import sqlite3
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import asyncpg
from pymongo import MongoClient

from metercast.store.sqlite.times import to_text

Counted = tuple[int, int, int, int, int]  # pending, sent, success, failed, cancelled


class Stored(Protocol):
    url: str
    fleet: int  # meters that keep it busy for a minute
    kills: int

    def sent(self, since: datetime) -> Counter[str]:
        """Devices that are SENT, and became so after `since`, by command type."""
        ...

    def devices(self, task_id: str) -> list[tuple[str, str, str | None]]:
        """Device id, status and error word."""
        ...

    def bucket_counts(self, task_id: str) -> Counted:
        """The sum over the buckets of the task."""
        ...

    def tasks(self) -> int: ...


_SENT = """
SELECT t.command_type, count(*) FROM task_devices d JOIN tasks t ON t.task_id = d.task_id
WHERE d.command_status = 'SENT' AND d.sent_at > {0} GROUP BY 1
"""
_DEVICES = "SELECT device_id, command_status, error_message FROM task_devices WHERE task_id = {0}"
_COUNTS = """
SELECT sum(pending), sum(sent), sum(success), sum(failed), sum(cancelled) FROM task_buckets WHERE task_id = {0}
"""
_TASKS = "SELECT count(*) FROM tasks"


class SqliteStored:
    fleet = 2000
    kills = 5

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    def sent(self, since: datetime) -> Counter[str]:
        return Counter(dict(self.rows(_SENT.format("?"), to_text(since))))

    def devices(self, task_id: str) -> list[tuple[str, str, str | None]]:
        return [(row[0], row[1], row[2]) for row in self.rows(_DEVICES.format("?"), task_id)]

    def bucket_counts(self, task_id: str) -> Counted:
        ((pending, sent, success, failed, cancelled),) = self.rows(_COUNTS.format("?"), task_id)
        return pending, sent, success, failed, cancelled

    def tasks(self) -> int:
        return int(self.rows(_TASKS)[0][0])


class PostgresStored:
    fleet = 2000
    kills = 5

    def __init__(self, url: str) -> None:
        self.url = url

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        async def fetch() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.url)
            try:
                return [tuple(row) for row in await connection.fetch(statement, *parameters)]
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def sent(self, since: datetime) -> Counter[str]:
        return Counter(dict(self.rows(_SENT.format("$1"), since)))

    def devices(self, task_id: str) -> list[tuple[str, str, str | None]]:
        return [(row[0], row[1], row[2]) for row in self.rows(_DEVICES.format("$1"), task_id)]

    def bucket_counts(self, task_id: str) -> Counted:
        ((pending, sent, success, failed, cancelled),) = self.rows(_COUNTS.format("$1"), task_id)
        return int(pending), int(sent), int(success), int(failed), int(cancelled)

    def tasks(self) -> int:
        return int(self.rows(_TASKS)[0][0])


class MongoStored:
    """The server of the tests is slow: a small fleet keeps it busy.

    A task of one bucket is a document of `tasks`; of a larger one the buckets are in `task_buckets`.
    """

    fleet = 150
    kills = 2  # after each the next server waits for the end of the dead one's claim

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: MongoClient[dict[str, Any]] = MongoClient(url, tz_aware=True)
        self._database = self._client.get_default_database()

    def close(self) -> None:
        self._client.close()

    def sent(self, since: datetime) -> Counter[str]:
        found: Counter[str] = Counter()
        for bucket in self._buckets({"devices.commandStatus": "SENT"}):
            for device in bucket["devices"]:
                found[bucket["commandType"]] += device["commandStatus"] == "SENT" and device["sentAt"] > since
        return +found

    def devices(self, task_id: str) -> list[tuple[str, str, str | None]]:
        return [
            (device["deviceId"], device["commandStatus"], device["error"])
            for bucket in self._buckets({"taskId": task_id})
            for device in bucket["devices"]
        ]

    def bucket_counts(self, task_id: str) -> Counted:
        total: Counter[str] = Counter()
        for bucket in self._buckets({"taskId": task_id}):
            total.update(bucket["counts"])
        return total["pending"], total["sent"], total["success"], total["failed"], total["cancelled"]

    def tasks(self) -> int:
        return self._database["tasks"].count_documents({})

    def _buckets(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        small = self._database["tasks"].find(query | {"bucketed": False})
        return [*small, *self._database["task_buckets"].find(query)]
