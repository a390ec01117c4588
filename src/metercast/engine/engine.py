"""The engine of one process: scheduler, queue, worker, retention and follow-ups, started and drained together."""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime

import structlog

from metercast.commands.contract import CommandType
from metercast.driver.contract import Driver
from metercast.engine.executor import Executor, Vault
from metercast.engine.follow_ups import LOOK_SECONDS, FollowUps
from metercast.engine.limits import WorkerLimits
from metercast.engine.queue import InProcessQueue
from metercast.engine.retention import Retention, RetentionPolicy
from metercast.engine.scheduler import Scheduler
from metercast.engine.stats import EngineStats
from metercast.engine.worker import Worker
from metercast.store.contract import Store

log = structlog.get_logger()

_OWNER_PREFIX = "local:"


class Engine:
    """The only process on its store: a start takes over every lease that an earlier one left."""

    def __init__(
        self,
        store: Store,
        driver: Driver,
        commands: Mapping[str, CommandType],
        vault: Vault,
        clock: Callable[[], datetime],
        limits: WorkerLimits | None = None,
        retention: RetentionPolicy | None = None,
        follow_up_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Without a policy every ended task is kept. Between two looks for follow-ups lie `follow_up_seconds`."""
        self.stats = EngineStats(lambda: driver.notified)
        self._store = store
        self._driver = driver
        queue = InProcessQueue()
        limits = limits or WorkerLimits()
        self._scheduler = Scheduler(store, queue, self.stats)
        self._worker = Worker(
            store,
            queue,
            Executor(store, driver, vault, clock, alarm=self.stats.alarm, slice_seconds=limits.slice_seconds),
            commands,
            self.stats,
            _OWNER_PREFIX + uuid.uuid4().hex,
            limits,
            self._scheduler.bucket_ended,
        )
        self._retention = Retention(store, self.stats, clock, retention or RetentionPolicy())
        self._follow_ups = FollowUps(store, commands, self.stats, clock, self._scheduler.wake, follow_up_seconds)
        self._running: asyncio.Task[None] | None = None
        self._refreshes: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> bool:
        return self._running is not None and not self._running.done()

    async def start(self) -> None:
        taken = await self._store.release_owner(_OWNER_PREFIX)
        if taken:
            log.info("engine.takes_over", leases=taken)
        self._running = asyncio.create_task(self._run(), name="engine")

    def wake(self) -> None:
        """Something was submitted: look now."""
        self._scheduler.wake()

    def changed(self, task_id: str) -> None:
        """A task was paused, resumed or cancelled: the worker looks at it at once."""
        self._scheduler.wake()
        refresh = asyncio.create_task(self._refresh(task_id), name="refresh")
        self._refreshes.add(refresh)
        refresh.add_done_callback(self._refreshes.discard)

    async def drain(self, grace_seconds: float) -> bool:
        """Stops beginning, lets sessions end within the grace time, then cancels; whether all ended by themselves."""
        if self._running is None or self._running.done():
            return True
        drained = True
        try:
            async with asyncio.timeout(grace_seconds):
                await self._worker.drain()
        except TimeoutError:
            drained = False
            log.warning("engine.drain_timeout", sessions=self.stats.sessions_in_flight)
            await self._worker.abandon()
        self._running.cancel()
        await asyncio.gather(self._running, *self._refreshes, return_exceptions=True)
        await self._driver.close()
        return drained

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._scheduler.run(), name="scheduler")
            group.create_task(self._worker.run(), name="worker")
            group.create_task(self._retention.run(), name="retention")
            group.create_task(self._follow_ups.run(), name="follow-ups")

    async def _refresh(self, task_id: str) -> None:
        with contextlib.suppress(Exception):  # the worker learns of it at the next renewal
            await self._worker.refresh(task_id)
