"""Views for people who query the collections, and the pipelines behind them: each runs by itself on its source too.

`device_commands` has a row for each device command, wherever its document is. The others answer what the SQL views of
the same names answer: `day` is the UTC day on which a task was due. Only tasks that are sealed are in any of them.
"""

from typing import Any

from metercast.domain.states import DeviceStatus
from metercast.store.mongo.joins import with_header
from metercast.store.mongo.schema import BUCKETS, DEVICES, TASKS
from metercast.store.mongo.types import Document

DEVICE_COMMANDS = "device_commands"

_DAY = {"$dateToString": {"date": "$scheduledAt", "format": "%Y-%m-%d"}}
_COUNTS = ("pending", "sent", "success", "failed", "cancelled")
_OF_DEVICE = (
    "deviceId", "commandStatus", "error", "lastUpdated", "attempts", "how", "errorDetail", "nextAttemptAt", "sentAt",
)  # fmt: skip


def _rows(header: str) -> list[Document]:
    """A row for each device; `header` is the path of the task's fields, with its last dot."""
    of_task = {"scheduledAt": f"${header}scheduledAt", "taskStatus": f"${header}status"}
    wanted: Document = {"_id": 0, "taskId": 1, "commandId": 1, "commandType": 1, **of_task}
    return [
        {"$unwind": "$devices"},
        {"$project": wanted | {name: f"$devices.{name}" for name in _OF_DEVICE}},
    ]


_device_commands: list[Document] = [
    {"$match": {"sealed": True, "bucketed": False}},
    *_rows(""),
    {"$unionWith": {"coll": BUCKETS, "pipeline": [*with_header({"scheduledAt": 1, "status": 1}), *_rows("task.")]}},
]

# A task that is final has its counts in its header; of a large one that is open they are summed over its buckets.
_success_rate: list[Document] = [
    {"$match": {"sealed": True}},
    {
        "$project": {
            "commandType": 1,
            "day": _DAY,
            "counts": 1,
            "liveId": {"$cond": [{"$and": ["$bucketed", "$open"]}, "$taskId", None]},
        }
    },
    {
        "$lookup": {
            "from": BUCKETS,
            "localField": "liveId",
            "foreignField": "taskId",
            "pipeline": [
                {"$group": {"_id": None} | {name: {"$sum": f"$counts.{name}"} for name in ("total", *_COUNTS)}},
            ],
            "as": "live",
        }
    },
    {"$set": {"counts": {"$ifNull": [{"$arrayElemAt": ["$live", 0]}, "$counts"]}}},
    {
        "$group": {
            "_id": {"commandType": "$commandType", "day": "$day"},
            "tasks": {"$sum": 1},
            "devices": {"$sum": "$counts.total"},
        }
        | {name: {"$sum": f"$counts.{name}"} for name in _COUNTS}
    },
    {
        "$project": {
            "_id": 0,
            "commandType": "$_id.commandType",
            "day": "$_id.day",
            "tasks": 1,
            "devices": 1,
            **dict.fromkeys(_COUNTS, 1),
            "successRate": {
                "$cond": [
                    {"$eq": [{"$add": ["$success", "$failed"]}, 0]},
                    None,
                    {"$divide": ["$success", {"$add": ["$success", "$failed"]}]},
                ]
            },
        }
    },
]

_of_error: dict[str, Any] = {"commandType": "$_id.commandType", "day": "$_id.day", "error": "$_id.error"}
_failures: list[Document] = [
    {"$match": {"commandStatus": DeviceStatus.FAILED.value}},
    {
        "$group": {
            "_id": {"commandType": "$commandType", "day": _DAY, "error": "$error", "taskId": "$taskId"},
            "devices": {"$sum": 1},
        }
    },
    {"$group": {"_id": _of_error, "devices": {"$sum": "$devices"}, "tasks": {"$sum": 1}}},
    {"$project": {"_id": 0, **_of_error, "devices": 1, "tasks": 1}},
]

_completion: list[Document] = [
    {"$match": {"sealed": True, "open": False}},
    {
        "$project": {
            "_id": 0,
            "taskId": 1,
            "commandId": 1,
            "commandType": 1,
            "day": _DAY,
            "status": 1,
            "outcome": 1,
            "devices": "$counts.total",
            "scheduledAt": 1,
            "endedAt": "$updatedAt",
            "seconds": {"$divide": [{"$subtract": ["$updatedAt", "$scheduledAt"]}, 1000]},
        }
    },
]

_SECONDS = {"$divide": [{"$subtract": ["$lastUpdated", "$sentAt"]}, 1000]}
_gateways: list[Document] = [
    {"$match": {"commandStatus": DeviceStatus.SUCCESS.value, "sentAt": {"$type": "date"}}},
    {
        "$group": {
            "_id": "$deviceId",
            "sessions": {"$sum": 1},
            "seconds": {"$sum": _SECONDS},
            "longest": {"$max": _SECONDS},
        }
    },
    {"$lookup": {"from": DEVICES, "localField": "_id", "foreignField": "_id", "as": "meter"}},
    {"$unwind": "$meter"},
    {
        "$group": {
            "_id": "$meter.channel",
            "sessions": {"$sum": "$sessions"},
            "meters": {"$sum": 1},
            "seconds": {"$sum": "$seconds"},
            "longest": {"$max": "$longest"},
        }
    },
    {
        "$project": {
            "_id": 0,
            "channel": "$_id",
            "sessions": 1,
            "meters": 1,
            "averageSeconds": {"$divide": ["$seconds", "$sessions"]},
            "longestSeconds": "$longest",
        }
    },
]

# By name: the collection or view that each looks at, and its pipeline. In the order in which they can be made.
VIEWS: dict[str, tuple[str, list[Document]]] = {
    DEVICE_COMMANDS: (TASKS, _device_commands),
    "task_success_rate": (TASKS, _success_rate),
    "failures_by_error": (DEVICE_COMMANDS, _failures),
    "time_to_completion": (TASKS, _completion),
    "slowest_gateways": (DEVICE_COMMANDS, _gateways),
}
