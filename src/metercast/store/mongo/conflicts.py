"""The order of commands that conflict on one meter (design, section 3, "Order on a meter").

`open_commands` says which tasks have a command of a group for a meter that may still be open; what is true of it is
in the device itself. All of this is done while the meter's lock is ours, so that of two commands of one meter only one
looks and begins at a time.

A newer command that begins makes older ones void before it is SENT: where it is cut in between, an older command may
fail with Superseded for the sake of one that has not begun, but none ever runs after a newer one.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.store.mongo import places
from metercast.store.mongo.changes import Changes
from metercast.store.mongo.database import Database
from metercast.store.mongo.held import Held, Order
from metercast.store.mongo.places import Place
from metercast.store.mongo.times import find_time, get_time
from metercast.store.mongo.types import Document

_HEADER = {"status": 1, "scheduledAt": 1, "createdAt": 1, "micros": 1}


class Older(NamedTuple):
    """An older command of the same group on the same meter, as it stands."""

    place: Place
    position: int
    device: Document
    holds: bool  # it comes first


class Others(NamedTuple):
    """`waits`: device ids for which an older command comes first. `void`: those that a begin makes void, by id."""

    waits: set[str]
    void: dict[str, list[Older]]


async def look(database: Database, held: Held, device_ids: Collection[str]) -> Others:
    """One command where no other task has an open command of the group for these meters."""
    asked = {"deviceId": {"$in": list(device_ids)}, "conflictGroup": held.group.value, "taskId": {"$ne": held.task_id}}
    hints = [each async for each in database.open_commands.find(asked)]
    others = Others(set(), {})
    if not hints:
        return others
    for older in await _older(database, held, hints, device_ids):
        device_id = older.device["deviceId"]
        if older.holds:
            others.waits.add(device_id)
        elif held.group.supersedes and _waits(older.device) and not older.device.get("superseded"):
            others.void.setdefault(device_id, []).append(older)
    return others


async def supersede(database: Database, held: Held, older: Collection[Older]) -> bool:
    """`older` are void, and their buckets due to say so; false where one of them has changed since the look."""
    by_place: defaultdict[Place, list[Older]] = defaultdict(list)
    for each in older:
        by_place[each.place].append(each)
    done = True
    for place, same in by_place.items():
        changes = Changes(place, {}, {})
        for each in same:
            changes.touch(each.position, each.device, {"superseded": True, "nextAttemptAt": None})
        changes.hurry(held.now)
        done = await changes.make(database) and done
    return done


async def forget(database: Database, task_id: str, device_ids: Collection[str]) -> None:
    """The task's commands for these devices are final."""
    if device_ids:
        await database.open_commands.delete_many({"deviceId": {"$in": list(device_ids)}, "taskId": task_id})


def hint(place: Place, position: int, device_id: str, group: str, creation: str) -> Document:
    """What makes a command of a group be found by its meter."""
    return {
        "_id": f"{place.task_id}/{device_id}",
        "deviceId": device_id,
        "conflictGroup": group,
        "taskId": place.task_id,
        "position": position,
        "first": place.first,
        "wholeTask": place.whole_task,
        "creation": creation,
    }


async def _older(
    database: Database, held: Held, hints: Collection[Document], device_ids: Collection[str]
) -> list[Older]:
    """As far as they are there and older."""
    pipeline: list[Document] = [
        {"$match": {"_id": {"$in": list({each["taskId"] for each in hints})}, "sealed": True}},
        {"$project": _HEADER | _of_devices(device_ids)},
    ]
    headers: dict[str, Document] = {}
    async with await database.tasks.aggregate(pipeline) as cursor:
        async for each in cursor:
            if Order(get_time(each, "scheduledAt"), get_time(each, "createdAt"), each["taskId"]) < held.order:
                headers[each["taskId"]] = each
    documents = {places.whole_task(name): each for name, each in headers.items()}
    buckets = {(place := _place(each)).document_id: place for each in hints if not each["wholeTask"]}
    asked = [name for name, place in buckets.items() if place.task_id in headers]
    if asked:
        pipeline = [{"$match": {"_id": {"$in": asked}}}, {"$project": _of_devices(device_ids)}]
        async with await database.buckets.aggregate(pipeline) as cursor:
            async for each in cursor:
                documents[buckets[each["_id"]]] = each
    older = []
    for each in hints:
        document = documents.get(_place(each))
        for device in document["devices"] if document is not None else ():
            if device["deviceId"] == each["deviceId"]:
                holds = _holds(held, headers[each["taskId"]], device)
                older.append(Older(_place(each), each["position"], device, holds))
    return older


def _place(hint: Document) -> Place:
    return Place(hint["taskId"], hint["first"], hint["wholeTask"])


def _of_devices(device_ids: Collection[str]) -> Document:
    """Projects a document to its devices with these ids."""
    ours = {"$in": ["$$this.deviceId", list(device_ids)]}
    return {"taskId": 1, "devices": {"$filter": {"input": {"$ifNull": ["$devices", []]}, "cond": ours}}}


def _waits(device: Mapping[str, Any]) -> bool:
    return bool(device["commandStatus"] == DeviceStatus.PENDING)


def _holds(held: Held, header: Mapping[str, Any], device: Mapping[str, Any]) -> bool:
    """An older command comes first while it is in a session or could begin now; where a newer one does not supersede
    it, also while it waits for its next attempt. A due task counts before the scheduler has started it."""
    if device["commandStatus"] == DeviceStatus.SENT:
        return True
    if not _waits(device) or device.get("superseded"):
        return False
    due = header["status"] == TaskStatus.QUEUED and get_time(header, "scheduledAt") <= held.now
    if header["status"] != TaskStatus.IN_PROGRESS and not due:
        return False
    next_attempt_at = find_time(device, "nextAttemptAt")
    return not held.group.supersedes or next_attempt_at is None or next_attempt_at <= held.now
