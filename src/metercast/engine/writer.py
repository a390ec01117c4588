"""The writer: results of many sessions, recorded in batches. What it was handed it keeps until it is stored."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from metercast.domain.states import DeviceStatus
from metercast.domain.words import ErrorWord
from metercast.engine.bucket import ActiveBucket
from metercast.engine.patience import tell, until_stored
from metercast.engine.stats import EngineStats
from metercast.store.attempts import AttemptStore, LeaseLost, Result, Transition

_ANEW_SECONDS = 30.0

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
        linger_seconds: float = 0.02,
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
            moved = await self._write(bucket, results)
        except Exception as error:
            tell("writer", error)
            await self._record_apart(bucket, results)
            return
        for each in moved:
            self._stats.results[each.status, each.error] += 1
        self._recorded(bucket, results)

    async def _write(self, bucket: ActiveBucket, results: list[Result]) -> list[Transition]:
        """Under the bucket's lease; where that is lost, as far as nobody has decided for the devices yet."""
        try:
            return await until_stored(partial(self._store.record_results, bucket.lease, results))
        except LeaseLost:
            self._stats.leases_lost += 1
            bucket.lost = True
        try:
            moved = await self._write_anew(bucket, results)
        except LeaseLost:
            moved = []
        decided = {each.device_id for each in moved}
        await self._record_late(bucket, [each for each in results if each.device_id not in decided])
        return moved

    async def _write_anew(self, bucket: ActiveBucket, results: list[Result]) -> list[Transition]:
        """Where nobody has taken the bucket since, what we saw ourselves goes before what a recovery would guess.

        The lease ends at once: the sessions that still run were begun under the old one and must not go on by it.
        """
        old = bucket.lease
        leased = await until_stored(partial(self._store.lease_bucket, old.bucket_id, old.owner, _ANEW_SECONDS))
        if leased is None:
            return []
        moved = await until_stored(partial(self._store.record_results, leased.lease, results))
        await until_stored(partial(self._store.release_bucket, leased.lease, 0.0))
        return moved

    async def _record_late(self, bucket: ActiveBucket, results: list[Result]) -> None:
        """Someone else decides for these devices; what we saw may still correct a guess."""
        seen = [each for each in results if each.status is DeviceStatus.SUCCESS or each.error is not None]
        self._stats.late_results += len(seen)
        record = partial(self._store.record_late_result, bucket.task.task_id)
        said = await asyncio.gather(*(until_stored(partial(record, each)) for each in seen), return_exceptions=True)
        for error in said:
            if isinstance(error, Exception):
                tell("writer", error)

    async def _record_apart(self, bucket: ActiveBucket, results: list[Result]) -> None:
        """A result that can't be stored must not take the others with it: its device fails without it."""
        if len(results) > 1:
            for each in results:
                await self._record(bucket, [each])
            return
        (result,) = results
        plain = _without_values(result)
        if plain == result:  # not even that: the bucket is left to its next lease
            bucket.lost = True
            self._recorded(bucket, results)
        else:
            await self._record(bucket, [plain])


def _without_values(result: Result) -> Result:
    detail = "internal error: the result can't be stored"
    return Result(
        result.position, result.device_id, result.tries, DeviceStatus.FAILED, result.used,
        error=ErrorWord.INTERNAL_ERROR, detail=detail,
    )  # fmt: skip
