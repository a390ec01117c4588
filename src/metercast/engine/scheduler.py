"""The scheduler: what is due is offered, what is expired is failed, what has ended is finalised.

It looks at the store again and again, so nothing depends on a message: a pass that fails is repeated by the next.
"""

import asyncio
import contextlib

import structlog

from metercast.engine.queue import BucketQueue
from metercast.engine.stats import EngineStats
from metercast.store.contract import Store
from metercast.store.errors import StoreUnavailable

log = structlog.get_logger()


class Scheduler:
    """One pass every `interval_seconds`, or sooner when woken."""

    def __init__(self, store: Store, queue: BucketQueue, stats: EngineStats, interval_seconds: float = 0.25) -> None:
        self._store = store
        self._queue = queue
        self._stats = stats
        self._interval = interval_seconds
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something was submitted or has ended: look now."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("scheduler.store_unavailable", error=error.detail)
                await asyncio.sleep(1.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._interval)

    async def look(self) -> None:
        """One pass."""
        await self._store.start_due_tasks()
        await self._store.expire_due()
        if self._queue.room > 0:
            for bucket in await self._store.due_buckets(self._queue.room):
                self._queue.offer(bucket)
        for task in await self._store.finalise_ended():
            log.info("task.ended", task_id=task.task_id, status=task.status.value, outcome=task.outcome)
        self._stats.scheduler_passes += 1
