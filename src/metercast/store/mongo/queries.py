"""What people ask of tasks, on MongoDB: look up and page. A task that is not sealed is not there."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from pymongo import ASCENDING, DESCENDING

from metercast.domain.problem import NotFound
from metercast.domain.states import DeviceStatus
from metercast.domain.task import Attempt, DeviceCommand, DeviceCommandDetail, Task
from metercast.domain.words import ErrorWord
from metercast.store.mongo import documents, endings, history
from metercast.store.mongo.database import Database, call
from metercast.store.mongo.documents import WITHOUT_DEVICES
from metercast.store.mongo.times import before, find_time, floor, get_time, not_before, to_text
from metercast.store.mongo.types import Document
from metercast.store.pages import Page, decode_cursor, encode_cursor
from metercast.store.tasks import DeviceQuery, ErrorCount, TaskQuery

_Position = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]

_NEWEST_FIRST = [("createdAt", DESCENDING), ("taskId", DESCENDING)]
_BUCKETS_AT_ONCE = 4


class MongoQueries:
    """Implements the reading half of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def get_task(self, task_id: str) -> Task:
        return await endings.require_task(self.database, task_id)

    @call
    async def list_tasks(self, query: TaskQuery, limit: int, cursor: str | None) -> Page[Task]:
        conditions = await self._conditions(query)
        if cursor is not None:
            created_at, task_id = decode_cursor(query, cursor, tuple[_Instant, str])
            earlier = {"createdAt": floor(created_at), "taskId": {"$lt": task_id}}
            conditions.append({"$or": [{"createdAt": {"$lt": floor(created_at)}}, earlier]})
        found = self.database.tasks.find({"$and": conditions}, WITHOUT_DEVICES).sort(_NEWEST_FIRST).limit(limit + 1)
        headers = [each async for each in found]
        items = await endings.tasks_of(self.database, headers[:limit])
        if len(headers) <= limit:
            return Page(items, None)
        last = headers[limit - 1]
        return Page(items, encode_cursor(query, [to_text(last["createdAt"]), last["taskId"]]))

    @call
    async def due_follow_ups(self, limit: int) -> list[Task]:
        now = self.database.clock()
        due = {"followUpAt": {"$lte": floor(now)}, "followUpTaskId": {"$exists": False}, "open": False, "sealed": True}
        found = self.database.tasks.find(due, WITHOUT_DEVICES).sort([("followUpAt", ASCENDING), ("taskId", ASCENDING)])
        headers = [each async for each in found.limit(limit)]
        return await endings.tasks_of(self.database, [each for each in headers if get_time(each, "followUpAt") <= now])

    async def _conditions(self, query: TaskQuery) -> list[Document]:
        conditions: list[Document] = [{"sealed": True}]
        wanted = (("commandId", query.command_id), ("status", query.status), ("commandType", query.command_type))
        conditions += [{name: value} for name, value in wanted if value is not None]
        if query.device_id is not None:
            large = await self.database.buckets.distinct("taskId", {"devices.deviceId": query.device_id})
            conditions.append({"$or": [{"devices.deviceId": query.device_id}, {"_id": {"$in": large}}]})
        if query.created_from is not None:
            conditions.append(not_before("createdAt", query.created_from))
        if query.created_to is not None:
            conditions.append(before("createdAt", query.created_to))
        return conditions

    @call
    async def list_devices(
        self, task_id: str, query: DeviceQuery, limit: int, cursor: str | None
    ) -> Page[DeviceCommand]:
        asked = [task_id, query]
        start = 0 if cursor is None else decode_cursor(asked, cursor, tuple[_Position])[0]
        header = await endings.require_header(
            self.database, task_id, {"taskId": 1, "bucketed": 1, "bucketSize": 1, "counts.total": 1}
        )
        found: list[tuple[int, Document]] = []
        async for first, devices in self._buckets(header, start, query):
            for index, device in enumerate(devices):
                if first + index >= start and _matches(query, device):
                    found.append((first + index, device))
            if len(found) > limit:
                break
        shown = [device for _, device in found[:limit]]
        await history.whole_details(self.database, task_id, shown)
        items = [documents.command_of(each) for each in shown]
        return Page(items, encode_cursor(asked, [found[limit - 1][0] + 1]) if len(found) > limit else None)

    async def _buckets(
        self, header: Document, start: int, query: DeviceQuery
    ) -> AsyncIterator[tuple[int, list[Document]]]:
        """Those from `start` on that hold anything of what is asked for."""
        task_id = header["taskId"]
        if not header["bucketed"]:
            found = await self.database.tasks.find_one(documents.sealed(task_id), {"devices": 1})
            if found is not None:
                yield 0, found["devices"]
            return
        which: Document = {"taskId": task_id, "first": {"$gte": start // header["bucketSize"] * header["bucketSize"]}}
        any_of = _any_of(query)
        if any_of:
            which["devices"] = {"$elemMatch": any_of}
        wanted = {"first": 1, "devices": 1}
        in_order = self.database.buckets.find(which, wanted).sort("first", ASCENDING).batch_size(_BUCKETS_AT_ONCE)
        async with in_order as cursor:
            async for each in cursor:
                yield each["first"], each["devices"]

    @call
    async def get_device_command(self, task_id: str, device_id: str) -> DeviceCommandDetail:
        wanted = {"commandType": 1, "bucketed": 1, "devices": {"$elemMatch": {"deviceId": device_id}}}
        header = await self.database.tasks.find_one(documents.sealed(task_id), wanted)
        devices = [] if header is None else header.get("devices", [])
        if header is not None and header["bucketed"]:
            which = {"taskId": task_id, "devices.deviceId": device_id}
            bucket = await self.database.buckets.find_one(which, {"devices": wanted["devices"]})
            devices = [] if bucket is None else bucket["devices"]
        if header is None or not devices:
            raise NotFound(f"no device {device_id!r} in task {task_id!r}")
        kept = (await history.of_devices(self.database, task_id, [device_id]))[device_id]
        return _detail(task_id, header["commandType"], devices[0], kept)

    @call
    async def error_counts(self, task_id: str) -> list[ErrorCount]:
        header = await endings.require_header(self.database, task_id, {"bucketed": 1})
        collection = self.database.buckets if header["bucketed"] else self.database.tasks
        word = "$devices.error"
        pipeline: list[Document] = [
            {"$match": {"taskId": task_id}},
            {"$project": {"devices.commandStatus": 1, "devices.error": 1}},
            {"$unwind": "$devices"},
            {"$match": {"devices.error": {"$ne": None}}},
            {"$group": {"_id": {"status": "$devices.commandStatus", "error": word}, "devices": {"$sum": 1}}},
            {"$sort": {"devices": -1, "_id.error": 1, "_id.status": 1}},
        ]
        async with await collection.aggregate(pipeline) as cursor:
            return [
                ErrorCount(DeviceStatus(each["_id"]["status"]), ErrorWord(each["_id"]["error"]), each["devices"])
                async for each in cursor
            ]


def _any_of(query: DeviceQuery) -> Document:
    """Coarse where times have a rest below the millisecond: `_matches` is exact."""
    wanted: Document = {}
    if query.status is not None:
        wanted["commandStatus"] = query.status
    if query.error is not None:
        wanted["error"] = query.error
    if query.updated_since is not None:
        wanted["lastUpdated"] = {"$gte": floor(query.updated_since)}
    return wanted


def _matches(query: DeviceQuery, device: Mapping[str, Any]) -> bool:
    return (
        (query.status is None or device["commandStatus"] == query.status)
        and (query.error is None or device["error"] == query.error)
        and (query.updated_since is None or get_time(device, "lastUpdated") >= query.updated_since)
    )


def _detail(task_id: str, command_type: str, device: Document, kept: list[Document]) -> DeviceCommandDetail:
    device["errorDetail"] = history.value_of(kept, device.get("errorDetailKey")) or device.get("errorDetail")
    fields = documents.command_fields(device)
    attempts = [history.attempt_of(each) for each in history.ended_attempts(device, kept)]
    status, sent_at, number = fields["command_status"], find_time(device, "sentAt"), device["attempts"]
    decided = any(attempt.attempt == number for attempt in attempts)
    if status in (DeviceStatus.SENT, DeviceStatus.SUCCESS) and sent_at is not None and not decided:
        ended_at = fields["last_updated"] if status is DeviceStatus.SUCCESS else None
        attempts.append(Attempt(attempt=number, started_at=sent_at, ended_at=ended_at))
    return DeviceCommandDetail(
        **fields,
        task_id=task_id,
        command_type=command_type,
        attempts_made=attempts,
        result=history.value_of(kept, device.get("resultKey")),
    )
