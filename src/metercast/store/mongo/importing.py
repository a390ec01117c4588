"""Tasks that come from another store: written under a header that is not sealed, as a creation writes them."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from pymongo import ReplaceOne

from metercast.domain.command import ConflictGroup
from metercast.domain.states import FINAL_DEVICE, TaskStatus
from metercast.store.copying import DeviceRecord, TaskRecord
from metercast.store.mongo import conflicts, documents, places
from metercast.store.mongo.database import Database
from metercast.store.mongo.history import Keeping
from metercast.store.mongo.places import Place
from metercast.store.mongo.times import floor, put_time, set_time
from metercast.store.mongo.types import Document
from metercast.store.tasks import UNSEALED_SECONDS, NewTask


def header(task: TaskRecord, now: datetime) -> Document:
    """Not sealed; the devices of a task of one bucket come with its only chunk."""
    document = documents.new_header(
        _as_new(task), task.total, now, uuid.uuid4().hex, [] if _one_document(task) else None
    )
    if task.follow_up_task_id is not None:
        document["followUpTaskId"] = task.follow_up_task_id
    return document | {"unsealedUntil": _claimed(now)}


async def write_devices(database: Database, task: TaskRecord, first: int, records: Sequence[DeviceRecord]) -> None:
    """Whole buckets from position `first` on; what is there of them already is replaced."""
    found = await database.tasks.find_one_and_update(
        {"_id": task.task_id, "taskId": task.task_id, "sealed": False},
        {"$set": {"unsealedUntil": _claimed(database.clock())}},
        projection={"creation": 1},
    )
    if found is None:
        raise documents.no_task(task.task_id)
    await database.history.delete_many(
        {"taskId": task.task_id, "deviceId": {"$in": [each.device_id for each in records]}}
    )
    keeping = Keeping(database, task.task_id)
    devices = [_device(keeping, each) for each in records]
    await keeping.write()
    if _one_document(task):
        cuts = [(places.whole_task(task.task_id), devices)]
        counts = documents.counts_of([each["commandStatus"] for each in devices])
        which = {"_id": task.task_id, "taskId": task.task_id, "sealed": False}
        await database.tasks.update_one(which, {"$set": {"devices": devices, "counts": counts}})
    else:
        cuts = [
            (places.bucket(task.task_id, first + start), devices[start : start + task.bucket_size])
            for start in range(0, len(devices), task.bucket_size)
        ]
        buckets = [_bucket(task, place, found["creation"], cut, database.clock()) for place, cut in cuts]
        writes = [ReplaceOne({"_id": each["_id"], "taskId": task.task_id}, each, upsert=True) for each in buckets]
        await database.buckets.bulk_write(writes, ordered=False)
    await _write_commands(database, task, found["creation"], cuts)


async def seal(database: Database, task: TaskRecord) -> None:
    fields: Document = {"sealed": True, "open": task.outcome is None, "status": task.status, "outcome": task.outcome}
    for name, instant in (
        ("scheduledAt", task.scheduled_at), ("createdAt", task.created_at), ("updatedAt", task.updated_at)
    ):  # fmt: skip
        set_time(fields, name, instant)
    if task.outcome is not None:
        fields["counts"] = {
            "total": task.total, "pending": 0, "sent": 0, "success": task.success, "failed": task.failed,
            "cancelled": task.cancelled,
        }  # fmt: skip
    elif _one_document(task):
        fields["dueAt"] = floor(database.clock())
    which = {"_id": task.task_id, "taskId": task.task_id, "sealed": False}
    await database.tasks.update_one(which, {"$set": fields, "$unset": {"unsealedUntil": ""}})


def _one_document(task: TaskRecord) -> bool:
    return task.total <= task.bucket_size


def _claimed(now: datetime) -> datetime:
    return floor(now + timedelta(seconds=UNSEALED_SECONDS))


def _as_new(task: TaskRecord) -> NewTask:
    fields = {name: getattr(task, name) for name in NewTask.__struct_fields__}
    return NewTask(**fields)


def _bucket(task: TaskRecord, place: Place, creation: str, devices: list[Document], now: datetime) -> Document:
    bucket = documents.new_bucket(_as_new(task), place, creation, devices)
    if any(each["commandStatus"] not in FINAL_DEVICE for each in devices):
        bucket["dueAt"] = floor(now)
    if task.status is TaskStatus.CANCELLED:
        bucket["cancelled"] = True
    return bucket


def _device(keeping: Keeping, record: DeviceRecord) -> Document:
    """Without the fields that have no value, as those that the store writes."""
    device: Document = {"deviceId": record.device_id, "commandStatus": record.status, "error": record.error}
    put_time(device, "lastUpdated", record.last_updated)
    device["attempts"] = record.tries
    put_time(device, "nextAttemptAt", record.next_attempt_at)
    put_time(device, "sentAt", record.sent_at)
    keeping.keep_detail(device, record.detail)
    device |= {
        "used": record.used or None,
        "associationFailures": record.association_failures or None,
        "verifyFirst": record.verify_first or None,
        "how": record.how,
        "superseded": record.superseded or None,
    }
    for kind, value in (("result", record.result), ("progress", record.progress)):
        if value is not None:
            device[kind + "Key"] = keeping.keep(kind, record.device_id, value)
    for each in record.attempts:
        keeping.keep_attempt(
            record.device_id, each.attempt, 0, each.started_at, each.ended_at, each.error, each.detail, late=each.late
        )
    return {name: value for name, value in device.items() if value is not None or name == "error"}


async def _write_commands(
    database: Database, task: TaskRecord, creation: str, cuts: list[tuple[Place, list[Document]]]
) -> None:
    if task.conflict_group is ConflictGroup.NONE:
        return
    hints = [
        conflicts.hint(place, place.first + index, each["deviceId"], task.conflict_group.value, creation)
        for place, devices in cuts
        for index, each in enumerate(devices)
        if each["commandStatus"] not in FINAL_DEVICE
    ]
    if hints:
        writes = [ReplaceOne({"_id": each["_id"], "deviceId": each["deviceId"]}, each, upsert=True) for each in hints]
        await database.open_commands.bulk_write(writes, ordered=False)
