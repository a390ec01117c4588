"""A whole task as JSON text, on MongoDB: a bucket's document at a time."""

from collections.abc import AsyncIterator
from functools import lru_cache

import msgspec

from metercast.store.mongo import documents, endings, history, places
from metercast.store.mongo.database import Database, stream
from metercast.store.mongo.times import find_time, get_time, to_text
from metercast.store.mongo.types import Document


class _Row(msgspec.Struct, rename="camel", gc=False):
    """The fields of domain.task.DeviceCommand, its times as text of one width."""

    device_id: str
    command_status: str
    error: str | None
    last_updated: str
    attempts: int
    how: str | None
    error_detail: str | None
    next_attempt_at: str | None


_encode = msgspec.json.Encoder().encode
_text = lru_cache(1024)(to_text)  # devices that moved together have one time


class MongoStreaming:
    """Implements the stream of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @stream
    async def stream_devices(self, task_id: str) -> AsyncIterator[bytes]:
        wanted = {"taskId": 1, "bucketed": 1, "bucketSize": 1, "counts.total": 1}
        header = await endings.require_header(self.database, task_id, wanted)
        total = header["counts"]["total"]
        separator = b""
        for first in range(0, total, header["bucketSize"] if header["bucketed"] else total):
            if first:  # it may have been retired since
                await endings.require_header(self.database, task_id, {"_id": 1})
            yield separator + await self._piece(places.holding(header, first))
            separator = b","

    async def _piece(self, place: places.Place) -> bytes:
        found = await place.collection(self.database).find_one(place.filter, {"devices": 1})
        if found is None:
            raise documents.no_task(place.task_id)
        devices = found["devices"]
        await history.whole_details(self.database, place.task_id, devices)
        return _encode([_row(each) for each in devices])[1:-1]


def _row(device: Document) -> _Row:
    next_at = find_time(device, "nextAttemptAt") if "nextAttemptAt" in device else None
    return _Row(
        device["deviceId"],
        device["commandStatus"],
        device["error"],
        _text(get_time(device, "lastUpdated")),
        device["attempts"],
        device.get("how"),
        device.get("errorDetail"),
        None if next_at is None else to_text(next_at),
    )
