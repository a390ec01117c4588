"""The collections: their validators and indexes, made when a store opens.

Where the collections are sharded, these are the keys: `taskId` hashed for tasks, task_buckets and task_device_history,
`deviceId` hashed for open_commands, `sha256` hashed for image_chunks, `_id` hashed for meter_locks, devices,
invocation_counters and image_transfers. Every frequent update names the key in its filter and so goes to one shard.
"""

from collections.abc import Mapping
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid, OperationFailure

from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import TaskOutcome
from metercast.domain.words import ErrorWord
from metercast.store.errors import StoreTooNew
from metercast.store.mongo.types import Document

REVISION = 3

META, TASKS, BUCKETS, HISTORY = "metercast", "tasks", "task_buckets", "task_device_history"
OPEN_COMMANDS, LOCKS = "open_commands", "meter_locks"
DEVICES, COUNTERS, KEYS = "devices", "invocation_counters", "api_keys"
IMAGES, IMAGE_CHUNKS, TRANSFERS = "images", "image_chunks", "image_transfers"

_WHOLE = ["int", "long"]
_OBJECT_OR_NULL = ["object", "null"]


def _object(required: list[str], properties: Mapping[str, Any]) -> Document:
    return {"bsonType": "object", "required": required, "properties": dict(properties)}


def _type(*names: str) -> Document:
    return {"bsonType": list(names) if len(names) > 1 else names[0]}


_DEVICE = _object(
    ["deviceId", "commandStatus", "error", "lastUpdated", "attempts"],
    {
        "deviceId": _type("string"),
        "commandStatus": {"enum": [each.value for each in DeviceStatus]},
        "error": {"enum": [*(each.value for each in ErrorWord), None]},
        "lastUpdated": _type("date"),
        "attempts": {"bsonType": _WHOLE, "minimum": 0},
        "nextAttemptAt": _type("date"),
        "sentAt": _type("date"),
        "how": _type("string"),
        "errorDetail": _type("string"),
        "micros": _type("object"),
    },
)
_DEVICES = {"bsonType": "array", "items": _DEVICE}
_COUNTS = _object(
    ["total"],
    {
        name: {"bsonType": _WHOLE, "minimum": 0}
        for name in ("total", "pending", "sent", "success", "failed", "cancelled")
    },
)
_LEASE = _object(
    ["epoch"], {"owner": _type("string"), "epoch": {"bsonType": _WHOLE, "minimum": 0}, "until": _type("date")}
)

VALIDATORS: dict[str, Document] = {
    TASKS: _object(
        [
            "taskId", "commandId", "commandType", "scheduledAt", "status", "createdAt", "updatedAt", "expiresAt",
            "priority", "retry", "counts", "outcome", "bucketSize", "bucketed", "sealed", "open",
        ],
        {
            "taskId": _type("string"),
            "commandId": _type("string"),
            "commandType": _type("string"),
            "scheduledAt": _type("date"),
            "status": {"enum": [each.value for each in TaskStatus]},
            "createdAt": _type("date"),
            "updatedAt": _type("date"),
            "devices": _DEVICES,
            "commandParams": {"bsonType": _OBJECT_OR_NULL},
            "expiresAt": _type("date"),
            "priority": {"bsonType": _WHOLE},
            "requestedBy": _type("string", "null"),
            "parentTaskId": _type("string", "null"),
            "followUpAt": _type("date"),
            "followUpTaskId": _type("string"),
            "retry": _type("object"),
            "outcome": {"enum": [*(each.value for each in TaskOutcome), None]},
            "counts": _COUNTS,
            "bucketSize": {"bsonType": _WHOLE, "minimum": 1},
            "bucketed": _type("bool"),
            "sealed": _type("bool"),
            "open": _type("bool"),
            "dueAt": _type("date"),
            "lease": _LEASE,
            "micros": _type("object"),
        },
    ),
    BUCKETS: _object(
        ["taskId", "first", "commandId", "commandType", "devices", "counts", "priority", "lease"],
        {
            "taskId": _type("string"),
            "first": {"bsonType": _WHOLE, "minimum": 0},
            "commandId": _type("string"),
            "commandType": _type("string"),
            "devices": _DEVICES,
            "counts": _COUNTS,
            "priority": {"bsonType": _WHOLE},
            "dueAt": _type("date"),
            "lease": _LEASE,
        },
    ),
    HISTORY: _object(
        ["taskId", "deviceId", "kind"],
        {
            "taskId": _type("string"),
            "deviceId": _type("string"),
            "kind": {"enum": ["attempt", "void", "result", "progress", "detail"]},
        },
    ),
    OPEN_COMMANDS: _object(
        ["deviceId", "conflictGroup", "taskId", "first"],
        {"deviceId": _type("string"), "conflictGroup": _type("string"), "taskId": _type("string")},
    ),
    LOCKS: _object(["bucket", "epoch", "attempt"], {"bucket": _type("string"), "epoch": {"bsonType": _WHOLE}}),
    DEVICES: _object(
        ["document", "sealed", "channel", "maxSessions", "createdAt", "updatedAt"],
        {"document": _type("binData"), "sealed": _type("binData", "null"), "channel": _type("string")},
    ),
    COUNTERS: _object(["nextValue"], {"nextValue": {"bsonType": _WHOLE, "minimum": 0, "maximum": 2**32}}),
    KEYS: _object(
        ["name", "role", "secretHash", "createdAt"],
        {"name": _type("string"), "role": _type("string"), "secretHash": _type("binData"), "createdAt": _type("date")},
    ),
    IMAGES: _object(
        ["name", "size", "sealed", "createdAt", "begunAt"],
        {"name": _type("string"), "size": {"bsonType": _WHOLE, "minimum": 1}, "sealed": _type("bool")},
    ),
    IMAGE_CHUNKS: _object(["sha256", "size", "octets"], {"sha256": _type("string"), "octets": _type("binData")}),
    TRANSFERS: _object(["sha256", "blocks", "total"], {"sha256": _type("string")}),
}  # fmt: skip

