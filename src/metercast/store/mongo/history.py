"""What is kept of a device command outside of its bucket: attempts, results, progress, long explanations.

All of it is written before the update of the bucket that makes it so, and counts only once that update is made:

- a result, a progress or a long explanation has a key of its own, and the device in the bucket names that key; what no
  device names was never so;
- an attempt that ended in an error has the key of its number. While the device is SENT its attempt has not ended,
  whatever stands here. Whoever takes a bucket over makes void first what a worker before it may have left, or may
  still write: the epoch guards that.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from metercast.domain.states import DeviceStatus
from metercast.domain.task import Attempt
from metercast.domain.words import ErrorWord
from metercast.store.mongo.database import Database
from metercast.store.mongo.lookup import by_id
from metercast.store.mongo.times import find_time, get_time, set_time
from metercast.store.mongo.types import Document
from metercast.store.mongo.values import from_bson, to_bson

DUPLICATE_KEY = 11000
# Octets of `errorDetail` in the device itself, so that a bucket of 5,000 stays far below 16 MiB.
LONGEST_DETAIL = 1000

_ATTEMPT_FIELDS = ("startedAt", "endedAt", "error", "errorDetail", "micros")


class Keeping:
    """What one call writes to the history of one task, in one command."""

    def __init__(self, database: Database, task_id: str) -> None:
        self._database = database
        self._task_id = task_id
        self._writes: list[UpdateOne] = []

    def keep_attempt(
        self,
        device_id: str,
        attempt: int,
        epoch: int,
        started_at: datetime | None,
        ended_at: datetime,
        error: ErrorWord | None,
        detail: str | None,
        *,
        late: bool = False,
    ) -> None:
        fields: Document = {"deviceId": device_id, "kind": "attempt", "attempt": attempt, "late": late, "epoch": epoch}
        fields |= {"error": error, "errorDetail": detail}
        set_time(fields, "endedAt", ended_at)
        if started_at is not None:
            set_time(fields, "startedAt", started_at)
        guard: Document = {} if late else {"epoch": {"$lte": epoch}}
        key = _attempt_key(self._task_id, device_id, attempt, late=late)
        self._writes.append(UpdateOne({"_id": key, "taskId": self._task_id} | guard, {"$set": fields}, upsert=True))

    def make_void(self, device_id: str, attempt: int, epoch: int) -> None:
        """The attempt has not ended yet; what a lease before `epoch` writes about its end does not count."""
        key = _attempt_key(self._task_id, device_id, attempt, late=False)
        fields = {"deviceId": device_id, "kind": "void", "attempt": attempt, "late": False, "epoch": epoch}
        change = {"$set": fields, "$unset": dict.fromkeys(_ATTEMPT_FIELDS, "")}
        guard = {"_id": key, "taskId": self._task_id, "epoch": {"$lte": epoch}}
        self._writes.append(UpdateOne(guard, change, upsert=True))

    def keep(self, kind: str, device_id: str, value: Any) -> str:
        """A result, progress or detail; the key by which its device names it."""
        key = f"{self._task_id}/{kind}/{uuid.uuid4().hex}"
        fields = {"deviceId": device_id, "kind": kind, "value": to_bson(value)}
        self._writes.append(UpdateOne({"_id": key, "taskId": self._task_id}, {"$set": fields}, upsert=True))
        return key

    def keep_detail(self, device: dict[str, Any], detail: str | None) -> None:
        """`errorDetail` of a device that is being changed: cut where it is long, with the key of the whole."""
        device["errorDetail"], device["errorDetailKey"] = detail, None
        if detail is not None and len(detail.encode()) > LONGEST_DETAIL:
            cut = detail.encode()[: LONGEST_DETAIL - 3].decode(errors="ignore")
            device["errorDetail"] = cut + "…"
            device["errorDetailKey"] = self.keep("detail", device["deviceId"], detail)

    async def write(self) -> None:
        if not self._writes:
            return
        writes, self._writes = self._writes, []
        try:
            await self._database.history.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            # The epoch's guard refused it: the lease is lost, as the bucket's own guard will say.
            if any(each["code"] != DUPLICATE_KEY for each in error.details["writeErrors"]):
                raise
            if error.details.get("writeConcernErrors"):
                raise

    async def forget(self, keys: Sequence[str]) -> None:
        """What no device names any more."""
        if keys:
            await self._database.history.delete_many({"_id": {"$in": list(keys)}, "taskId": self._task_id})


async def values(database: Database, task_id: str, keys: Sequence[str]) -> dict[str, Any]:
    """By key, the results, progress or details with these keys."""
    found = by_id(database.history, keys, {"value": 1}, {"taskId": task_id})
    return {each["_id"]: from_bson(each["value"]) async for each in found}


async def whole_details(database: Database, task_id: str, devices: Iterable[Document]) -> None:
    """Puts the whole `errorDetail` into devices that hold a cut one."""
    cut = [device for device in devices if device.get("errorDetailKey")]
    whole = await values(database, task_id, [device["errorDetailKey"] for device in cut])
    for device in cut:
        device["errorDetail"] = whole.get(device["errorDetailKey"], device["errorDetail"])


async def of_devices(database: Database, task_id: str, device_ids: Sequence[str]) -> dict[str, list[Document]]:
    """All that is kept of each of these devices."""
    by_device: dict[str, list[Document]] = {each: [] for each in device_ids}
    async for each in database.history.find({"taskId": task_id, "deviceId": {"$in": list(device_ids)}}):
        by_device[each["deviceId"]].append(each)
    return by_device


async def attempts_of_number(database: Database, task_id: str, device_id: str, attempt: int) -> list[Document]:
    """What is kept of one attempt's end, if anything."""
    key = _attempt_key(task_id, device_id, attempt, late=False)
    return [each async for each in database.history.find({"_id": key, "taskId": task_id})]


def ended_attempts(device: Mapping[str, Any], kept: Iterable[Document]) -> list[Document]:
    """Of what is `kept` of the device, the attempts that count, in order."""
    runs = device["commandStatus"] == DeviceStatus.SENT
    ended = [
        each
        for each in kept
        if each["kind"] == "attempt" and (each["late"] or each["attempt"] < device["attempts"] + (not runs))
    ]
    return sorted(ended, key=lambda each: (each["attempt"], each["late"]))


def value_of(kept: Iterable[Document], key: str | None) -> Any:
    return next((from_bson(each["value"]) for each in kept if each["_id"] == key), None) if key else None


def attempt_of(kept: Document) -> Attempt:
    ended_at = get_time(kept, "endedAt")
    return Attempt(
        attempt=kept["attempt"],
        started_at=find_time(kept, "startedAt") or ended_at,
        ended_at=ended_at,
        error=None if kept["error"] is None else ErrorWord(kept["error"]),
        error_detail=kept["errorDetail"],
        late=kept["late"],
    )


def _attempt_key(task_id: str, device_id: str, attempt: int, *, late: bool) -> str:
    return f"{task_id}/{'late' if late else 'attempt'}/{attempt}/{device_id}"
