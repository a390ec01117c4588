"""Tasks on MongoDB: act upon, move on.

A task of one document changes in one update. Of a larger one the header changes first, and then its buckets, a command
for many; `cancelled` on a bucket says that the cancel has been there. Where that is cut, the sweeps go on with it:
`finalise_ended` cancels what still waits in a cancelled task, `expire_due` comes again as long as anything waits.
"""

from datetime import datetime
from typing import Any

from pymongo import UpdateOne

from metercast.domain.states import TASK_TRANSITIONS, DeviceStatus, TaskEvent, TaskStatus, states_before, task_after
from metercast.domain.task import Counts, Task
from metercast.domain.words import ErrorWord
from metercast.store.mongo import endings, places
from metercast.store.mongo.changes import Changes
from metercast.store.mongo.database import Database, call
from metercast.store.mongo.documents import WITHOUT_DEVICES, counts, sealed
from metercast.store.mongo.held import not_cancelled
from metercast.store.mongo.history import Keeping, whole_details
from metercast.store.mongo.places import Place
from metercast.store.mongo.rounds import Rounds
from metercast.store.mongo.schema import COUNTS_INDEX
from metercast.store.mongo.times import floor, get_time, set_time
from metercast.store.mongo.types import Document

_EXPIRES_FROM = [TaskStatus.QUEUED, TaskStatus.IN_PROGRESS, TaskStatus.PAUSED]
_BUCKETS_AT_ONCE = 200

# What no cancel has been to.
_NOT_CANCELLED: Document = {
    "$or": [{"counts.pending": {"$gt": 0}}, {"counts.sent": {"$gt": 0}, "cancelled": {"$ne": True}}]
}

assert states_before(TASK_TRANSITIONS, TaskEvent.START) == (TaskStatus.QUEUED,)


