"""The registry of meters on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from metercast.domain.meter import StoredMeter
from metercast.domain.problem import Conflict, NotFound
from metercast.store.devices import MeterWrite, secrets_changed
from metercast.store.pages import Page, decode_cursor, encode_cursor
from metercast.store.postgres.database import Connection, Database
from metercast.store.postgres.texts import findable

SELECT_METERS = "SELECT device_id, document, sealed, channel, max_sessions, created_at, updated_at FROM devices"

# In order of the ids, so that two of these at a time can't wait for each other. A new row was changed by nobody.
_PUT = """
WITH put AS (
  INSERT INTO devices (device_id, document, sealed, channel, max_sessions, created_at, updated_at)
  SELECT d.device_id, d.document, d.sealed, d.channel, d.max_sessions, $6, $6
  FROM unnest($1::varchar[], $2::bytea[], $3::bytea[], $4::varchar[], $5::integer[])
    d (device_id, document, sealed, channel, max_sessions)
  ON CONFLICT (device_id) DO UPDATE SET document = excluded.document, sealed = excluded.sealed,
    channel = excluded.channel, max_sessions = excluded.max_sessions, updated_at = excluded.updated_at
  RETURNING (xmax = 0) AS is_new
) SELECT count(*) FILTER (WHERE is_new) FROM put
"""

# Locks what is there until the transaction ends; in order of the ids, as above.
_FIND_SEALED = (
    "SELECT device_id, sealed FROM devices WHERE device_id = ANY ($1::varchar[]) ORDER BY device_id FOR UPDATE"
)
_REPLACE_SECRETS = """
UPDATE devices SET sealed = $3, updated_at = $4
WHERE device_id = $1 AND (sealed IS NOT DISTINCT FROM $2 OR sealed IS NOT DISTINCT FROM $3) RETURNING 1
"""

_OPEN_TASK = """
SELECT d.task_id FROM task_devices d JOIN tasks t ON t.task_id = d.task_id
WHERE d.device_id = $1 AND t.outcome IS NULL AND t.unsealed_until IS NULL AND d.command_status IN ('PENDING', 'SENT')
LIMIT 1
"""


class PostgresDevices:
    """Implements store.devices.DeviceStore."""

    database: Database

    async def put_devices(self, devices: Sequence[MeterWrite]) -> int:
        put = sorted({device.device_id: device for device in devices}.values(), key=lambda device: device.device_id)
        columns = (
            [device.device_id for device in put],
            [device.document for device in put],
            [device.sealed for device in put],
            [device.channel for device in put],
            [device.max_sessions for device in put],
        )
        guarded = [device for device in put if device.replaces is not msgspec.UNSET]
        if not guarded:
            row = await self.database.call(_PUT, *columns, self.database.clock())
            return int(row[0])

        async def work(connection: Connection, now: datetime) -> int:
            ids = [device.device_id for device in guarded]
            found = {row[0]: row[1] for row in await connection.fetch(_FIND_SEALED, ids)}
            for device in guarded:
                if device.device_id in found and found[device.device_id] not in (device.replaces, device.sealed):
                    raise secrets_changed(device.device_id)
            return int((await connection.fetchrow(_PUT, *columns, now))[0])

        return await self.database.write(work)

    async def replace_secrets(self, device_id: str, expected: bytes | None, sealed: bytes | None) -> bool:
        row = (findable(device_id), expected, sealed, self.database.clock())
        return await self.database.call(_REPLACE_SECRETS, *row) is not None

    async def get_device(self, device_id: str) -> StoredMeter:
        found = await self.find_devices([device_id])
        if device_id not in found:
            raise NotFound(f"no device {device_id!r}")
        return found[device_id]

    async def find_devices(self, device_ids: Sequence[str]) -> dict[str, StoredMeter]:
        rows = await self.database.rows(
            f"{SELECT_METERS} WHERE device_id = ANY ($1::varchar[])", [findable(each) for each in device_ids]
        )
        return {row[0]: stored_meter(row) for row in rows}

    async def list_registered(self, prefix: str | None, limit: int, cursor: str | None) -> Page[StoredMeter]:
        query = ["devices", prefix]
        after = "" if cursor is None else findable(decode_cursor(query, cursor, tuple[str])[0])
        first = findable(prefix or "")
        rows = await self.database.rows(
            f"{SELECT_METERS} WHERE device_id > $1 AND device_id >= $2 AND device_id < $3 ORDER BY device_id LIMIT $4",
            after, first, first + chr(0x10FFFF), limit + 1,
        )  # fmt: skip
        items = [stored_meter(row) for row in rows[:limit]]
        return Page(items, encode_cursor(query, [items[-1].device_id]) if len(rows) > limit else None)

    async def delete_device(self, device_id: str) -> None:
        async def work(connection: Connection, now: datetime) -> None:
            if (
                await connection.fetchrow("DELETE FROM devices WHERE device_id = $1 RETURNING 1", findable(device_id))
                is None
            ):
                raise NotFound(f"no device {device_id!r}")
            task = await connection.fetchrow(_OPEN_TASK, device_id)
            if task is not None:
                raise Conflict(f"device {device_id!r} is in task {task[0]}, which is not done with it")
            await connection.execute("DELETE FROM image_transfers WHERE device_id = $1", device_id)

        await self.database.write(work, repeat=False)

    async def count_devices(self) -> int:
        row = await self.database.call("SELECT count(*) FROM devices")
        return int(row[0])


def stored_meter(row: Sequence[Any]) -> StoredMeter:
    """From the seven columns of `SELECT_METERS`."""
    return StoredMeter(row[0], row[1], row[2], row[3], row[4], row[5], row[6])
