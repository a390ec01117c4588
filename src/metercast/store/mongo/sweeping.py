"""What nobody sees any more, on MongoDB: old tasks are retired, and what is not sealed is deleted little by little.

The header goes last, so that a cut sweep is found again. `creation` in the filters keeps a sweep that was held up away
from a task that was created anew under the same id.
"""

from datetime import datetime

from metercast.store.mongo.database import Database, call
from metercast.store.mongo.times import before, floor
from metercast.store.mongo.types import Document

_CLEARED_AT_ONCE = 5000
_HEADER = {"taskId": 1, "creation": 1, "bucketed": 1, "counts.total": 1, "conflictGroup": 1}


class MongoSweeping:
    """Implements the retention of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def count_ended(self, ended_before: datetime) -> int:
        return await self.database.tasks.count_documents(_ended(ended_before))

    @call
    async def retire_tasks(self, ended_before: datetime, limit: int) -> int:
        ended = _ended(ended_before)
        oldest = self.database.tasks.find(ended, {"taskId": 1}).sort("updatedAt").limit(limit)
        retired = 0
        for task_id in [each["taskId"] async for each in oldest]:
            change = {"$set": {"sealed": False, "unsealedUntil": floor(self.database.clock())}}
            result = await self.database.tasks.update_one({"_id": task_id, "taskId": task_id} | ended, change)
            retired += result.modified_count
        return retired

    @call
    async def sweep_unsealed(self, limit: int) -> int:
        deleted = 0
        while deleted < limit:
            dead = {"sealed": False, "unsealedUntil": {"$lte": floor(self.database.clock())}}
            header = await self.database.tasks.find_one(dead, _HEADER)
            if header is None:
                break
            deleted += await _delete(self.database, header, limit - deleted)
        return deleted


async def clear(database: Database, header: Document) -> None:
    """Deletes what a dead creation left of this task."""
    while await database.tasks.find_one(_same(header), {"_id": 1}):
        await _delete(database, header, _CLEARED_AT_ONCE)


async def _delete(database: Database, header: Document, limit: int) -> int:
    """Whole buckets of the task, about `limit` devices, and its header with the last; the number of both. Never 0."""
    task_id, creation = header["taskId"], {"creation": header["creation"]}
    deleted = 0
    while deleted < limit:
        which = {"taskId": task_id} | creation
        bucket = await database.buckets.find_one(which, {"first": 1, "devices.deviceId": 1}, sort=[("first", 1)])
        if bucket is None:
            await database.history.delete_many({"taskId": task_id})
            await database.open_commands.delete_many(which)
            await database.tasks.delete_one(_same(header))
            return deleted + 1 + (0 if header["bucketed"] else header["counts"]["total"])
        ids = [each["deviceId"] for each in bucket["devices"]]
        await database.history.delete_many({"taskId": task_id, "deviceId": {"$in": ids}})
        await database.open_commands.delete_many(which | {"first": bucket["first"]})
        await database.buckets.delete_one({"_id": bucket["_id"]} | which)
        deleted += len(ids)
    return deleted


def _same(header: Document) -> Document:
    return {"_id": header["taskId"], "taskId": header["taskId"], "creation": header["creation"], "sealed": False}


def _ended(ended_before: datetime) -> Document:
    """One whose follow-up is still to come is not done with."""
    settled = {"$or": [{"followUpAt": {"$exists": False}}, {"followUpTaskId": {"$exists": True}}]}
    return {"$and": [{"open": False, "sealed": True, **before("updatedAt", ended_before)}, settled]}
