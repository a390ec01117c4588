"""Everything out of a MongoDB database and into one, as it is."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from pymongo import ReplaceOne, UpdateOne

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import StoredMeter
from metercast.domain.outcome import How
from metercast.domain.states import DeviceStatus
from metercast.domain.words import ErrorWord
from metercast.store.copying import AttemptRecord, CounterRecord, DeviceRecord, KeyRecord, TaskRecord
from metercast.store.counters import CounterName
from metercast.store.mongo import documents, endings, history, importing, places, sweeping
from metercast.store.mongo.counters import counter_key
from metercast.store.mongo.database import Database, call, stream
from metercast.store.mongo.devices import stored_meter
from metercast.store.mongo.keys import api_key, key_document
from metercast.store.mongo.times import find_time, get_time, put_time
from metercast.store.mongo.types import Collection, Document

_AT_ONCE = 1000
_TASKS_AT_ONCE = 200


class MongoCopying:
    """Implements store.copying.CopyStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @stream
    async def export_meters(self) -> AsyncIterator[list[StoredMeter]]:
        async for page in _pages(self.database.devices, {}, _AT_ONCE):
            yield [stored_meter(each) for each in page]

    @call
    async def import_meters(self, meters: Sequence[StoredMeter]) -> None:
        writes = []
        for meter in meters:
            document: Document = {
                "_id": meter.device_id,
                "document": meter.document,
                "sealed": meter.sealed,
                "channel": meter.channel,
                "maxSessions": meter.max_sessions,
            }
            put_time(document, "createdAt", meter.created_at)
            put_time(document, "updatedAt", meter.updated_at)
            writes.append(ReplaceOne({"_id": meter.device_id}, document, upsert=True))
        if writes:
            await self.database.devices.bulk_write(writes)

    @stream
    async def export_counters(self) -> AsyncIterator[list[CounterRecord]]:
        async for page in _pages(self.database.counters, {}, _AT_ONCE):
            yield [
                CounterRecord(
                    CounterName(each["_id"]["deviceId"], each["_id"]["key"], each["_id"]["clientSystemTitle"]),
                    int(each["nextValue"]),
                )
                for each in page
            ]

    @call
    async def import_counters(self, counters: Sequence[CounterRecord]) -> None:
        writes = [
            UpdateOne({"_id": counter_key(each.name)}, {"$max": {"nextValue": each.next_value}}, upsert=True)
            for each in counters
        ]
        if writes:
            await self.database.counters.bulk_write(writes)

    @call
    async def export_keys(self) -> list[KeyRecord]:
        found = self.database.keys.find().sort("_id")
        return [KeyRecord(api_key(each), bytes(each["secretHash"])) async for each in found]

    @call
    async def import_keys(self, keys: Sequence[KeyRecord]) -> None:
        writes = [
            ReplaceOne({"_id": each.key.key_id}, key_document(each.key, each.secret_hash), upsert=True) for each in keys
        ]
        if writes:
            await self.database.keys.bulk_write(writes)

    @stream
    async def export_tasks(self) -> AsyncIterator[list[TaskRecord]]:
        async for page in _pages(self.database.tasks, {"sealed": True}, _TASKS_AT_ONCE, documents.WITHOUT_DEVICES):
            yield [_task_record(each) for each in page]

    @stream
    async def export_task_devices(self, task_id: str) -> AsyncIterator[list[DeviceRecord]]:
        header = await endings.require_header(self.database, task_id)
        total = header["counts"]["total"]
        for first in range(0, total, header["bucketSize"] if header["bucketed"] else total):
            place = places.holding(header, first)
            found = await place.collection(self.database).find_one(place.filter, {"devices": 1})
            if found is None:
                raise documents.no_task(task_id)
            devices = found["devices"]
            kept = await history.of_devices(self.database, task_id, [each["deviceId"] for each in devices])
            yield [_device_record(each, kept[each["deviceId"]]) for each in devices]

    @call
    async def begin_import(self, task: TaskRecord) -> bool:
        found = await self.database.tasks.find_one({"_id": task.task_id}, {"taskId": 1, "sealed": 1, "creation": 1,
                                                   "bucketed": 1, "counts.total": 1})  # fmt: skip
        if found is not None and found["sealed"]:
            return False
        if found is not None:
            await sweeping.clear(self.database, found)
        await self.database.tasks.insert_one(importing.header(task, self.database.clock()))
        return True

    @call
    async def import_task_devices(self, task: TaskRecord, first: int, devices: Sequence[DeviceRecord]) -> None:
        await importing.write_devices(self.database, task, first, devices)

    @call
    async def seal_import(self, task: TaskRecord) -> None:
        await importing.seal(self.database, task)


async def _pages(
    collection: Collection, which: Document, size: int, wanted: Document | None = None
) -> AsyncIterator[list[Document]]:
    """In order of `_id`, each page a short read of its own."""
    after: Document = {}
    while page := [each async for each in collection.find(which | after, wanted).sort("_id").limit(size)]:
        yield page
        after = {"_id": {"$gt": page[-1]["_id"]}}


def _task_record(header: Mapping[str, Any]) -> TaskRecord:
    task = documents.task_of(header, None if header["outcome"] is not None else documents.NO_COUNTS)
    return TaskRecord(
        task_id=task.task_id,
        body_hash=header["bodyHash"],
        command_id=task.command_id,
        command_type=task.command_type,
        conflict_group=ConflictGroup(header["conflictGroup"]),
        command_params=task.command_params,
        scheduled_at=task.scheduled_at,
        expires_at=task.expires_at,
        status=task.status,
        created_at=task.created_at,
        updated_at=task.updated_at,
        priority=task.priority,
        requested_by=task.requested_by,
        parent_task_id=task.parent_task_id,
        follow_up_at=task.follow_up_at,
        follow_up_task_id=task.follow_up_task_id,
        retry=task.retry,
        bucket_size=header["bucketSize"],
        total=header["counts"]["total"],
        outcome=task.outcome,
        success=task.counts.success,
        failed=task.counts.failed,
        cancelled=task.counts.cancelled,
    )


def _device_record(device: Document, kept: list[Document]) -> DeviceRecord:
    return DeviceRecord(
        device_id=device["deviceId"],
        status=DeviceStatus(device["commandStatus"]),
        error=None if device["error"] is None else ErrorWord(device["error"]),
        detail=history.value_of(kept, device.get("errorDetailKey")) or device.get("errorDetail"),
        last_updated=get_time(device, "lastUpdated"),
        tries=device["attempts"],
        used=device.get("used", 0),
        association_failures=device.get("associationFailures", 0),
        verify_first=device.get("verifyFirst", False),
        next_attempt_at=find_time(device, "nextAttemptAt"),
        sent_at=find_time(device, "sentAt"),
        how=None if device.get("how") is None else How(device["how"]),
        progress=history.value_of(kept, device.get("progressKey")),
        result=history.value_of(kept, device.get("resultKey")),
        superseded=device.get("superseded", False),
        attempts=[_attempt_record(each) for each in history.ended_attempts(device, kept)],
    )


def _attempt_record(kept: Document) -> AttemptRecord:
    return AttemptRecord(
        kept["attempt"],
        kept["late"],
        find_time(kept, "startedAt"),
        get_time(kept, "endedAt"),
        None if kept["error"] is None else ErrorWord(kept["error"]),
        kept["errorDetail"],
    )
