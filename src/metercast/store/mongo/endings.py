"""How tasks end on MongoDB: their final status, outcome and counts.

A task of one document ends in one update. Of a larger one the counts are summed over its buckets, and frozen into the
header by an update that is guarded by what was read. Late results go on to change buckets after that: whoever changes
one first leaves `recountAt` in the header, so that a sweep counts again where it was cut, and counts itself.
"""

from datetime import datetime, timedelta
from typing import Any

from metercast.domain.command import ConflictGroup
from metercast.domain.states import TaskStatus
from metercast.domain.task import Counts, Task, corrected_state, final_state
from metercast.store.mongo import documents
from metercast.store.mongo.database import Database
from metercast.store.mongo.rounds import Rounds
from metercast.store.mongo.schema import COUNTS_INDEX, DUE_INDEX
from metercast.store.mongo.times import floor, set_time
from metercast.store.mongo.types import Document

_RECOUNT_AFTER = timedelta(seconds=60)  # longer than any call lasts
_NAMES = ("pending", "sent", "success", "failed", "cancelled")


async def live_counts(database: Database, task_ids: list[str]) -> dict[str, Counts]:
    """Of large tasks, by id: the sums over their buckets, from the index alone."""
    if not task_ids:
        return {}
    sums: Document = {name: {"$sum": f"$counts.{name}"} for name in _NAMES}
    pipeline: list[Document] = [{"$match": {"taskId": {"$in": task_ids}}}, {"$group": {"_id": "$taskId"} | sums}]
    found = {}
    async with await database.buckets.aggregate(pipeline, hint=COUNTS_INDEX) as cursor:
        async for each in cursor:
            numbers = [each[name] for name in _NAMES]
            found[each["_id"]] = Counts(sum(numbers), *numbers)
    return found


async def finalise(database: Database, header: Document, counts: Counts, now: datetime) -> Task | None:
    """`counts` have nothing open. None where the task has changed since `header` was read, or is final."""
    status = TaskStatus(header["status"])
    guard: Document = {"open": True, "status": status}
    if header["bucketed"]:
        await database.buckets.update_many(
            {"taskId": header["taskId"], "dueAt": {"$exists": True}, "counts.pending": 0, "counts.sent": 0},
            {"$unset": {"dueAt": ""}},
            hint=DUE_INDEX,
        )
    else:
        guard |= {f"counts.{name}": header["counts"][name] for name in _NAMES}
    if header["conflictGroup"] != ConflictGroup.NONE:
        await database.open_commands.delete_many({"taskId": header["taskId"]})
    after, outcome = final_state(status, counts)
    change: Document = {"status": after, "outcome": outcome, "counts": _stored(counts), "open": False}
    set_time(change, "updatedAt", now)
    result = await database.tasks.update_one(
        documents.sealed(header["taskId"]) | guard, {"$set": change, "$unset": {"dueAt": ""}}
    )
    if not result.modified_count:
        return None
    return documents.task_of(await require_header(database, header["taskId"]))


def corrected(status: TaskStatus, counts: Counts) -> Document:
    """What a late success makes of a final task."""
    after, outcome = corrected_state(status, counts)
    return {"status": after, "outcome": outcome}


async def announce_correction(database: Database, task_id: str, now: datetime) -> None:
    """Before a late result changes a bucket of a large task."""
    await database.tasks.update_one(
        {"_id": task_id, "taskId": task_id}, {"$max": {"recountAt": floor(now + _RECOUNT_AFTER)}}
    )


async def recount(database: Database, task_id: str, now: datetime, *, sweep: bool = False) -> None:
    """Brings the header of a large task in line with its buckets, where it is final. A sweep also takes away what
    asked for it."""
    rounds = Rounds(f"task {task_id}")
    while True:
        await rounds.next()
        header = await database.tasks.find_one(documents.sealed(task_id))
        if header is None:
            return
        change: Document = {}
        guard: Document = {"open": header["open"], "status": header["status"]}
        if not header["open"]:
            counts = (await live_counts(database, [task_id]))[task_id]
            guard |= {f"counts.{name}": header["counts"][name] for name in _NAMES}
            if counts != documents.counts(header):
                fields = corrected(TaskStatus(header["status"]), counts) | {"counts": _stored(counts)}
                set_time(fields, "updatedAt", now)
                change["$set"] = fields
        if sweep:
            guard["recountAt"] = header.get("recountAt")
            change["$unset"] = {"recountAt": ""}
        if not change:
            return
        result = await database.tasks.update_one(documents.sealed(task_id) | guard, change)
        if result.matched_count:
            return


async def require_header(database: Database, task_id: str, wanted: dict[str, Any] | None = None) -> Document:
    """Without its devices, if nothing else is wanted. Raises NotFound."""
    header = await database.tasks.find_one(documents.sealed(task_id), wanted or documents.WITHOUT_DEVICES)
    if header is None:
        raise documents.no_task(task_id)
    return header


async def require_task(database: Database, task_id: str) -> Task:
    """Raises NotFound."""
    (task,) = await tasks_of(database, [await require_header(database, task_id)])
    return task


async def tasks_of(database: Database, headers: list[Document]) -> list[Task]:
    """With the live counts of those that are large and open."""
    large = [each["taskId"] for each in headers if each["bucketed"] and each["outcome"] is None]
    live = await live_counts(database, large)
    return [documents.task_of(each, live.get(each["taskId"])) for each in headers]


def _stored(counts: Counts) -> Document:
    return {"total": counts.total} | {name: getattr(counts, name) for name in _NAMES}
