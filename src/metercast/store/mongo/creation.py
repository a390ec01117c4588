"""Creating tasks on MongoDB.

A task of one bucket without a conflict group is one insert. Any other is written under a header that is not sealed:
the header with a claim (`unsealedUntil`, pushed on with every chunk), then its buckets and open_commands, then one
update of the header that seals it and makes the task be. What a cut creation leaves is not there for anyone, and is
swept once its claim has ended. `creation` names the one creation that wrote a document.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from pymongo.errors import BulkWriteError, DuplicateKeyError

from metercast.domain.command import ConflictGroup
from metercast.domain.states import TaskEvent, TaskStatus, task_after
from metercast.store.errors import StoreUnavailable
from metercast.store.mongo import conflicts, documents, endings, places, sweeping
from metercast.store.mongo.database import Database, call
from metercast.store.mongo.history import DUPLICATE_KEY
from metercast.store.mongo.lookup import by_id
from metercast.store.mongo.places import Place
from metercast.store.mongo.times import floor, put_time, set_time
from metercast.store.mongo.types import Document
from metercast.store.tasks import CREATE_CHUNK, UNSEALED_SECONDS, Created, NewTask, UnknownDevices

_LOOKED_UP_AT_ONCE = 200  # no command is long


class MongoCreation:
    """Implements the creation of store.tasks.TaskStore. What has more devices than `create_chunk` goes in parts."""

    create_chunk = CREATE_CHUNK

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def create_task(self, task: NewTask, device_ids: Sequence[str], *, allow_unknown: bool) -> Created:
        if not len(device_ids):
            raise ValueError("a task has at least one device")
        while True:
            found = await self._found(task)
            if found is not None:
                return found
            creation = _Creation(self.database, task, device_ids, allow_unknown, self.create_chunk)
            with contextlib.suppress(DuplicateKeyError):  # another call was faster
                return await creation.run()

    async def _found(self, task: NewTask) -> Created | None:
        """The task that has this id already. Raises StoreUnavailable while another call creates it."""
        header = await self.database.tasks.find_one({"_id": task.task_id}, documents.WITHOUT_DEVICES)
        if header is None:
            return None
        if header["sealed"]:
            (found,) = await endings.tasks_of(self.database, [header])
            return Created(found, False, header["bodyHash"] == task.body_hash)
        if header["unsealedUntil"] > floor(self.database.clock()):
            raise StoreUnavailable(f"task {task.task_id} is being created by another request")
        await sweeping.clear(self.database, header)
        return None


class _Creation:
    """One creation of one task."""

    def __init__(
        self, database: Database, task: NewTask, device_ids: Sequence[str], allow_unknown: bool, chunk: int
    ) -> None:
        self._database = database
        self._task = task
        self._device_ids = device_ids
        self._total = len(device_ids)
        self._allow_unknown = allow_unknown
        self._chunk = chunk
        self._name = uuid.uuid4().hex
        self._one_document = self._total <= task.bucket_size

    async def run(self) -> Created:
        """Raises DuplicateKeyError where the id is taken meanwhile."""
        if self._one_document:
            ids = await self._read(0, self._total)
            await self._check_known(ids)
            if self._task.conflict_group is ConflictGroup.NONE:
                return await self._at_once(ids)
        now = self._database.clock()
        devices = documents.new_devices(ids, now) if self._one_document else None
        header = documents.new_header(self._task, self._total, now, self._name, devices)
        header["unsealedUntil"] = floor(now + timedelta(seconds=UNSEALED_SECONDS))
        await self._database.tasks.insert_one(header)
        try:
            if devices is not None:
                await self._insert_commands([(places.whole_task(self._task.task_id), ids)])
            else:
                await self._fill()
            return await self._seal()
        except BaseException:
            with contextlib.suppress(Exception):  # then its time runs out
                await asyncio.shield(self._let_go())
            raise

    async def _at_once(self, ids: Sequence[str]) -> Created:
        now = self._database.clock()
        header = documents.new_header(self._task, self._total, now, self._name, documents.new_devices(ids, now))
        due = max(self._task.scheduled_at, now)
        header |= {"sealed": True, "status": _status(self._task, now), "dueAt": floor(due)}
        header.get("micros", {}).pop("scheduledAt", None)
        put_time(header, "scheduledAt", due)
        await self._database.tasks.insert_one(header)
        return Created(documents.task_of(header), True, True)

    async def _fill(self) -> None:
        """The devices, whole buckets at a time. Only looks once an unknown one was found."""
        part = self._chunk // 4  # a few messages to the server
        size = max(part - part % self._task.bucket_size, self._task.bucket_size)
        if self._total <= self._chunk and not self._allow_unknown:
            await self._check_known(await self._read(0, self._total))
        unknown: list[str] = []
        missing = 0
        for start in range(0, self._total, size):
            ids = await self._read(start, start + size)
            if not self._allow_unknown and self._total > self._chunk:
                found = await self._unknown(ids)
                unknown += found[: 10 - len(unknown)]
                missing += len(found)
            if not missing:
                await self._hold()
                await self._insert_buckets(start, ids)
        if missing:
            raise UnknownDevices(unknown, missing)

    async def _insert_buckets(self, start: int, ids: Sequence[str]) -> None:
        task, now = self._task, self._database.clock()
        buckets, cuts = [], []
        for index in range(0, len(ids), task.bucket_size):
            place, cut = places.bucket(task.task_id, start + index), ids[index : index + task.bucket_size]
            bucket = documents.new_bucket(task, place, self._name, documents.new_devices(cut, now))
            buckets.append(bucket | {"dueAt": floor(max(task.scheduled_at, now))})
            cuts.append((place, cut))
        try:
            await self._database.buckets.insert_many(buckets, ordered=False)
        except BulkWriteError as error:
            await self._insert_again(buckets, error)
        if task.conflict_group is not ConflictGroup.NONE:
            await self._insert_commands(cuts)

    async def _insert_again(self, buckets: list[Document], error: BulkWriteError) -> None:
        """In place of what a dead creation wrote after it was swept."""
        refused = error.details["writeErrors"]
        if error.details.get("writeConcernErrors") or any(each["code"] != DUPLICATE_KEY for each in refused):
            raise error
        again = [buckets[each["index"]] for each in refused]
        stale = {"_id": {"$in": [each["_id"] for each in again]}, "creation": {"$ne": self._name}}
        await self._database.buckets.delete_many(stale)
        await self._database.buckets.insert_many(again, ordered=False)

    async def _insert_commands(self, cuts: list[tuple[Place, Sequence[str]]]) -> None:
        group = self._task.conflict_group.value
        hints = [
            conflicts.hint(place, place.first + index, each, group, self._name)
            for place, ids in cuts
            for index, each in enumerate(ids)
        ]
        try:
            await self._database.open_commands.insert_many(hints, ordered=False)
        except BulkWriteError as error:
            refused = error.details["writeErrors"]
            if error.details.get("writeConcernErrors") or any(each["code"] != DUPLICATE_KEY for each in refused):
                raise
            again = [hints[each["index"]] for each in refused]
            stale = {"_id": {"$in": [each["_id"] for each in again]}, "creation": {"$ne": self._name}}
            await self._database.open_commands.delete_many(stale)
            await self._database.open_commands.insert_many(again, ordered=False)

    async def _hold(self) -> None:
        now = self._database.clock()
        until = floor(now + timedelta(seconds=UNSEALED_SECONDS))
        await self._update_header({"$set": {"unsealedUntil": until}}, now)

    async def _seal(self) -> Created:
        now = self._database.clock()
        due = max(self._task.scheduled_at, now)
        fields: Document = {"sealed": True, "status": _status(self._task, now)}
        for name, instant in (("scheduledAt", due), ("createdAt", now), ("updatedAt", now)):
            set_time(fields, name, instant)
        if self._one_document:
            fields["dueAt"] = floor(due)
        await self._update_header({"$set": fields, "$unset": {"unsealedUntil": ""}}, now)
        return Created(await endings.require_task(self._database, self._task.task_id), True, True)

    async def _let_go(self) -> None:
        """Ends the claim now: what was written may be swept."""
        await self._database.tasks.update_one(self._ours(), {"$set": {"unsealedUntil": floor(self._database.clock())}})

    async def _update_header(self, change: Document, now: datetime) -> None:
        guard = self._ours() | {"unsealedUntil": {"$gt": floor(now)}}
        if not (await self._database.tasks.update_one(guard, change)).matched_count:
            raise StoreUnavailable(f"the creation of task {self._task.task_id} took too long and is given up")

    def _ours(self) -> Document:
        task_id = self._task.task_id
        return {"_id": task_id, "taskId": task_id, "creation": self._name, "sealed": False}

    async def _read(self, start: int, end: int) -> Sequence[str]:
        """One slice, on a thread: it may come from a file."""
        return await asyncio.to_thread(lambda: self._device_ids[start:end])

    async def _check_known(self, ids: Sequence[str]) -> None:
        if self._allow_unknown:
            return
        unknown = await self._unknown(ids)
        if unknown:
            raise UnknownDevices(unknown[:10], len(unknown))

    async def _unknown(self, ids: Sequence[str]) -> list[str]:
        found = by_id(self._database.devices, ids, {"_id": 1}, at_once=_LOOKED_UP_AT_ONCE)
        known = {each["_id"] async for each in found}
        return [each for each in ids if each not in known]


def _status(task: NewTask, now: datetime) -> TaskStatus:
    """A due time of the past is now: the order of what is due at once is the order in which it was stored."""
    return TaskStatus.QUEUED if task.scheduled_at > now else task_after(TaskStatus.QUEUED, TaskEvent.START)
