"""The registry of meters on SQLite."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from metercast.domain.meter import StoredMeter
from metercast.domain.problem import Conflict, NotFound
from metercast.store.devices import MeterWrite, secrets_changed
from metercast.store.pages import Page, decode_cursor, encode_cursor
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.times import from_text, to_text

_SELECT = "SELECT device_id, document, sealed, channel, max_sessions, created_at, updated_at FROM devices"

_PUT = """
INSERT INTO devices (device_id, document, sealed, channel, max_sessions, created_at, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
ON CONFLICT (device_id) DO UPDATE SET document = excluded.document, sealed = excluded.sealed,
  channel = excluded.channel, max_sessions = excluded.max_sessions, updated_at = excluded.updated_at
"""

_FIND_SEALED = "SELECT sealed FROM devices WHERE device_id = ?"
_REPLACE_SECRETS = """
UPDATE devices SET sealed = ?3, updated_at = ?4 WHERE device_id = ?1 AND (sealed IS ?2 OR sealed IS ?3)
"""

_COUNT_KNOWN = "SELECT count(*) FROM devices WHERE device_id IN (SELECT value FROM json_each(?))"

_OPEN_TASK = """
SELECT d.task_id FROM task_devices d JOIN tasks t ON t.task_id = d.task_id
WHERE d.device_id = ? AND t.outcome IS NULL AND t.unsealed_until IS NULL AND d.command_status IN ('PENDING', 'SENT')
LIMIT 1
"""


class SqliteDevices:
    """Implements store.devices.DeviceStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def put_devices(self, devices: Sequence[MeterWrite]) -> int:
        ids = msgspec.json.encode([device.device_id for device in devices]).decode()

        def work(connection: sqlite3.Connection, now: datetime) -> int:
            text = to_text(now)
            for device in devices:
                _check_replaced(connection, device)
            (known,) = connection.execute(_COUNT_KNOWN, (ids,)).fetchone()
            connection.executemany(
                _PUT, [(d.device_id, d.document, d.sealed, d.channel, d.max_sessions, text) for d in devices]
            )
            return len({d.device_id for d in devices}) - int(known)

        return await self.database.write(work)

    async def replace_secrets(self, device_id: str, expected: bytes | None, sealed: bytes | None) -> bool:
        def work(connection: sqlite3.Connection, now: datetime) -> bool:
            row = (device_id, expected, sealed, to_text(now))
            return connection.execute(_REPLACE_SECRETS, row).rowcount == 1

        return await self.database.write(work)

    async def get_device(self, device_id: str) -> StoredMeter:
        found = await self.find_devices([device_id])
        if device_id not in found:
            raise NotFound(f"no device {device_id!r}")
        return found[device_id]

    async def find_devices(self, device_ids: Sequence[str]) -> dict[str, StoredMeter]:
        ids = msgspec.json.encode(device_ids).decode()

        def work(connection: sqlite3.Connection) -> dict[str, StoredMeter]:
            rows = connection.execute(f"{_SELECT} WHERE device_id IN (SELECT value FROM json_each(?))", (ids,))
            return {row[0]: stored_meter(row) for row in rows}

        return await self.database.read(work)

    async def list_registered(self, prefix: str | None, limit: int, cursor: str | None) -> Page[StoredMeter]:
        query = ["devices", prefix]
        after = "" if cursor is None else decode_cursor(query, cursor, tuple[str])[0]

        def work(connection: sqlite3.Connection) -> list[StoredMeter]:
            rows = connection.execute(
                f"{_SELECT} WHERE device_id > ? AND device_id >= ? AND device_id < ? ORDER BY device_id LIMIT ?",
                (after, prefix or "", (prefix or "") + chr(0x10FFFF), limit + 1),
            )
            return [stored_meter(row) for row in rows]

        found = await self.database.read(work)
        more = len(found) > limit
        items = found[:limit]
        return Page(items, encode_cursor(query, [items[-1].device_id]) if more else None)

    async def delete_device(self, device_id: str) -> None:
        def work(connection: sqlite3.Connection, now: datetime) -> None:
            if connection.execute("DELETE FROM devices WHERE device_id = ?", (device_id,)).rowcount == 0:
                raise NotFound(f"no device {device_id!r}")
            task = connection.execute(_OPEN_TASK, (device_id,)).fetchone()
            if task is not None:
                raise Conflict(f"device {device_id!r} is in task {task[0]}, which is not done with it")
            connection.execute("DELETE FROM image_transfers WHERE device_id = ?", (device_id,))

        await self.database.write(work)

    async def count_devices(self) -> int:
        return await self.database.read(
            lambda connection: int(connection.execute("SELECT count(*) FROM devices").fetchone()[0])
        )


def _check_replaced(connection: sqlite3.Connection, device: MeterWrite) -> None:
    if device.replaces is msgspec.UNSET:
        return
    found = connection.execute(_FIND_SEALED, (device.device_id,)).fetchone()
    if found is not None and found[0] not in (device.replaces, device.sealed):
        raise secrets_changed(device.device_id)


def stored_meter(row: Sequence[Any]) -> StoredMeter:
    """From the seven columns of devices, in the order of its table; more may follow."""
    return StoredMeter(row[0], row[1], row[2], row[3], row[4], from_text(row[5]), from_text(row[6]))
