"""Late results on MongoDB: a session's end that came after its attempt was decided.

In a task of one document the correction is one update, header and all. In a larger one the header is told first that
it must be counted again, then the bucket is corrected, then the header: see `endings`.
"""

from typing import Any

from metercast.domain.command import ConflictGroup
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.words import CORRECTABLE
from metercast.store.attempts import Result, Transition
from metercast.store.mongo import conflicts, documents, endings, places
from metercast.store.mongo.changes import Changes
from metercast.store.mongo.database import Database, call
from metercast.store.mongo.history import Keeping, attempts_of_number
from metercast.store.mongo.places import Place
from metercast.store.mongo.rounds import Rounds
from metercast.store.mongo.times import find_time, set_time
from metercast.store.mongo.types import Document

_LARGEST_POSITION = 2**31 - 1
_HEADER = {"taskId": 1, "status": 1, "outcome": 1, "open": 1, "counts": 1, "bucketed": 1, "bucketSize": 1,
           "conflictGroup": 1}  # fmt: skip

_CLEARED = ("error", "errorDetail", "errorDetailKey", "nextAttemptAt", "verifyFirst")


class MongoLateResults:
    """Implements the late results of store.attempts.AttemptStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def record_late_result(self, task_id: str, result: Result) -> Transition | None:
        if not 0 <= result.position <= _LARGEST_POSITION:
            return None
        rounds = Rounds(f"task {task_id}")
        while True:
            await rounds.next()
            header = await self.database.tasks.find_one(documents.sealed(task_id), _HEADER)
            if header is None:
                return None
            place = places.holding(header, result.position)
            bucket = await self._read(place, result.position)
            device = bucket["devices"][0] if bucket is not None and bucket["devices"] else None
            if bucket is None or device is None or not _is_of(result, device):
                return None
            corrects = _corrects(result, device)
            made = await self._correct(header, place, bucket, device, result, corrects=corrects)
            if not corrects:
                return None
            if made:
                await self._settle(header, result)
                return Transition(task_id, result.device_id, DeviceStatus.SUCCESS, None)

    async def _read(self, place: Place, position: int) -> Document | None:
        wanted = {"counts": 1, "devices": {"$slice": [position - place.first, 1]}}
        return await place.collection(self.database).find_one(place.filter, wanted)

    async def _correct(
        self, header: Document, place: Place, bucket: Document, device: Document, result: Result, *, corrects: bool
    ) -> bool:
        """Records it, and corrects the device where `corrects`; whether that was made."""
        now = self.database.clock()
        keeping = Keeping(self.database, place.task_id)
        earlier = await attempts_of_number(self.database, place.task_id, result.device_id, result.tries)
        sent_at = find_time(device, "sentAt") if device["attempts"] == result.tries else None
        started_at = next((each for each in (find_time(one, "startedAt") for one in earlier) if each), sent_at)
        keeping.keep_attempt(result.device_id, result.tries, 0, started_at, now, result.error, result.detail, late=True)
        if not corrects:
            await keeping.write()
            return False
        changes = Changes(place, bucket["counts"], {})
        fields: dict[str, Any] = dict.fromkeys(_CLEARED) | {"how": result.how}
        if result.result is not None:
            fields["resultKey"] = keeping.keep("result", result.device_id, result.result)
        changes.move(result.position, device, DeviceStatus.SUCCESS, now, fields)
        if place.whole_task:
            changes.filter |= {"sealed": True, "open": header["open"], "status": header["status"]}
            if not header["open"]:
                self._correct_header(changes, header, now)
        else:
            await endings.announce_correction(self.database, place.task_id, now)
        await keeping.write()
        return await changes.make(self.database)

    def _correct_header(self, changes: Changes, header: Document, now: Any) -> None:
        """The header that stands in the same document."""
        after = documents.counts({"counts": changes.counts_after})
        changes.filter |= {f"counts.{name}": count for name, count in header["counts"].items()}
        changes.set |= endings.corrected(TaskStatus(header["status"]), after)
        set_time(changes.set, "updatedAt", now)

    async def _settle(self, header: Document, result: Result) -> None:
        if header["conflictGroup"] != ConflictGroup.NONE:
            await conflicts.forget(self.database, header["taskId"], [result.device_id])
        if header["bucketed"]:
            await endings.recount(self.database, header["taskId"], self.database.clock())


def _is_of(result: Result, device: Document) -> bool:
    return bool(device["deviceId"] == result.device_id and 1 <= result.tries <= device["attempts"])


def _corrects(result: Result, device: Document) -> bool:
    return bool(
        result.status is DeviceStatus.SUCCESS
        and device["commandStatus"] in (DeviceStatus.FAILED, DeviceStatus.PENDING)
        and device["error"] in CORRECTABLE
        and device["attempts"] == result.tries
    )