class MongoTasks:
    """Implements the acting half of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def cancel_task(self, task_id: str) -> Task:
        rounds = Rounds(f"task {task_id}")
        while True:
            await rounds.next()
            header = await endings.require_header(self.database, task_id)
            status = task_after(TaskStatus(header["status"]), TaskEvent.CANCEL)
            now = self.database.clock()
            if not header["bucketed"]:
                if await self._cancel_bucket(places.whole_task(task_id), header, now, status=header["status"]):
                    break
            elif await self._set_status(header, status, now):
                await self._cancel_buckets(task_id, now)
                break
        await self._finalise(task_id, now)
        return await endings.require_task(self.database, task_id)

    @call
    async def pause_task(self, task_id: str) -> Task:
        return await self._move(task_id, lambda header, now: TaskEvent.PAUSE)

    @call
    async def resume_task(self, task_id: str) -> Task:
        return await self._move(
            task_id,
            lambda header, now: TaskEvent.RESUME_EARLY if get_time(header, "scheduledAt") > now else TaskEvent.RESUME,
        )

    async def _move(self, task_id: str, event: Any) -> Task:
        """One guarded write; raises NotFound or IllegalTransition."""
        rounds = Rounds(f"task {task_id}")
        while True:
            await rounds.next()
            header, now = await endings.require_header(self.database, task_id), self.database.clock()
            status = task_after(TaskStatus(header["status"]), event(header, now))
            if await self._set_status(header, status, now):
                return await endings.require_task(self.database, task_id)

    async def _set_status(self, header: Document, status: TaskStatus, now: datetime) -> bool:
        """Whether the task was still as in `header`."""
        fields: Document = {"status": status}
        set_time(fields, "updatedAt", now)
        guard = sealed(header["taskId"]) | {"status": header["status"], "open": header["open"]}
        return (await self.database.tasks.update_one(guard, {"$set": fields})).modified_count == 1

    @call
    async def start_due_tasks(self) -> list[str]:
        now = self.database.clock()
        due = {"open": True, "sealed": True, "status": TaskStatus.QUEUED, "scheduledAt": {"$lte": floor(now)}}
        wanted = {"taskId": 1, "status": 1, "open": 1, "scheduledAt": 1, "micros": 1}
        found = self.database.tasks.find(due, wanted)
        headers = [each async for each in found if get_time(each, "scheduledAt") <= now]
        return [each["taskId"] for each in headers if await self._set_status(each, TaskStatus.IN_PROGRESS, now)]

    @call
    async def expire_due(self) -> list[str]:
        now = self.database.clock()
        expired = {"open": True, "sealed": True, "expiresAt": {"$lte": floor(now)}, "status": {"$in": _EXPIRES_FROM}}
        waits = {"$or": [{"bucketed": True}, {"counts.pending": {"$gt": 0}}]}
        found = self.database.tasks.find(expired | waits, {"taskId": 1, "bucketed": 1, "expiresAt": 1, "micros": 1})
        headers = [each async for each in found if get_time(each, "expiresAt") <= now]
        return [each["taskId"] for each in headers if await self._expire_task(each, now)]

    async def _expire_task(self, header: Document, now: datetime) -> bool:
        """Whether anything in it waited."""
        task_id = header["taskId"]
        if not header["bucketed"]:
            return await self._expire_bucket(places.whole_task(task_id), now)
        waiting = self.database.buckets.find({"taskId": task_id, "counts.pending": {"$gt": 0}}, {"first": 1})
        firsts = [each["first"] async for each in waiting.hint(COUNTS_INDEX)]
        ended = [await self._expire_bucket(places.bucket(task_id, first), now) for first in firsts]
        return any(ended)

    async def _expire_bucket(self, place: Place, now: datetime) -> bool:
        collection = place.collection(self.database)
        rounds = Rounds(f"task {place.task_id}")
        while True:
            await rounds.next()
            found = await collection.find_one(place.filter)
            if found is None or found.get("status", TaskStatus.IN_PROGRESS) not in _EXPIRES_FROM:
                return False
            status = TaskStatus(found.get("status", TaskStatus.IN_PROGRESS))
            changes = Changes(place, found["counts"], not_cancelled(place, status))
            keeping = Keeping(self.database, place.task_id)
            waiting = [
                (place.first + index, each)
                for index, each in enumerate(found["devices"])
                if each["commandStatus"] == DeviceStatus.PENDING
            ]
            if not waiting or found.get("cancelled"):
                return False
            await whole_details(self.database, place.task_id, (each for _, each in waiting))
            for position, device in waiting:
                changes.move(position, device, DeviceStatus.FAILED, now, _expired(keeping, device))
            await keeping.write()
            if await changes.make(self.database):
                return True

    @call
    async def settle_follow_up(self, task_id: str, follow_up_task_id: str | None) -> None:
        pending = {"followUpAt": {"$exists": True}, "followUpTaskId": {"$exists": False}}
        change = {"$unset": {"followUpAt": ""}}
        if follow_up_task_id is not None:
            change = {"$set": {"followUpTaskId": follow_up_task_id}}
        await self.database.tasks.update_one(sealed(task_id) | pending, change)

    @call
    async def finalise_ended(self) -> list[Task]:
        now = self.database.clock()
        ended = {"$or": [{"bucketed": True}, {"bucketed": False, "counts.pending": 0, "counts.sent": 0}]}
        found = self.database.tasks.find({"open": True, "sealed": True} | ended, {"status": 1, "bucketed": 1})
        headers = [each async for each in found]
        live = await endings.live_counts(self.database, [each["_id"] for each in headers if each["bucketed"]])
        finalised = [
            await self._finalise(each["_id"], now)
            for each in headers
            if not each["bucketed"] or _may_end(each["status"], live.get(each["_id"]))
        ]
        corrected = self.database.tasks.find({"sealed": True, "recountAt": {"$lte": floor(now)}}, {"_id": 1})
        for task_id in [each["_id"] async for each in corrected]:
            await endings.recount(self.database, task_id, now, sweep=True)
        return [task for task in finalised if task is not None]

    async def _finalise(self, task_id: str, now: datetime) -> Task | None:
        """None where it has open devices or is final already."""
        rounds = Rounds(f"task {task_id}")
        while True:
            await rounds.next()
            header = await self.database.tasks.find_one(sealed(task_id) | {"open": True}, WITHOUT_DEVICES)
            if header is None:
                return None
            live = counts(header) if not header["bucketed"] else await self._live(task_id)
            if live is None or not _may_end(header["status"], live):
                return None
            if live.pending:
                await self._cancel_buckets(task_id, now)
                continue
            task = await endings.finalise(self.database, header, live, now)
            if task is not None:
                return task

    async def _live(self, task_id: str) -> Counts | None:
        return (await endings.live_counts(self.database, [task_id])).get(task_id)

    async def _cancel_buckets(self, task_id: str, now: datetime) -> None:
        """Those that are open. Ends: once cancelled, nothing waits in them any more."""
        while True:
            which = {"taskId": task_id} | _NOT_CANCELLED
            found = self.database.buckets.find(which, {"first": 1, "counts": 1}).hint(COUNTS_INDEX)
            buckets = [each async for each in found.limit(_BUCKETS_AT_ONCE)]
            if not buckets:
                return
            writes = [_cancelling(places.bucket(task_id, each["first"]), each["counts"], now) for each in buckets]
            await self.database.buckets.bulk_write(writes, ordered=False)

    async def _cancel_bucket(self, place: Place, header: Document, now: datetime, status: str) -> bool:
        """The whole of a small task, header and devices."""
        fields: Document = {"status": TaskStatus.CANCELLED}
        set_time(fields, "updatedAt", now)
        guard = {"sealed": True, "status": status}
        write = _cancelling(place, header["counts"], now, guard, fields)
        return (await self.database.tasks.bulk_write([write])).matched_count == 1


def _may_end(status: str, live: Counts | None) -> bool:
    """Nothing is open, or something waits in a task whose cancel was cut."""
    if live is None:
        return False
    return not live.open or (live.pending > 0 and status == TaskStatus.CANCELLED)


def _cancelling(
    place: Place, found: Document, now: datetime, guard: Document | None = None, fields: Document | None = None
) -> UpdateOne:
    """Every device that is PENDING is CANCELLED: as many as the counts say, which guard it."""
    # The status, by which the devices are found, changes last.
    waits: Document = {}
    set_time(waits, "lastUpdated", now, "devices.$[waits].")
    waits["devices.$[waits].commandStatus"] = DeviceStatus.CANCELLED
    same = {f"counts.{name}": found[name] for name in ("pending", "sent")}
    gone = {"devices.$[waits].nextAttemptAt": ""} | ({} if found["sent"] else {"dueAt": ""})
    return UpdateOne(
        place.filter | same | (guard or {}),
        {
            "$unset": gone,
            "$set": waits | {"counts.pending": 0} | (fields or {"cancelled": True}),
            "$inc": {"counts.cancelled": found["pending"]},
        },
        array_filters=[{"waits.commandStatus": DeviceStatus.PENDING}],
    )


def _expired(keeping: Keeping, device: Document) -> dict[str, Any]:
    """A guess must not look like a plain failure: the meter may have done it."""
    detail = "expired before it succeeded"
    if device["error"] is not None:
        last = device.get("errorDetail")
        detail += f"; last: {device['error']}" + ("" if last is None else f": {last}")
    fields: dict[str, Any] = {
        "deviceId": device["deviceId"],
        "error": ErrorWord.OUTCOME_UNKNOWN if device.get("verifyFirst") else ErrorWord.EXPIRED,
        "nextAttemptAt": None,
    }
    keeping.keep_detail(fields, detail)
    return fields
