"""Retention: ended tasks that are old enough go, and what a creation left that died goes always, little by little.

It has a small part of the store's time: each step is short, and rests follow it that are longer than it was.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from metercast.engine.patience import tell
from metercast.engine.stats import EngineStats
from metercast.store.tasks import TaskStore

log = structlog.get_logger()

_EARLIEST = datetime.min.replace(tzinfo=UTC)


class RetentionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long ended tasks are kept after their last change (None: for ever), and how gently they go."""

    keep_days: float | None = None
    look_seconds: float = 60.0  # between two looks where nothing is to be done
    rest_factor: float = 4.0  # times as long as a step took is rested after it
    least_rest_seconds: float = 0.02
    tasks_a_step: int = 50
    rows_a_step: int = 1000

    def ended_before(self, now: datetime) -> datetime | None:
        """What was last changed before that may go; None: nothing may."""
        if self.keep_days is None:
            return None
        try:
            return now - timedelta(days=self.keep_days)
        except OverflowError:
            return _EARLIEST


class Retention:
    """The loop that carries a policy out."""

    def __init__(
        self, store: TaskStore, stats: EngineStats, clock: Callable[[], datetime], policy: RetentionPolicy
    ) -> None:
        self._store = store
        self._stats = stats
        self._clock = clock
        self._policy = policy

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            start = time.monotonic()
            try:
                more = await self.step()
            except Exception as error:
                tell("retention", error)
                more = False
            took = time.monotonic() - start
            rest = max(self._policy.least_rest_seconds, took * self._policy.rest_factor)
            await asyncio.sleep(rest if more else self._policy.look_seconds)

    async def step(self) -> bool:
        """Sweeps a little, or retires a few tasks where nothing is left to sweep; false: there is nothing to do."""
        swept = await self._store.sweep_unsealed(self._policy.rows_a_step)
        self._stats.rows_swept += swept
        if swept:
            return True
        before = self._policy.ended_before(self._clock())
        if before is None:
            return False
        retired = await self._store.retire_tasks(before, self._policy.tasks_a_step)
        self._stats.tasks_retired += retired
        if retired:
            log.info("retention.retired", tasks=retired, ended_before=before.isoformat())
        return retired > 0