# A partial index holds only what its filter names, and is used by queries that name as much.
_OPEN = {"open": True}
_DUE = {"dueAt": {"$exists": True}}
_SENT = {"counts.sent": {"$gt": 0}}
_BY_DUE = [("priority", DESCENDING), ("dueAt", ASCENDING)]
_BY_COUNTS = [(f"counts.{each}", ASCENDING) for each in ("pending", "sent", "success", "failed", "cancelled")]

# Sums the buckets of a task without reading one of them: see `live_counts`.
COUNTS_INDEX = "counts"
# What is due, and what is SENT, without a look at what is neither.
DUE_INDEX, SENT_INDEX = "due", "sent"

INDEXES: dict[str, list[IndexModel]] = {
    TASKS: [
        IndexModel("taskId", unique=True),
        IndexModel("commandId"),
        IndexModel("devices.deviceId"),
        IndexModel([("createdAt", ASCENDING), ("taskId", ASCENDING)]),
        IndexModel(
            [("status", ASCENDING), ("scheduledAt", ASCENDING)], name="open_status", partialFilterExpression=_OPEN
        ),
        IndexModel("expiresAt", name="open_expiry", partialFilterExpression=_OPEN),
        IndexModel(
            [("bucketed", ASCENDING), ("counts.pending", ASCENDING), ("counts.sent", ASCENDING)],
            name="open_counts",
            partialFilterExpression=_OPEN,
        ),
        IndexModel([*_BY_DUE, ("status", ASCENDING)], name=DUE_INDEX, partialFilterExpression=_DUE),
        IndexModel(_BY_DUE, name=SENT_INDEX, partialFilterExpression=_SENT),
        IndexModel("lease.owner", sparse=True),
        IndexModel("updatedAt", name="ended", partialFilterExpression={"open": False}),
        IndexModel("unsealedUntil", sparse=True),
        IndexModel("recountAt", sparse=True),
        IndexModel("followUpAt", sparse=True),
    ],
    BUCKETS: [
        IndexModel([("taskId", ASCENDING), ("first", ASCENDING)], unique=True),
        IndexModel("commandId"),
        IndexModel("devices.deviceId"),
        IndexModel([("taskId", ASCENDING), *_BY_COUNTS], name=COUNTS_INDEX),
        IndexModel([*_BY_DUE, ("taskId", ASCENDING)], name=DUE_INDEX, partialFilterExpression=_DUE),
        IndexModel(_BY_DUE, name=SENT_INDEX, partialFilterExpression=_SENT),
        IndexModel("lease.owner", sparse=True),
    ],
    HISTORY: [IndexModel([("taskId", ASCENDING), ("deviceId", ASCENDING)])],
    OPEN_COMMANDS: [
        IndexModel([("deviceId", ASCENDING), ("conflictGroup", ASCENDING)]),
        IndexModel([("taskId", ASCENDING), ("first", ASCENDING)]),
    ],
    KEYS: [IndexModel("secretHash", unique=True)],
    IMAGES: [IndexModel("name", name="sealed_name", unique=True, partialFilterExpression={"sealed": True})],
    IMAGE_CHUNKS: [IndexModel("sha256")],
}  # fmt: skip


async def prepare(database: AsyncDatabase[Document], views: Mapping[str, tuple[str, list[Document]]]) -> None:
    """Makes what is missing and brings what is there to this revision. Raises StoreTooNew. May be cut and repeated."""
    found = await database[META].find_one({"_id": "schema"})
    revision = 0 if found is None else int(found["revision"])
    if revision > REVISION:
        raise StoreTooNew(f"the database has revision {revision}; this version of Metercast knows {REVISION}")
    if revision == REVISION:
        return
    there = set(await database.list_collection_names())
    for name, schema in VALIDATORS.items():
        validator = {"$jsonSchema": schema}
        if name in there:
            await database.command("collMod", name, validator=validator)
        else:
            await _create(database, name, validator=validator)
    for name, indexes in INDEXES.items():
        await database[name].create_indexes(indexes)
    for name, (source, pipeline) in views.items():
        if name in there:
            await database.command("collMod", name, viewOn=source, pipeline=pipeline)
        else:
            await _create(database, name, viewOn=source, pipeline=pipeline)
    await database[META].update_one({"_id": "schema"}, {"$set": {"revision": REVISION}}, upsert=True)


async def _create(database: AsyncDatabase[Document], name: str, **options: Any) -> None:
    """Whoever makes it at the same time makes the same."""
    try:
        await database.create_collection(name, check_exists=False, **options)
    except CollectionInvalid:
        pass
    except OperationFailure as error:
        if error.code != 48:  # NamespaceExists
            raise
