"""The documents of tasks and buckets, from and to the domain's structs.

A task of one bucket is one document with its devices. A larger one is a header (`bucketed: true`) in `tasks`, and
documents of the same `devices` in `task_buckets`. Beside the fixed names stand:

- `counts` over the devices of the document; in a header from its end on;
- `lease` {owner, epoch, until} and `dueAt` of the bucket; no `dueAt` where nothing is open;
- `sealed`: false while it is created, and once retention took it: then it is not there for anyone;
- `open`: true until the task has its outcome.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.outcome import How
from metercast.domain.problem import NotFound
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import Counts, DeviceCommand, Task, TaskOutcome
from metercast.domain.words import ErrorWord
from metercast.store.attempts import TaskHeader
from metercast.store.mongo.places import Place
from metercast.store.mongo.times import find_time, get_time, put_time
from metercast.store.mongo.types import Document
from metercast.store.mongo.values import from_bson, to_bson
from metercast.store.tasks import NewTask

# Without what may be long.
WITHOUT_DEVICES = {"devices": 0}
NO_COUNTS = Counts(0, 0)


def counts_of(statuses: Iterable[str]) -> Document:
    by = Counter(statuses)
    return {"total": by.total()} | {name.lower(): by[name] for name in DeviceStatus}


def new_device(device_id: str, now: datetime) -> Document:
    document: Document = {"deviceId": device_id, "commandStatus": DeviceStatus.PENDING.value, "error": None}
    put_time(document, "lastUpdated", now)
    document["attempts"] = 0
    return document


def new_devices(device_ids: Sequence[str], now: datetime) -> list[Document]:
    return [new_device(each, now) for each in device_ids]


def new_header(task: NewTask, total: int, now: datetime, creation: str, devices: list[Document] | None) -> Document:
    """Not sealed. With its devices where it is the only document of the task."""
    document: Document = {"_id": task.task_id, "taskId": task.task_id}
    document |= {"commandId": task.command_id, "commandType": task.command_type}
    put_time(document, "scheduledAt", task.scheduled_at)
    document["status"] = TaskStatus.QUEUED.value
    put_time(document, "createdAt", now)
    put_time(document, "updatedAt", now)
    if devices is not None:
        document["devices"] = devices
        document["lease"] = {"epoch": 0}
    document["commandParams"] = None if task.command_params is None else to_bson(task.command_params)
    document["conflictGroup"] = task.conflict_group.value
    put_time(document, "expiresAt", task.expires_at)
    document |= {
        "priority": task.priority,
        "requestedBy": task.requested_by,
        "parentTaskId": task.parent_task_id,
        "retry": msgspec.to_builtins(task.retry),
        "outcome": None,
        "counts": {"total": total} if devices is None else counts_of([DeviceStatus.PENDING] * total),
        "bucketSize": task.bucket_size,
        "bucketed": devices is None,
        "bodyHash": task.body_hash,
        "creation": creation,
        "sealed": False,
        "open": True,
    }
    if task.follow_up_at is not None:
        put_time(document, "followUpAt", task.follow_up_at)
    return document


def new_bucket(task: NewTask, place: Place, creation: str, devices: list[Document]) -> Document:
    return place.filter | {
        "commandId": task.command_id,
        "commandType": task.command_type,
        "devices": devices,
        "first": place.first,
        "counts": counts_of([each["commandStatus"] for each in devices]),
        "priority": task.priority,
        "lease": {"epoch": 0},
        "creation": creation,
    }


def counts(document: Mapping[str, Any]) -> Counts:
    """Of a document that has all of them."""
    found = document["counts"]
    return Counts(
        found["total"], found["pending"], found["sent"], found["success"], found["failed"], found["cancelled"]
    )


def task_of(header: Mapping[str, Any], live: Counts | None = None) -> Task:
    """`live` counts stand for those that a header does not have yet."""
    return Task(
        task_id=header["taskId"],
        command_id=header["commandId"],
        command_type=header["commandType"],
        command_params=from_bson(header["commandParams"]),
        scheduled_at=get_time(header, "scheduledAt"),
        status=TaskStatus(header["status"]),
        created_at=get_time(header, "createdAt"),
        updated_at=get_time(header, "updatedAt"),
        expires_at=get_time(header, "expiresAt"),
        priority=header["priority"],
        requested_by=header["requestedBy"],
        parent_task_id=header["parentTaskId"],
        follow_up_at=find_time(header, "followUpAt"),
        follow_up_task_id=header.get("followUpTaskId"),
        retry=retry_of(header),
        outcome=None if header["outcome"] is None else TaskOutcome(header["outcome"]),
        counts=live or counts(header),
    )


def retry_of(header: Mapping[str, Any]) -> RetryPolicy:
    return msgspec.convert(header["retry"], RetryPolicy)


def task_header_of(header: Mapping[str, Any]) -> TaskHeader:
    return TaskHeader(
        header["taskId"],
        header["commandType"],
        ConflictGroup(header["conflictGroup"]),
        from_bson(header["commandParams"]),
        TaskStatus(header["status"]),
        header["priority"],
        get_time(header, "scheduledAt"),
        get_time(header, "expiresAt"),
        retry_of(header),
    )


def command_of(device: Mapping[str, Any]) -> DeviceCommand:
    return DeviceCommand(**command_fields(device))


def command_fields(device: Mapping[str, Any]) -> dict[str, Any]:
    error, how = device["error"], device.get("how")
    return {
        "device_id": device["deviceId"],
        "command_status": DeviceStatus(device["commandStatus"]),
        "error": None if error is None else ErrorWord(error),
        "last_updated": get_time(device, "lastUpdated"),
        "attempts": device["attempts"],
        "how": None if how is None else How(how),
        "error_detail": device.get("errorDetail"),
        "next_attempt_at": find_time(device, "nextAttemptAt"),
    }


def sealed(task_id: str) -> Document:
    """The filter of a task that is there."""
    return {"_id": task_id, "taskId": task_id, "sealed": True}


def no_task(task_id: str) -> NotFound:
    return NotFound(f"no task {task_id!r}")
