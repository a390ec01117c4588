"""Cancel, pause and resume while sessions are in flight."""

from collections.abc import Awaitable, Callable

import pytest
from tests.engine.harness import Gate, Visit, World, fails, names

from metercast.domain.outcome import Outcome, Phase
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import TaskOutcome
from metercast.domain.words import ErrorWord

Act = Callable[[World], Awaitable[None]]


async def cancel(world: World) -> None:
    await world.store.cancel_task("task")
    world.engine.changed("task")


async def pause(world: World) -> None:
    await world.store.pause_task("task")
    world.engine.changed("task")


async def resume(world: World) -> None:
    await world.store.resume_task("task")
    world.engine.changed("task")


async def expire(world: World) -> None:
    world.clock.advance(20)


async def until_known(world: World) -> None:
    """Until the worker has read anew what the task is: a later task of the same worker is over."""
    await world.submit("probe", ["probe"])
    await world.final("probe")


async def test_cancel_leaves_the_sessions_in_flight_to_end_by_themselves(world: World) -> None:
    good, bad = Gate(), Gate(fails(ErrorWord.TIMEOUT))
    world.driver.scripts |= {"READ good": good, "READ bad": bad}
    for each in names(40):
        world.driver.scripts[f"READ {each}"] = good
    await world.submit("task", ["good", "bad", *names(40)])
    await world.driver.reached(20)
    await cancel(world)
    assert (await world.store.get_task("task")).status is TaskStatus.CANCELLED
    assert (await world.store.get_task("task")).outcome is None
    good.open()
    bad.open()
    task = await world.final("task")
    assert task.outcome is TaskOutcome.CANCELLED
    assert (task.counts.success, task.counts.failed, task.counts.cancelled) == (19, 1, 22)
    row = await world.device("task", "bad")
    assert (row.error, row.attempts) == (ErrorWord.TIMEOUT, 1)
    assert len(world.driver.of("READ")) == 20, "something was resent"


async def test_a_cancelled_guess_is_told_as_a_guess(world: World) -> None:
    gate = Gate(fails(ErrorWord.TIMEOUT, Phase.CHANGING))
    world.driver.scripts["WRITE"] = gate
    await world.submit("task", ["meter"], command="WRITE")
    await world.driver.reached(1)
    await cancel(world)
    gate.open()
    await world.final("task")
    row = await world.device("task", "meter")
    assert (row.command_status, row.error, row.attempts) == (DeviceStatus.FAILED, ErrorWord.OUTCOME_UNKNOWN, 1)


@pytest.mark.parametrize(
    ("act", "ends_as"),
    [(cancel, DeviceStatus.CANCELLED), (pause, DeviceStatus.PENDING), (expire, DeviceStatus.FAILED)],
)
async def test_a_change_is_not_begun_after_cancel_pause_or_expiry(
    world: World, act: Act, ends_as: DeviceStatus
) -> None:
    changed: list[str] = []

    async def change(visit: Visit) -> Outcome:
        visit.checkpoint.may_change()
        changed.append(visit.device_id)
        return Outcome.done()

    gate = Gate(change)
    world.driver.scripts["WRITE"] = gate
    await world.submit("task", ["meter"], command="WRITE", expires_in=10)
    await world.driver.reached(1)
    await act(world)
    await until_known(world)
    gate.open()
    row = await world.when("task", "meter", lambda row: row.command_status is not DeviceStatus.SENT)
    if act is not pause:
        await world.final("task")
        row = await world.device("task", "meter")
    assert (row.command_status, row.attempts, changed) == (ends_as, 0, [])
    if act is expire:
        assert row.error is ErrorWord.EXPIRED


async def test_pause_starts_nothing_new_and_resume_goes_on(world: World) -> None:
    gate = Gate()
    world.driver.scripts["READ"] = gate
    await world.submit("task", names(100))
    await world.driver.reached(20)
    await pause(world)
    world.driver.scripts["READ probe"] = fails(ErrorWord.HARDWARE_FAULT)
    gate.open()
    await world.driver.until(lambda: world.driver.in_session == 0)
    await until_known(world)
    paused = await world.store.get_task("task")
    assert (paused.status, paused.counts.success, paused.counts.pending) == (TaskStatus.PAUSED, 20, 80)
    await resume(world)
    assert (await world.final("task")).counts.success == 100


async def test_pause_and_resume_while_a_session_is_in_flight_forgets_nobody(world: World) -> None:
    slow = Gate()
    world.driver.scripts["READ slow"] = slow
    meters = names(60)
    await world.submit("task", ["slow", *meters], bucket_size=200)
    await world.driver.reached(1)
    for _ in range(10):
        await pause(world)
        await resume(world)
    for each in meters:  # with `slow` still in its session
        await world.when("task", each, lambda row: row.command_status is DeviceStatus.SUCCESS)
    slow.open()
    assert (await world.final("task")).counts.success == 61
    assert {row.attempts for row in await world.devices("task")} == {1}


async def test_a_session_that_sent_nothing_is_given_back_on_pause_as_if_it_had_never_been(world: World) -> None:
    async def connects_slowly(visit: Visit) -> Outcome:
        if visit.number == 1:
            await connecting._open.wait()
        visit.send()
        return Outcome.done()

    connecting = Gate()
    world.driver.scripts["READ meter"] = connects_slowly
    await world.submit("task", ["meter"])
    await world.driver.reached(1)
    await pause(world)
    await until_known(world)
    connecting.open()
    row = await world.when("task", "meter", lambda row: row.command_status is DeviceStatus.PENDING)
    assert (row.attempts, row.error) == (0, None)
    await resume(world)
    await world.final("task")
    assert (await world.device("task", "meter")).attempts == 1


async def test_a_task_paused_before_its_time_goes_back_to_where_it_belongs(world: World) -> None:
    await world.submit("task", names(2), due_in=60)
    await pause(world)
    world.clock.advance(10)
    await resume(world)
    assert (await world.store.get_task("task")).status is TaskStatus.QUEUED
    await pause(world)
    world.clock.advance(60)
    await until_known(world)
    assert (await world.store.get_task("task")).status is TaskStatus.PAUSED
    await resume(world)
    assert (await world.final("task")).counts.success == 2
