"""The scheduler: what is due is offered, what is expired is failed, what has ended is finalised.

It looks at the store again and again, so nothing depends on a message: a pass that fails is repeated by the next.
"""

import asyncio
import contextlib

import structlog

from metercast.engine.patience import REST_SECONDS, tell
from metercast.engine.queue import BucketQueue
from metercast.engine.stats import EngineStats
from metercast.store.contract import Store

log = structlog.get_logger()

# Asked for even of a full queue: what is more urgent takes the place of what waits there.
_LEAST_ASKED = 10


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
            except Exception as error:
                tell("scheduler", error)
                await asyncio.sleep(REST_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._woken.wait()

    async def look(self) -> None:
        """One pass."""
        await self._store.start_due_tasks()
        await self._store.expire_due()
        for bucket in await self._store.due_buckets(max(self._queue.room, _LEAST_ASKED)):
            self._queue.offer(bucket)
        for task in await self._store.finalise_ended():
            log.info("task.ended", task_id=task.task_id, status=task.status.value, outcome=task.outcome)
        self._stats.scheduler_passes += 1
