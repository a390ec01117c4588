"""Retention beside the engine: what is old goes, what died goes, and the work goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.engine.harness import COMMANDS, LIMITS, PlainVault, World, names

from metercast.domain.problem import NotFound
from metercast.domain.task import Task
from metercast.engine.engine import Engine
from metercast.engine.retention import Retention, RetentionPolicy
from metercast.engine.stats import EngineStats
from metercast.store.contract import Store
from metercast.store.errors import StoreUnavailable
from metercast.store.tasks import CREATE_CHUNK, NewTask, TaskQuery

DAY = 86_400.0
QUICK = RetentionPolicy(
    keep_days=30, look_seconds=0.01, least_rest_seconds=0.001, rest_factor=0.1, tasks_a_step=2, rows_a_step=50
)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 (it asks a store)
            await asyncio.sleep(0.005)


async def kept(world: World) -> list[str]:
    page = await world.store.list_tasks(TaskQuery(), 1000, None)
    return sorted(task.task_id for task in page.items)


async def left_to_sweep(store: Store) -> int:
    return await store.sweep_unsealed(1)


async def run_with(world: World, policy: RetentionPolicy) -> None:
    """Another engine, with this policy."""
    await world.engine.drain(5)
    world.engine = Engine(world.store, world.driver, COMMANDS, PlainVault(), world.clock, LIMITS, retention=policy)
    await world.engine.start()


class Died(Exception):
    """A spool that can't be read any further."""


class Torn:
    """Device ids of which the last can't be read."""

    def __len__(self) -> int:
        return CREATE_CHUNK + 1

    def __getitem__(self, part: slice) -> list[str]:
        start, stop, _ = part.indices(len(self))
        if stop > CREATE_CHUNK:
            raise Died
        return [f"m{number}" for number in range(start, stop)]


async def leave_unsealed(world: World, like: Task, task_id: str) -> None:
    task = NewTask(
        task_id=task_id,
        body_hash=task_id,
        command_id=task_id,
        command_type="READ",
        conflict_group=COMMANDS["READ"].traits.conflict_group,
        command_params=None,
        scheduled_at=like.scheduled_at,
        expires_at=like.expires_at,
        priority=4,
        requested_by=None,
        retry=like.retry,
    )
    torn: Any = Torn()
    with pytest.raises(Died):
        await world.store.create_task(task, torn, allow_unknown=True)


async def test_old_ended_tasks_go_and_the_others_stay(world: World) -> None:
    await run_with(world, QUICK)
    for number in range(5):
        await world.submit(f"old-{number}", names(60))
        await world.final(f"old-{number}")
    await world.submit("open", names(3), due_in=40 * DAY, expires_in=50 * DAY)
    world.clock.advance(20 * DAY)
    await world.submit("young", names(3))
    await world.final("young")
    assert world.engine.stats.tasks_retired == 0
    world.clock.advance(10 * DAY + 1)

    async def gone() -> bool:
        return await kept(world) == ["open", "young"] and world.engine.stats.rows_swept >= 5 * 60

    await until(gone)
    assert world.engine.stats.tasks_retired == 5
    with pytest.raises(NotFound):
        await world.store.get_task("old-0")
    # The engine did not mind.
    await world.submit("new", names(60))
    assert (await world.final("new")).counts.success == 60


async def test_without_a_policy_only_dead_creations_go(world: World) -> None:
    await run_with(world, msgspec.structs.replace(QUICK, keep_days=None, rows_a_step=5000))
    await world.submit("ended", names(3))
    task = await world.final("ended")
    world.clock.advance(10_000 * DAY)
    await leave_unsealed(world, task, "torn")

    async def swept() -> bool:
        return world.engine.stats.rows_swept > 0 and await left_to_sweep(world.store) == 0

    await until(swept)
    assert world.engine.stats.tasks_retired == 0
    assert await kept(world) == ["ended"]


async def test_a_running_engine_sweeps_by_default(world: World) -> None:
    await world.submit("ended", names(3))
    task = await world.final("ended")
    await leave_unsealed(world, task, "torn")
    await world.restart()

    async def swept() -> bool:
        return world.engine.stats.rows_swept > 0

    await until(swept)


async def test_it_goes_little_by_little_and_retires_nothing_while_there_is_something_to_sweep(world: World) -> None:
    for number in range(4):
        await world.submit(f"t{number}", names(120))
        await world.final(f"t{number}")
    await world.engine.drain(5)
    world.clock.advance(31 * DAY)
    stats = EngineStats()
    retention = Retention(world.store, stats, world.clock, QUICK)
    retired, swept = [], []
    while True:
        before = stats.tasks_retired, stats.rows_swept
        more = await retention.step()
        if not more:
            break
        retired.append(stats.tasks_retired - before[0])
        swept.append(stats.rows_swept - before[1])
    assert max(retired) == QUICK.tasks_a_step
    assert max(swept) <= 2 * QUICK.rows_a_step
    assert all(not both for both in (a and b for a, b in zip(retired, swept, strict=True)))
    assert sum(retired) == 4
    assert sum(swept) >= 4 * 120
    assert await left_to_sweep(world.store) == 0


class Faulty:
    """A store whose sweeps fail at first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.failures = 3

    async def sweep_unsealed(self, limit: int) -> int:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        return await self._store.sweep_unsealed(limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_store_that_is_away_is_asked_again(world: World) -> None:
    await world.submit("t", names(3))
    await world.final("t")
    world.clock.advance(31 * DAY)
    faulty: Any = Faulty(world.store)
    stats = EngineStats()
    running = asyncio.create_task(Retention(faulty, stats, world.clock, QUICK).run())

    async def gone() -> bool:
        return stats.rows_swept >= 3

    await until(gone)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert faulty.failures == 0


def test_ages_that_no_calendar_has() -> None:
    now = datetime(2026, 5, 8, tzinfo=UTC)
    assert RetentionPolicy().ended_before(now) is None
    assert RetentionPolicy(keep_days=1e9).ended_before(now) == datetime.min.replace(tzinfo=UTC)
    assert RetentionPolicy(keep_days=0).ended_before(now) == now
