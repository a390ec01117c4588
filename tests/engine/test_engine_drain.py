"""The end of a process, in order or in a hurry, and what the next start makes of it."""

import asyncio

import pytest
from tests.engine.harness import Gate, Visit, World, at_once, names

from metercast.domain.outcome import Outcome
from metercast.domain.states import DeviceStatus
from metercast.domain.words import ErrorWord

FOREVER = Gate()


async def test_drain_waits_for_sessions_and_begins_nothing_more(world: World) -> None:
    gate = Gate()
    world.driver.scripts["READ"] = gate
    await world.submit("task", names(80))
    await world.driver.reached(20)
    draining = asyncio.create_task(world.engine.drain(30))
    await asyncio.sleep(0.05)
    assert not draining.done()
    gate.open()
    assert await draining is True
    assert world.driver.closed
    assert len(world.driver.visits) == 20
    assert await world.with_status("task", DeviceStatus.SUCCESS) == 20
    assert await world.with_status("task", DeviceStatus.PENDING) == 60
    await world.restart()
    assert (await world.final("task")).counts.success == 80


async def test_drain_gives_back_what_sent_no_byte(world: World) -> None:
    connected = asyncio.Event()

    async def connects_slowly(visit: Visit) -> Outcome:
        await connected.wait()
        visit.send()
        return Outcome.done()

    world.driver.scripts["READ"] = connects_slowly
    await world.submit("task", names(5))
    await world.driver.reached(5)
    draining = asyncio.create_task(world.engine.drain(30))
    await asyncio.sleep(0)
    connected.set()
    assert await draining is True
    rows = await world.devices("task")
    assert {(row.command_status, row.attempts, row.error) for row in rows} == {(DeviceStatus.PENDING, 0, None)}


async def test_drain_of_an_idle_engine_ends_at_once_and_twice_is_fine(world: World) -> None:
    assert await world.engine.drain(30) is True
    assert not world.engine.running
    assert await world.engine.drain(30) is True


@pytest.mark.parametrize(
    ("command", "visits", "verified", "error"),
    [
        ("READ", 2, [False, False], None),
        ("WRITE", 2, [False, True], None),
        ("ONCE", 1, [False], ErrorWord.OUTCOME_UNKNOWN),
    ],
)
async def test_what_is_cancelled_after_the_grace_time_is_recovered_by_type(
    world: World, command: str, visits: int, verified: list[bool], error: ErrorWord | None
) -> None:
    world.driver.scripts[command] = Gate()  # for ever
    await world.submit("task", ["meter"], command=command)
    await world.driver.reached(1)
    assert await world.engine.drain(0.05) is False
    assert (await world.device("task", "meter")).command_status is DeviceStatus.SENT
    world.driver.scripts[command] = at_once
    await world.restart()
    await world.final("task")
    row = await world.device("task", "meter")
    assert row.error == error
    assert [visit.checkpoint.verify_first for visit in world.driver.visits] == verified
    assert len(world.driver.visits) == visits
    assert world.driver.overlaps == []


async def test_results_that_were_seen_when_the_grace_time_ends_are_recorded(world: World) -> None:
    world.driver.scripts["ONCE slow"] = Gate()
    ended = asyncio.Event()

    async def ends_late(visit: Visit) -> Outcome:
        visit.send()
        await ended.wait()
        return Outcome.done()

    world.driver.scripts["ONCE late"] = ends_late
    await world.submit("task", ["slow", "late"], command="ONCE")
    await world.driver.reached(2)
    asyncio.get_running_loop().call_later(0.05, ended.set)
    assert await world.engine.drain(0.051) is False
    await world.restart()
    await world.final("task")
    assert (await world.device("task", "late")).command_status is DeviceStatus.SUCCESS
    assert (await world.device("task", "slow")).error is ErrorWord.OUTCOME_UNKNOWN


async def test_a_start_takes_over_what_an_earlier_process_left_leased(world: World) -> None:
    gate = Gate()
    world.driver.scripts["READ"] = gate
    await world.submit("task", names(70))
    await world.driver.reached(20)
    await world.restart()  # leases of thirty seconds are left behind
    gate.open()
    assert (await world.final("task")).counts.success == 70
    assert world.driver.overlaps == []
