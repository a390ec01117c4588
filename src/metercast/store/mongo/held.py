"""A bucket under a lease: read with its task in one command, and guarded in every write by owner, epoch and time."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from metercast.domain.command import ConflictGroup
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.store.attempts import Lease, LeaseLost
from metercast.store.mongo import places
from metercast.store.mongo.changes import Changes
from metercast.store.mongo.database import Database
from metercast.store.mongo.joins import with_header
from metercast.store.mongo.places import Place
from metercast.store.mongo.times import floor, get_time
from metercast.store.mongo.types import Document

_HEADER = {
    "taskId": 1, "status": 1, "conflictGroup": 1, "scheduledAt": 1, "createdAt": 1, "expiresAt": 1, "micros": 1,
    "outcome": 1, "sealed": 1,
}  # fmt: skip
_BUCKET = {"taskId": 1, "lease": 1, "counts": 1, "cancelled": 1}


class Order(NamedTuple):
    """Commands of one group on one meter run in this order."""

    scheduled_at: datetime
    created_at: datetime
    task_id: str


class Held(NamedTuple):
    """`devices` are those between the lowest and the highest of the positions asked for, by position."""

    place: Place
    lease: Lease
    now: datetime
    status: TaskStatus
    group: ConflictGroup
    expires_at: datetime
    order: Order
    counts: Document
    devices: dict[int, Document]

    @property
    def task_id(self) -> str:
        return self.place.task_id

    def changes(self) -> Changes:
        """None is made once the lease is lost. Nothing begins or waits again where the task is cancelled meanwhile."""
        return Changes(self.place, self.counts, living(self.lease, self.now) | not_cancelled(self.place, self.status))

    def of(self, position: int, status: DeviceStatus) -> Document | None:
        """The device, where it has this status."""
        device = self.devices[position]
        return device if device["commandStatus"] == status else None


def living(lease: Lease, now: datetime) -> Document:
    """The filter of a bucket whose lease is this one and lives."""
    return {"lease.owner": lease.owner, "lease.epoch": lease.epoch, "lease.until": {"$gt": floor(now)}}


def dead(now: datetime) -> Document:
    """The filter of a bucket that nobody has."""
    return {"lease.until": {"$not": {"$gt": floor(now)}}}


def not_cancelled(place: Place, status: TaskStatus) -> Document:
    """The filter of a bucket that is as cancelled as it was when `status` was read, and not retired.

    A cancel sets the header of a large task first, then `cancelled` on each of its buckets.
    """
    if place.whole_task:
        return {"sealed": True, "status": status.value}
    return {} if status is TaskStatus.CANCELLED else {"cancelled": {"$ne": True}}


def lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"the lease of bucket {lease.bucket_id} at epoch {lease.epoch} is not ours")


async def read_held(database: Database, lease: Lease, positions: Collection[int]) -> Held:
    """Raises LeaseLost, and ValueError for positions of another bucket."""
    now = database.clock()
    place = places.parse(lease.bucket_id)
    found = None if place is None else await _read(database, place, positions)
    if place is None or found is None or not _lives(found, lease, now):
        raise lost(lease)
    header = found if place.whole_task else found["task"]
    first, last = place.first, place.first + found["counts"]["total"] - 1
    if positions and not (first <= min(positions) and max(positions) <= last):
        raise ValueError(f"bucket {lease.bucket_id} holds the positions {first} to {last} only")
    status = TaskStatus.CANCELLED if found.get("cancelled") else TaskStatus(header["status"])
    order = Order(get_time(header, "scheduledAt"), get_time(header, "createdAt"), place.task_id)
    start = min(positions, default=first)
    return Held(
        place,
        lease,
        now,
        status,
        ConflictGroup(header["conflictGroup"]),
        get_time(header, "expiresAt"),
        order,
        found["counts"],
        dict(enumerate(found["devices"], start)),
    )


async def _read(database: Database, place: Place, positions: Collection[int]) -> Document | None:
    start = min(max(min(positions, default=place.first) - place.first, 0), 2**31 - 1)
    count = min(max(max(positions, default=place.first) - place.first - start + 1, 1), 2**31 - 1)
    wanted: dict[str, Any] = {"devices": {"$slice": ["$devices", start, count]}} | _BUCKET
    pipeline: list[Document] = [{"$match": place.filter}]
    if place.whole_task:
        pipeline += [{"$match": {"sealed": True}}, {"$project": _HEADER | wanted}]
    else:
        pipeline += [{"$project": wanted}, *with_header(_HEADER)]
    async with await place.collection(database).aggregate(pipeline) as cursor:
        return await anext(cursor, None)


def _lives(found: Document, lease: Lease, now: datetime) -> bool:
    stored = found["lease"]
    return lives(stored, lease.epoch, now) and stored.get("owner") == lease.owner


def lives(stored: Mapping[str, Any], epoch: int, now: datetime) -> bool:
    """Whether the lease of this epoch lives; `stored` is the `lease` of its bucket."""
    until = stored.get("until")
    return stored["epoch"] == epoch and until is not None and until > floor(now)
