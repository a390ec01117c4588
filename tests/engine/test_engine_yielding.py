"""Long sessions make room where something else waits, and go on afterwards."""

import asyncio
from pathlib import Path

import msgspec
from tests.engine.harness import LIMITS, Visit, World, names

from metercast.domain.outcome import How, Outcome
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.words import ErrorWord

SESSIONS = 20


async def until_asked(visit: Visit) -> Outcome:
    """Works for ever, until it is asked to make room; the third session ends."""
    visit.send()
    visit.checkpoint.may_change()
    if visit.number == 3:
        return Outcome.done()
    while not visit.checkpoint.should_yield:  # noqa: ASYNC110 (as an upload asks at each block)
        await asyncio.sleep(0.002)
    return Outcome.checkpoint({"sessions": visit.number}, may_be_left=True)


async def test_another_command_for_the_meter_runs_between_two_sessions(world: World) -> None:
    world.driver.scripts["UPLOAD"] = until_asked
    await world.submit("upload", ["meter"], "UPLOAD")
    for number in (1, 2):
        await world.driver.until(lambda number=number: len(world.driver.of("UPLOAD")) == number)  # type: ignore[misc]
        await world.submit(f"relay-{number}", ["meter"], "DISCONNECT")
        await world.final(f"relay-{number}")
        assert len(world.driver.of("DISCONNECT")) == number
    task = await world.final("upload")
    assert task.counts.success == 1
    order = [visit.command for visit in world.driver.visits]
    assert order == ["UPLOAD", "DISCONNECT", "UPLOAD", "DISCONNECT", "UPLOAD"]
    assert world.driver.overlaps == []
    device = await world.device("upload", "meter")
    assert (device.how, device.attempts) == (How.DONE, 3)
    assert [attempt.error for attempt in device.attempts_made] == [None]


async def test_a_command_of_the_same_kind_waits_for_the_end(world: World) -> None:
    world.driver.scripts["UPLOAD"] = until_asked
    await world.submit("first", ["meter"], "UPLOAD")
    await world.driver.reached(1)
    await world.submit("second", ["meter"], "UPLOAD")
    await asyncio.sleep(10 * LIMITS.order_retry_seconds)
    assert len(world.driver.visits) == 1
    await world.store.cancel_task("first")
    world.engine.changed("first")
    await world.final("first")


async def test_an_upload_that_is_cancelled_or_expires_leaves_the_meter_as_it_is(world: World) -> None:
    world.driver.scripts["UPLOAD"] = until_asked
    await world.submit("cancelled", ["one"], "UPLOAD")
    await world.submit("expired", ["two"], "UPLOAD", expires_in=100.0)
    await world.driver.reached(2)
    await world.store.cancel_task("cancelled")
    world.engine.changed("cancelled")
    cancelled = await world.final("cancelled")
    assert cancelled.counts.cancelled == 1
    world.clock.advance(101.0)
    expired = await world.final("expired")
    assert expired.status is TaskStatus.FAILED
    assert (await world.device("expired", "two")).error is ErrorWord.EXPIRED


async def test_what_may_not_be_left_is_open_when_the_task_is_over(world: World) -> None:
    async def activates(visit: Visit) -> Outcome:
        visit.send()
        while not visit.checkpoint.should_yield:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        return Outcome.checkpoint({"stage": "activation"})

    world.driver.scripts["UPLOAD"] = activates
    await world.submit("task", ["meter"], "UPLOAD")
    await world.driver.reached(1)
    await world.store.cancel_task("task")
    world.engine.changed("task")
    await world.final("task")
    assert (await world.device("task", "meter")).error is ErrorWord.OUTCOME_UNKNOWN


async def test_a_paused_upload_ends_its_session_and_goes_on_when_resumed(world: World) -> None:
    world.driver.scripts["UPLOAD"] = until_asked
    await world.submit("task", ["meter"], "UPLOAD")
    await world.driver.reached(1)
    await world.store.pause_task("task")
    world.engine.changed("task")
    await world.when("task", "meter", lambda device: device.command_status is DeviceStatus.PENDING)
    await world.store.resume_task("task")
    world.engine.changed("task")
    await world.driver.reached(2)
    await world.submit("read", ["meter"])
    await world.final("task")


async def test_short_commands_get_a_slot_where_uploads_have_all(world: World) -> None:
    world.driver.scripts["UPLOAD"] = until_asked
    await world.submit("uploads", names(SESSIONS), "UPLOAD")
    await world.driver.until(lambda: world.driver.in_session == SESSIONS)
    await world.submit("reads", names(5, "other"))
    await world.final("reads")
    assert world.driver.most == SESSIONS
    assert len(world.driver.of("UPLOAD")) < 2 * SESSIONS  # not all of them had to make room


async def test_meters_behind_one_gateway_take_turns_with_an_upload(world: World) -> None:
    await world.register(["one", "two"], "gateway", 1)
    world.driver.scripts["UPLOAD"] = until_asked
    await world.submit("upload", ["one"], "UPLOAD")
    await world.driver.reached(1)
    await world.submit("read", ["two"])
    await world.final("read")
    assert world.driver.most_in_channel["gateway"] == 1
    await world.driver.until(lambda: len(world.driver.of("UPLOAD")) == 2)
    await world.submit("again", ["two"])
    await world.final("again")
    await world.final("upload")


async def test_a_session_has_its_time(tmp_path: Path) -> None:
    limits = msgspec.structs.replace(LIMITS, slice_seconds=0.05)
    world = await World.open(tmp_path, limits)
    await world.engine.start()
    try:
        world.driver.scripts["UPLOAD"] = until_asked
        await world.submit("task", ["meter"], "UPLOAD")
        task = await world.final("task")
        assert (task.counts.success, len(world.driver.visits)) == (1, 3)
    finally:
        await world.close()


async def test_a_checkpoint_waits_as_long_as_it_says(world: World) -> None:
    async def reboots(visit: Visit) -> Outcome:
        visit.send()
        if visit.number == 1:
            return Outcome.checkpoint({}, delay_seconds=30.0)
        return Outcome.done()

    world.driver.scripts["UPLOAD"] = reboots
    await world.submit("task", ["meter"], "UPLOAD")
    waits = await world.when("task", "meter", lambda device: device.next_attempt_at is not None)
    assert waits.next_attempt_at is not None
    assert 25 < (waits.next_attempt_at - world.clock()).total_seconds() <= 30
    assert waits.error is None
    world.clock.advance(31.0)
    world.engine.wake()
    await world.final("task")
