"""Buckets and their leases on MongoDB."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pymongo import ASCENDING, DESCENDING, UpdateOne

from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.store.attempts import BucketId, DueBucket, HeldLease, Lease, LeasedBucket, OpenDevice
from metercast.store.mongo import places
from metercast.store.mongo.database import Database, call
from metercast.store.mongo.documents import sealed, task_header_of
from metercast.store.mongo.held import dead, lives, living, lost
from metercast.store.mongo.history import Keeping
from metercast.store.mongo.lookup import by_id
from metercast.store.mongo.places import Place
from metercast.store.mongo.schema import DUE_INDEX, SENT_INDEX
from metercast.store.mongo.times import find_time, floor, get_time, later
from metercast.store.mongo.types import Collection, Document

_OPEN = (DeviceStatus.PENDING, DeviceStatus.SENT)
_ANY_OPEN: Document = {"$or": [{"counts.pending": {"$gt": 0}}, {"counts.sent": {"$gt": 0}}]}
_FREE: Document = {"lease.owner": "", "lease.until": ""}
_BY_DUE = [("priority", DESCENDING), ("dueAt", ASCENDING)]


class MongoLeases:
    """Implements the leases of store.attempts.AttemptStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def due_buckets(self, limit: int) -> list[DueBucket]:
        """What is SENT under a dead lease must be decided whatever the task is, and first: it looks busy and is not.
        What is PENDING needs a task that runs."""
        now = self.database.clock()
        whole = {"sealed": True, "bucketed": False}
        found = await self._due(self.database.tasks, whole, {"status": TaskStatus.IN_PROGRESS}, now, limit)
        open_large = self.database.tasks.find({"open": True, "sealed": True, "bucketed": True}, {"status": 1})
        status = {each["_id"]: each["status"] async for each in open_large}
        if status:
            runs = [task_id for task_id, each in status.items() if each == TaskStatus.IN_PROGRESS]
            which = {"taskId": {"$in": list(status)}}
            found += await self._due(self.database.buckets, which, {"taskId": {"$in": runs}}, now, limit)
        found.sort(key=lambda each: (-each["priority"], each["counts"]["sent"] == 0, each["dueAt"], each["place"]))
        return [DueBucket(each["place"].bucket_id, each["taskId"], each["priority"]) for each in found[:limit]]

    async def _due(
        self, collection: Collection, which: Document, runs: Document, now: datetime, limit: int
    ) -> list[Document]:
        due = which | {"dueAt": {"$lte": floor(now)}} | dead(now)
        sent: Document = {"counts.sent": {"$gt": 0}}
        wanted = {"taskId": 1, "first": 1, "priority": 1, "counts.sent": 1, "dueAt": 1}
        either = due | {"$or": [sent, {"counts.pending": {"$gt": 0}} | runs]}
        found: dict[str, Document] = {}
        for look, index in ((either, DUE_INDEX), (due | sent, SENT_INDEX)):
            in_order = collection.find(look, wanted).hint(index).sort(_BY_DUE).limit(limit)
            found |= {each["_id"]: each async for each in in_order}
            if len(found) < limit:
                break  # what is SENT was not cut off
        for each in found.values():
            each["place"] = Place(each["taskId"], each.get("first", 0), collection is self.database.tasks)
        return list(found.values())

    @call
    async def lease_bucket(self, bucket_id: BucketId, owner: str, lease_seconds: float) -> LeasedBucket | None:
        place = places.parse(bucket_id)
        if place is None:
            return None
        now = self.database.clock()
        header, found = await self._take(place, owner, lease_seconds, now)
        if header is None or found is None:
            return None
        lease = Lease(place.bucket_id, owner, found["lease"]["epoch"] + 1)
        devices = [
            (place.first + index, each) for index, each in enumerate(found["devices"]) if each["commandStatus"] in _OPEN
        ]
        await self._make_void(lease, place, (each for _, each in devices))
        return LeasedBucket(lease, task_header_of(header), await self._open_devices(devices, now))

    async def _take(
        self, place: Place, owner: str, lease_seconds: float, now: datetime
    ) -> tuple[Document | None, Document | None]:
        """The header and the bucket, which are one for a whole task; None of either where it can't be had."""
        found = await place.collection(self.database).find_one(place.filter | dead(now))
        header = found if place.whole_task else await self.database.tasks.find_one(sealed(place.task_id))
        if found is None or header is None or found["creation"] != header["creation"]:
            return None, None
        epoch = found["lease"]["epoch"]
        may_run: Document = {"counts.sent": {"$gt": 0}}
        runs: Document = {"counts.pending": {"$gt": 0}}
        which = place.filter | dead(now) | {"lease.epoch": epoch}
        if place.whole_task:
            which |= {"sealed": True, "bucketed": False}
            runs["status"] = TaskStatus.IN_PROGRESS
        if header["status"] == TaskStatus.IN_PROGRESS:
            may_run = {"$or": [may_run, runs]}
        until = floor(later(now, lease_seconds))
        change = {"lease.owner": owner, "lease.until": until, "lease.epoch": epoch + 1}
        result = await place.collection(self.database).update_one(which | may_run, {"$set": change})
        return (header, found) if result.matched_count else (None, None)

    async def _make_void(self, lease: Lease, place: Place, devices: Iterable[Document]) -> None:
        """What an earlier worker says of an attempt that is not decided yet counts no more."""
        keeping = Keeping(self.database, place.task_id)
        for device in devices:
            if device["commandStatus"] == DeviceStatus.SENT:
                keeping.make_void(device["deviceId"], device["attempts"], lease.epoch)
        await keeping.write()

    async def _open_devices(self, devices: Sequence[tuple[int, Document]], now: datetime) -> list[OpenDevice]:
        ids = [device["deviceId"] for _, device in devices]
        meters = by_id(self.database.devices, ids, {"channel": 1, "maxSessions": 1})
        channels = {each["_id"]: (each["channel"], each["maxSessions"]) async for each in meters}
        opened = []
        for position, device in devices:
            next_at = find_time(device, "nextAttemptAt")
            wait_seconds = 0.0 if next_at is None else max(0.0, (next_at - now).total_seconds())
            opened.append(
                OpenDevice(
                    position,
                    device["deviceId"],
                    DeviceStatus(device["commandStatus"]),
                    device["attempts"],
                    device.get("used", 0),
                    device.get("associationFailures", 0),
                    device.get("verifyFirst", False),
                    wait_seconds,
                    *channels.get(device["deviceId"], (None, 1)),
                )
            )
        return opened

    @call
    async def renew_leases(self, leases: Sequence[Lease], lease_seconds: float) -> list[HeldLease]:
        """A command for all buckets of one collection, and another that reads which of them are ours."""
        now = self.database.clock()
        until = floor(later(now, lease_seconds))
        by_place = {place: each for each in leases if (place := places.parse(each.bucket_id)) is not None}
        found: dict[Place, Document] = {}
        for is_whole in (True, False):
            ours = {place: lease for place, lease in by_place.items() if place.whole_task is is_whole}
            if ours:
                found |= await self._renewed(ours, until, now)
        headers = await self._headers(found)
        held = []
        for place in by_place:
            header = headers.get(place.task_id) if place in found else None
            if header is not None:
                expired = get_time(header, "expiresAt") <= now
                held.append(HeldLease(place.bucket_id, TaskStatus(header["status"]), expired))
        return held

    async def _renewed(self, ours: dict[Place, Lease], until: datetime, now: datetime) -> dict[Place, Document]:
        collection = next(iter(ours)).collection(self.database)
        writes = [
            UpdateOne(place.filter | living(lease, now), {"$set": {"lease.until": until}})
            for place, lease in ours.items()
        ]
        await collection.bulk_write(writes, ordered=False)
        by_id = {place.document_id: place for place in ours}
        wanted = {"lease": 1, "status": 1, "expiresAt": 1, "micros": 1, "sealed": 1}
        found = {}
        async for each in collection.find({"_id": {"$in": list(by_id)}}, wanted):
            place = by_id[each["_id"]]
            lease = ours[place]
            if each["lease"].get("owner") == lease.owner and lives(each["lease"], lease.epoch, now):
                found[place] = each
        return found

    async def _headers(self, found: dict[Place, Document]) -> dict[str, Document]:
        """Of the tasks of these buckets, as far as they are there."""
        headers = {place.task_id: each for place, each in found.items() if place.whole_task and each["sealed"]}
        large = list({place.task_id for place in found if not place.whole_task})
        if large:
            which = {"_id": {"$in": large}, "sealed": True}
            async for each in self.database.tasks.find(which, {"status": 1, "expiresAt": 1, "micros": 1}):
                headers[each["_id"]] = each
        return headers

    @call
    async def release_bucket(self, lease: Lease, due_seconds: float) -> None:
        place, now = places.parse(lease.bucket_id), self.database.clock()
        if place is None:
            raise lost(lease)
        ours = place.filter | living(lease, now)
        # The first leaves nothing to the second: then the lease is gone.
        writes = [
            UpdateOne(ours | _ANY_OPEN, {"$set": {"dueAt": floor(later(now, due_seconds))}, "$unset": _FREE}),
            UpdateOne(ours, {"$unset": _FREE | {"dueAt": ""}}),
        ]
        result = await place.collection(self.database).bulk_write(writes, ordered=True)
        if not result.matched_count:
            raise lost(lease)

    @call
    async def release_owner(self, owner_prefix: str) -> int:
        now = self.database.clock()
        owned = {"lease.owner": {"$gte": owner_prefix, "$lt": owner_prefix + chr(0x10FFFF)}}
        released = 0
        for collection in (self.database.tasks, self.database.buckets):
            still_open = await collection.update_many(
                owned | _ANY_OPEN, {"$set": {"dueAt": floor(now)}, "$unset": _FREE}
            )
            ended = await collection.update_many(owned, {"$unset": _FREE | {"dueAt": ""}})
            released += still_open.modified_count + ended.modified_count
        return released
