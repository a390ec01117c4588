"""A whole task as JSON text, on MongoDB: a bucket's document at a time; and its results, a few of them."""

from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

import msgspec

from metercast.store.mongo import documents, endings, history, places
from metercast.store.mongo.database import Database, stream
from metercast.store.mongo.times import find_time, get_time, to_text
from metercast.store.mongo.types import Document
from metercast.store.results import PIECE_DEVICES, PIECE_OCTETS, ResultLine, encoded


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
_FIRST_RESULTS = 4
_text = lru_cache(1024)(to_text)  # devices that moved together have one time


class MongoStreaming:
    """Implements the streams of store.tasks.TaskStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @stream
    async def stream_devices(self, task_id: str) -> AsyncIterator[bytes]:
        separator = b""
        async for devices in self._bucket_devices(task_id):
            await history.whole_details(self.database, task_id, devices)
            yield separator + _encode([_row(each) for each in devices])[1:-1]
            separator = b","

    @stream
    async def stream_results(self, task_id: str) -> AsyncIterator[bytes]:
        """How many results are read at a time follows from how long those before them were."""
        count = _FIRST_RESULTS
        async for devices in self._bucket_devices(task_id):
            start = 0
            while start < len(devices):
                some = devices[start : start + count]
                start += len(some)
                keys = [each["resultKey"] for each in some if each.get("resultKey")]
                results = await history.values(self.database, task_id, keys) if keys else {}
                piece = b"".join(encoded(_line(each, results)) for each in some)
                yield piece
                count = max(1, min(PIECE_DEVICES, 2 * count, PIECE_OCTETS * len(some) // len(piece)))

    async def _bucket_devices(self, task_id: str) -> AsyncIterator[list[Document]]:
        """The devices of one bucket after the other."""
        wanted = {"taskId": 1, "bucketed": 1, "bucketSize": 1, "counts.total": 1}
        header = await endings.require_header(self.database, task_id, wanted)
        total = header["counts"]["total"]
        for first in range(0, total, header["bucketSize"] if header["bucketed"] else total):
            if first:  # it may have been retired since
                await endings.require_header(self.database, task_id, {"_id": 1})
            place = places.holding(header, first)
            found = await place.collection(self.database).find_one(place.filter, {"devices": 1})
            if found is None:
                raise documents.no_task(task_id)
            yield found["devices"]


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


def _line(device: Document, results: dict[str, Any]) -> ResultLine:
    key = device.get("resultKey")
    result = results.get(key) if key else None
    return ResultLine.of(
        device["deviceId"],
        device["commandStatus"],
        device["error"],
        _text(get_time(device, "lastUpdated")),
        device.get("how"),
        None if result is None else _encode(result).decode(),
    )
