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
    """One pass every `interval_seconds`, or sooner when woken. When only buckets have ended it only finalises."""

    def __init__(self, store: Store, queue: BucketQueue, stats: EngineStats, interval_seconds: float = 0.25) -> None:
        self._store = store
        self._queue = queue
        self._stats = stats
        self._interval = interval_seconds
        self._woken = asyncio.Event()
        self._asked = True

    def wake(self) -> None:
        """Something was submitted or changed: look now."""
        self._asked = True
        self._woken.set()

    def bucket_ended(self) -> None:
        """A worker gave a bucket back: its task may have ended."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        next_look = loop.time()
        while True:
            self._woken.clear()
            look = self._asked or loop.time() >= next_look
            try:
                if look:
                    self._asked = False
                    next_look = loop.time() + self._interval
                    await self.look()
                await self.finalise()
            except Exception as error:
                tell("scheduler", error)
                await asyncio.sleep(REST_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_look):
                    await self._woken.wait()

    async def look(self) -> None:
        """Starts, expires and offers what is due."""
        await self._store.start_due_tasks()
        await self._store.expire_due()
        for bucket in await self._store.due_buckets(max(self._queue.room, _LEAST_ASKED)):
            self._queue.offer(bucket)
        self._stats.scheduler_passes += 1

    async def finalise(self) -> None:
        """Ends the tasks that have no open device."""
        for task in await self._store.finalise_ended():
            log.info("task.ended", task_id=task.task_id, status=task.status.value, outcome=task.outcome)
