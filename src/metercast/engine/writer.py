"""The writer: results of many sessions, recorded in batches. What it was handed it keeps until it is stored."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import structlog

from metercast.engine.bucket import ActiveBucket
from metercast.engine.stats import EngineStats
from metercast.store.attempts import AttemptStore, LeaseLost, Result
from metercast.store.errors import StoreUnavailable

log = structlog.get_logger()

T = TypeVar("T")

Recorded = Callable[[ActiveBucket, list[Result]], None]


class ResultWriter:
    """`add` never blocks; what waits is bounded by the sessions that were begun."""

    def __init__(
        self,
        store: AttemptStore,
        stats: EngineStats,
        recorded: Recorded,
        *,
        batch: int = 500,
        linger_seconds: float = 0.01,
    ) -> None:
        self._store = store
        self._stats = stats
        self._recorded = recorded
        self._batch = batch
        self._linger = linger_seconds
        self._waiting: defaultdict[ActiveBucket, list[Result]] = defaultdict(list)
        self._count = 0
        self._filled = asyncio.Event()
        self._full = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, bucket: ActiveBucket, result: Result) -> None:
        self._waiting[bucket].append(result)
        self._count += 1
        if self._count == 1:
            self._empty.clear()
            self._filled.set()
        if self._count >= self._batch:
            self._full.set()

    async def flushed(self) -> None:
        """Waits until everything handed over so far is recorded."""
        await self._empty.wait()

    async def run(self) -> None:
        """Until cancelled: a batch whenever it is full, or has waited for `linger_seconds`."""
        while True:
            await self._filled.wait()
            if self._count < self._batch:
                await self._wait_for_more()
            batch, self._waiting = self._waiting, defaultdict(list)
            self._count = 0
            self._filled.clear()
            self._full.clear()
            await asyncio.gather(*(self._record(bucket, results) for bucket, results in batch.items()))
            if self._count == 0:
                self._empty.set()

    async def _wait_for_more(self) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._linger, self._full.set)
        await self._full.wait()
        timer.cancel()

    async def _record(self, bucket: ActiveBucket, results: list[Result]) -> None:
        try:
            moved = await _until_stored(lambda: self._store.record_results(bucket.lease, results))
        except LeaseLost:
            self._stats.leases_lost += 1
            bucket.lost = True
            await self._record_late(bucket, results)
            moved = []
        counts = self._stats.results
        for each in moved:
            counts[each.status, each.error] += 1
        self._recorded(bucket, results)

    async def _record_late(self, bucket: ActiveBucket, results: list[Result]) -> None:
        """Someone else decided for these devices; what we saw may still correct a guess."""
        for result in results:
            self._stats.late_results += 1
            await _until_stored(partial(self._store.record_late_result, bucket.task.task_id, result))


async def _until_stored(call: Callable[[], Awaitable[T]]) -> T:
    """Calls until the store takes it, with a growing delay."""
    delay = 0.1
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            log.warning("writer.store_unavailable", error=error.detail)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)
