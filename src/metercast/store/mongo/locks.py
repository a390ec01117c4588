"""Locks of physical meters: one session at a time, whatever the task or process.

A lock is a document with the meter's id. It names a lease (bucket, epoch) and lives while that lease lives; `attempt`
tells the lock of one attempt from that of the next. Taking one is an insert, which only one can make. Taking over a
dead one takes two guarded writes: the dead lease is ended for good in its bucket, so that a worker that sleeps in the
middle of a begin can't wake up and go on, and then the lock changes hands.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from metercast.store.attempts import Lease
from metercast.store.mongo import places
from metercast.store.mongo.database import Database
from metercast.store.mongo.held import lives
from metercast.store.mongo.history import DUPLICATE_KEY
from metercast.store.mongo.lookup import by_id
from metercast.store.mongo.times import LONG_AGO, floor
from metercast.store.mongo.types import Document


async def take(database: Database, lease: Lease, attempts: Mapping[str, int], now: datetime) -> set[str]:
    """Locks the meters, `attempts` by device id; those that are ours now. One command where all of them are free."""
    if not attempts:
        return set()
    wanted = list(attempts)
    locks = [{"_id": each, **_owned(lease), "attempt": attempts[each]} for each in wanted]
    try:
        await database.locks.insert_many(locks, ordered=False)
    except BulkWriteError as error:
        refused = error.details["writeErrors"]
        if error.details.get("writeConcernErrors") or any(each["code"] != DUPLICATE_KEY for each in refused):
            raise
        taken = [wanted[each["index"]] for each in refused]
        return attempts.keys() - set(taken) | await _take_over(database, lease, attempts, taken, now)
    return set(wanted)


async def ours(database: Database, lease: Lease, device_ids: Sequence[str]) -> set[str]:
    """Those of the meters whose lock names this lease. No command where none is asked for."""
    return {each["_id"] async for each in by_id(database.locks, device_ids, {"_id": 1}, _owned(lease))}


async def give_up(database: Database, lease: Lease, attempts: Mapping[str, int]) -> None:
    """Up to the attempt given, by device id. An earlier epoch of this bucket is dead: what it left goes too."""
    if not attempts:
        return
    by_attempt: defaultdict[int, list[str]] = defaultdict(list)
    for device_id, attempt in attempts.items():
        by_attempt[attempt].append(device_id)
    same = [{"_id": {"$in": ids}, "attempt": {"$lte": attempt}} for attempt, ids in by_attempt.items()]
    which = same[0] if len(same) == 1 else {"$or": same}
    await database.locks.delete_many({"bucket": lease.bucket_id, "epoch": {"$lte": lease.epoch}} | which)


async def _take_over(
    database: Database, lease: Lease, attempts: Mapping[str, int], taken: Collection[str], now: datetime
) -> set[str]:
    """Those of `taken` whose lock is dead, or ours already."""
    locks = [each async for each in by_id(database.locks, list(taken))]
    own = [each for each in locks if (each["bucket"], each["epoch"]) == (lease.bucket_id, lease.epoch)]
    others = [each for each in locks if each not in own]
    free = await _dead(database, others, now) if others else []
    writes = [
        UpdateOne(
            {"_id": each["_id"], "bucket": each["bucket"], "epoch": each["epoch"]},
            {"$set": {**_owned(lease), "attempt": attempts[each["_id"]]}},
        )
        for each in free + [each for each in own if each["attempt"] != attempts[each["_id"]]]
    ]
    if not writes:
        return {each["_id"] for each in own}
    await database.locks.bulk_write(writes, ordered=False)
    return await ours(database, lease, list(taken))


async def _dead(database: Database, locks: Collection[Document], now: datetime) -> list[Document]:
    """Those of `locks` whose lease no longer lives; it never will again."""
    holders = {each["bucket"]: places.parse(each["bucket"]) for each in locks}
    leases: dict[str, Document] = {}
    for is_whole in (True, False):
        ids = {at.document_id: name for name, at in holders.items() if at is not None and at.whole_task is is_whole}
        if ids:
            collection = database.tasks if is_whole else database.buckets
            async for each in collection.find({"_id": {"$in": list(ids)}}, {"lease": 1}):
                leases[ids[each["_id"]]] = each["lease"]
    free = [each for each in locks if not _lives(leases.get(each["bucket"]), each["epoch"], now)]
    for name, epoch in {(each["bucket"], each["epoch"]) for each in free}:
        place, stored = holders[name], leases.get(name)
        if place is not None and stored is not None and stored["epoch"] == epoch and "until" in stored:
            ended = place.filter | {"lease.epoch": epoch, "lease.until": {"$lte": floor(now)}}
            await place.collection(database).update_one(ended, {"$set": {"lease.until": LONG_AGO}})
    return free


def _lives(stored: Document | None, epoch: int, now: datetime) -> bool:
    return stored is not None and lives(stored, epoch, now)


def _owned(lease: Lease) -> Document:
    return {"bucket": lease.bucket_id, "epoch": lease.epoch}
