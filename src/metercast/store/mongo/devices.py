"""The registry of meters on MongoDB. `document` is the JSON of a meter's record, as octets; its secrets are sealed."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from metercast.domain.meter import StoredMeter
from metercast.domain.problem import Conflict, NotFound
from metercast.domain.states import DeviceStatus
from metercast.store.devices import MeterWrite, secrets_changed
from metercast.store.mongo.database import Database, call
from metercast.store.mongo.lookup import by_id
from metercast.store.mongo.times import get_time, set_time
from metercast.store.mongo.types import Document
from metercast.store.pages import Page, decode_cursor, encode_cursor

_AT_ONCE = 1000
_DUPLICATE = 11000
_OPEN = [DeviceStatus.PENDING, DeviceStatus.SENT]


class MongoDevices:
    """Implements store.devices.DeviceStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def put_devices(self, devices: Sequence[MeterWrite]) -> int:
        """Each of them wholly or not at all, in their order: where the call is cut, its repetition writes the rest."""
        now = self.database.clock()
        new = 0
        for start in range(0, len(devices), _AT_ONCE):
            writes = []
            for each in devices[start : start + _AT_ONCE]:
                fields: Document = {
                    "document": each.document,
                    "sealed": each.sealed,
                    "channel": each.channel,
                    "maxSessions": each.max_sessions,
                }
                created: Document = {}
                set_time(fields, "updatedAt", now)
                set_time(created, "createdAt", now)
                guard: Document = {"_id": each.device_id}
                if each.replaces is not msgspec.UNSET:
                    guard["sealed"] = {"$in": [each.replaces, each.sealed]}
                writes.append(UpdateOne(guard, {"$set": fields, "$setOnInsert": created}, upsert=True))
            try:
                new += (await self.database.devices.bulk_write(writes)).upserted_count
            except BulkWriteError as error:
                # One that is there and not as its guard says would be inserted beside itself.
                failed = error.details["writeErrors"][0]
                if failed["code"] != _DUPLICATE:
                    raise
                raise secrets_changed(devices[start + failed["index"]].device_id) from error
        return new

    @call
    async def replace_secrets(self, device_id: str, expected: bytes | None, sealed: bytes | None) -> bool:
        fields: Document = {"sealed": sealed}
        set_time(fields, "updatedAt", self.database.clock())
        guard = {"_id": device_id, "sealed": {"$in": [expected, sealed]}}
        return (await self.database.devices.update_one(guard, {"$set": fields})).matched_count == 1

    @call
    async def get_device(self, device_id: str) -> StoredMeter:
        found = await self.database.devices.find_one({"_id": device_id})
        if found is None:
            raise NotFound(f"no device {device_id!r}")
        return stored_meter(found)

    @call
    async def find_devices(self, device_ids: Sequence[str]) -> dict[str, StoredMeter]:
        return {each["_id"]: stored_meter(each) async for each in by_id(self.database.devices, device_ids)}

    @call
    async def list_registered(self, prefix: str | None, limit: int, cursor: str | None) -> Page[StoredMeter]:
        query = ["devices", prefix]
        conditions: list[Document] = [{}]
        if cursor is not None:
            conditions.append({"_id": {"$gt": decode_cursor(query, cursor, tuple[str])[0]}})
        if prefix:
            conditions.append({"_id": {"$gte": prefix, "$lt": prefix + chr(0x10FFFF)}})
        in_order = self.database.devices.find({"$and": conditions}).sort("_id").limit(limit + 1)
        found = [stored_meter(each) async for each in in_order]
        items = found[:limit]
        return Page(items, encode_cursor(query, [items[-1].device_id]) if len(found) > limit else None)

    @call
    async def delete_device(self, device_id: str) -> None:
        if not await self.database.devices.find_one({"_id": device_id}, {"_id": 1}):
            raise NotFound(f"no device {device_id!r}")
        task_id = await self._open_task(device_id)
        if task_id is not None:
            raise Conflict(f"device {device_id!r} is in task {task_id}, which is not done with it")
        await self.database.transfers.delete_one({"_id": device_id})
        if not (await self.database.devices.delete_one({"_id": device_id})).deleted_count:
            raise NotFound(f"no device {device_id!r}")

    async def _open_task(self, device_id: str) -> str | None:
        """A task that still needs it. One that is created right now will find it unknown."""
        needs = {"devices": {"$elemMatch": {"deviceId": device_id, "commandStatus": {"$in": _OPEN}}}}
        is_open = {"open": True, "sealed": True}
        small = await self.database.tasks.find_one(needs | is_open, {"_id": 1})
        if small is not None:
            return str(small["_id"])
        large = await self.database.buckets.distinct("taskId", needs)
        header = await self.database.tasks.find_one({"_id": {"$in": large}} | is_open, {"_id": 1}) if large else None
        return None if header is None else str(header["_id"])

    @call
    async def count_devices(self) -> int:
        return await self.database.devices.count_documents({})


def stored_meter(found: Mapping[str, Any]) -> StoredMeter:
    return StoredMeter(
        found["_id"],
        found["document"],
        found["sealed"],
        found["channel"],
        found["maxSessions"],
        get_time(found, "createdAt"),
        get_time(found, "updatedAt"),
    )
