"""A task that left something to its meters is followed up by another: once, wherever it was cut."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.engine.harness import COMMANDS, FAST, NoParameters, Visit, World, command_type, fails, names

from metercast.commands.contract import CommandType, FollowUp
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.states import TaskStatus
from metercast.domain.task import Task
from metercast.domain.words import ErrorWord
from metercast.engine.follow_ups import FollowUps, follow_up_id
from metercast.engine.stats import EngineStats
from metercast.store.errors import StoreUnavailable
from metercast.store.tasks import TaskQuery

DUE = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


async def scheduled(visit: Visit) -> Outcome:
    visit.send()
    return Outcome.scheduled() if visit.device_id < "meter-004" else Outcome.done()


def armed() -> CommandType:
    """As WRITE, and READ follows it up."""
    write = command_type("WRITE", Resend.VERIFY)
    return CommandType(
        traits=write.traits,
        parameters=NoParameters,
        perform=write.perform,
        follow_up=lambda parameters: FollowUp(DUE, "READ", {}),
    )


class Cut:
    """A store that is cut before or after its call of this number."""

    def __init__(self, store: Any, number: int, *, after: bool) -> None:
        self._store = store
        self._number = number
        self._after = after
        self.calls = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            is_cut = self.calls == self._number
            if is_cut and not self._after:
                raise StoreUnavailable("cut")
            answer = await getattr(self._store, name)(*arguments, **options)
            if is_cut:
                raise StoreUnavailable("cut")
            return answer

        return call


def follow_ups(world: World, store: Any = None) -> FollowUps:
    commands = COMMANDS | {"WRITE": armed()}
    return FollowUps(store or world.store, commands, EngineStats(), world.clock, world.engine.wake, 0.01)


async def parent(world: World, count: int = 6, **changes: Any) -> None:
    world.driver.scripts["WRITE"] = scheduled
    due = {"follow_up_at": world.clock() + timedelta(hours=1)}
    await world.submit("parent", names(count), command="WRITE", **due | changes)


async def children(world: World) -> list[Task]:
    tasks = (await world.store.list_tasks(TaskQuery(command_type="READ"), 100, None)).items
    return [each for each in tasks if each.parent_task_id == "parent"]


async def test_it_is_made_when_it_is_due_of_what_is_scheduled(world: World) -> None:
    await parent(world, priority=7, requested_by="billing")
    await world.final("parent")
    assert not await follow_ups(world).step()
    assert await children(world) == []
    world.clock.advance(3601)
    await follow_ups(world).step()
    task = await world.final(follow_up_id("parent"))
    assert (task.parent_task_id, task.command_id, task.command_type) == ("parent", "parent", "READ")
    assert (task.priority, task.requested_by, task.retry) == (7, "billing", FAST)
    assert task.counts.success == 3
    assert [each.device_id for each in await world.devices(task.task_id)] == names(3)
    found = await world.store.get_task("parent")
    assert found.follow_up_task_id == task.task_id
    await follow_ups(world).step()
    assert len(await children(world)) == 1


async def test_the_engine_makes_it_by_itself(world: World) -> None:
    await parent(world, follow_up_at=world.clock())
    await world.final("parent")
    loop = asyncio.create_task(follow_ups(world).run())
    async with asyncio.timeout(20):
        while not await children(world):  # noqa: ASYNC110 (as a client would)
            await asyncio.sleep(0.01)
    assert (await world.final(follow_up_id("parent"))).counts.success == 3
    loop.cancel()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 6))
async def test_wherever_it_is_cut_it_is_made_once(world: World, number: int, after: bool) -> None:
    await parent(world, follow_up_at=world.clock())
    await world.final("parent")
    cut = Cut(world.store, number, after=after)
    for _ in range(3):
        try:
            await follow_ups(world, cut).step()
        except StoreUnavailable:
            continue
    assert cut.calls >= number, "nothing was cut"
    (task,) = await children(world)
    assert (await world.final(task.task_id)).counts.total == 3
    assert (await world.store.get_task("parent")).follow_up_task_id == task.task_id


async def test_two_that_make_it_at_once_make_one(world: World) -> None:
    await parent(world, follow_up_at=world.clock())
    await world.final("parent")
    await asyncio.gather(*(follow_ups(world).step() for _ in range(5)), return_exceptions=True)
    await follow_ups(world).step()
    assert len(await children(world)) == 1


async def test_nothing_scheduled_is_nothing_to_follow_up(world: World) -> None:
    world.driver.scripts["WRITE"] = fails(ErrorWord.READ_WRITE_DENIED)
    await world.submit("parent", names(3), command="WRITE", follow_up_at=world.clock())
    await world.final("parent")
    await follow_ups(world).step()
    assert await children(world) == []
    found = await world.store.get_task("parent")
    assert (found.follow_up_at, found.follow_up_task_id) == (None, None)


async def test_a_cancelled_task_is_followed_up_where_meters_are_armed(world: World) -> None:
    """They will do what they were told, whatever becomes of the task."""
    world.driver.scripts["WRITE"] = scheduled
    world.driver.scripts |= {f"WRITE {each}": fails(ErrorWord.UNREACHABLE) for each in names(6)[3:]}
    await parent(world, follow_up_at=world.clock())
    while (await world.store.get_task("parent")).counts.success < 3:  # noqa: ASYNC110 (as a client would)
        await asyncio.sleep(0.01)
    await world.store.cancel_task("parent")
    assert (await world.final("parent")).status is TaskStatus.CANCELLED
    await follow_ups(world).step()
    (task,) = await children(world)
    assert task.counts.total == 3
