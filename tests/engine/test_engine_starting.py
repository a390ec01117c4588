"""What is due starts, what is not due waits, and what can't start ends with a word."""

import asyncio

from tests.engine.harness import Gate, World, fails, names

from metercast.domain.outcome import Outcome
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import TaskOutcome
from metercast.domain.words import ErrorWord
from metercast.store.devices import MeterWrite


async def test_a_due_task_runs_on_every_device(world: World) -> None:
    await world.submit("task", names(120))
    task = await world.final("task")
    assert (task.status, task.outcome, task.counts.success) == (TaskStatus.COMPLETED, TaskOutcome.SUCCEEDED, 120)
    assert sorted(visit.device_id for visit in world.driver.visits) == names(120)
    assert {row.attempts for row in await world.devices("task")} == {1}


async def test_a_task_of_the_future_starts_when_the_clock_passes_its_time(world: World) -> None:
    await world.submit("later", names(3), due_in=3600)
    await world.submit("now", ["other"])
    await world.final("now")
    assert (await world.store.get_task("later")).status is TaskStatus.QUEUED
    assert [visit.device_id for visit in world.driver.visits] == ["other"]
    world.clock.advance(3599)
    await world.submit("still-before", ["another"])
    await world.final("still-before")
    assert len(world.driver.visits) == 2
    world.clock.advance(2)  # nobody wakes the engine: its scheduler looks by itself
    assert (await world.final("later")).outcome is TaskOutcome.SUCCEEDED


async def test_devices_that_are_not_registered_are_refused(world: World) -> None:
    await world.register(["known"])
    await world.submit("task", ["ghost", "known"], register=False)
    task = await world.final("task")
    assert (task.outcome, task.counts.success, task.counts.failed) == (TaskOutcome.PARTIAL, 1, 1)
    ghost = await world.device("task", "ghost")
    assert (ghost.error, ghost.attempts) == (ErrorWord.UNKNOWN_DEVICE, 0)
    assert [visit.device_id for visit in world.driver.visits] == ["known"]


async def test_a_command_type_that_this_server_does_not_know_fails(world: World) -> None:
    await world.submit("task", names(2), command="OF_ANOTHER_VERSION")
    task = await world.final("task")
    assert task.status is TaskStatus.FAILED
    row = await world.device("task", "meter-001")
    assert row.error is ErrorWord.INTERNAL_ERROR
    assert row.error_detail is not None
    assert "OF_ANOTHER_VERSION" in row.error_detail
    assert not world.driver.visits


async def test_parameters_that_no_longer_fit_fail(world: World) -> None:
    await world.submit("task", ["meter"], command_params={"surprise": 1})
    assert (await world.final("task")).status is TaskStatus.FAILED
    assert not world.driver.visits


async def test_a_task_that_expires_before_it_is_due_to_run_fails(world: World) -> None:
    await world.submit("task", names(2), due_in=60, expires_in=120)
    await world.store.pause_task("task")
    world.clock.advance(121)
    task = await world.final("task")
    assert task.status is TaskStatus.FAILED
    assert {row.error for row in await world.devices("task")} == {ErrorWord.EXPIRED}
    assert not world.driver.visits


async def test_expiry_ends_what_waits_for_its_next_attempt(world: World) -> None:
    world.driver.scripts["READ"] = fails(ErrorWord.UNREACHABLE)
    await world.submit("task", ["meter"], expires_in=60, retry=RetryPolicy(3, 600.0, 600.0))
    await world.when("task", "meter", lambda row: row.error is ErrorWord.UNREACHABLE)
    world.clock.advance(61)
    await world.final("task")
    row = await world.device("task", "meter")
    assert (row.error, row.attempts) == (ErrorWord.EXPIRED, 1)
    assert "Unreachable" in (row.error_detail or "")


async def test_a_session_in_flight_at_expiry_ends_by_itself_and_is_not_repeated(world: World) -> None:
    gate, failing = Gate(), Gate(fails(ErrorWord.TIMEOUT))
    world.driver.scripts |= {"READ good": gate, "READ bad": failing}
    await world.submit("task", ["good", "bad"], expires_in=60)
    await world.driver.reached(2)
    world.clock.advance(61)
    await world.submit("probe", ["probe"])
    await world.final("probe")  # the scheduler has passed since
    assert await world.with_status("task", DeviceStatus.SENT) == 2
    gate.open()
    failing.open()
    await world.final("task")
    assert (await world.device("task", "good")).command_status is DeviceStatus.SUCCESS
    bad = await world.device("task", "bad")
    assert (bad.command_status, bad.error, bad.attempts) == (DeviceStatus.FAILED, ErrorWord.TIMEOUT, 1)


async def test_a_driver_that_raises_fails_its_device_only(world: World) -> None:
    async def broken(visit: object) -> object:
        raise RuntimeError("secret detail")

    world.driver.scripts["READ meter-002"] = broken  # type: ignore[assignment]
    await world.submit("task", names(4))
    task = await world.final("task")
    assert (task.counts.success, task.counts.failed) == (3, 1)
    row = await world.device("task", "meter-002")
    assert row.error is ErrorWord.INTERNAL_ERROR
    assert "secret detail" not in (row.error_detail or "")


async def test_a_driver_that_leaks_a_cancellation_or_returns_rubbish_fails_its_device_only(world: World) -> None:
    async def leaks(visit: object) -> object:
        raise asyncio.CancelledError

    async def rubbish(visit: object) -> object:
        return None

    world.driver.scripts |= {"READ meter-001": leaks, "READ meter-002": rubbish}  # type: ignore[dict-item]
    await world.submit("task", names(4))
    task = await world.final("task")
    assert (task.counts.success, task.counts.failed) == (2, 2)
    assert (await world.device("task", "meter-001")).error is ErrorWord.INTERNAL_ERROR
    assert (await world.device("task", "meter-002")).error is ErrorWord.INTERNAL_ERROR


async def test_a_result_that_can_not_be_stored_fails_its_device_only(world: World) -> None:
    async def unstorable(visit: object) -> Outcome:
        return Outcome.done({"value": object()})

    world.driver.scripts["READ meter-003"] = unstorable
    await world.submit("task", names(10))
    task = await world.final("task")
    assert (task.counts.success, task.counts.failed) == (9, 1)
    assert (await world.device("task", "meter-003")).error is ErrorWord.INTERNAL_ERROR


async def test_secrets_that_can_not_be_opened_are_told(world: World) -> None:
    await world.register(["good"])
    await world.store.put_devices([MeterWrite("broken", b"{}", None, "broken", 1)])
    await world.submit("task", ["broken", "good"], register=False)
    task = await world.final("task")
    assert (task.counts.success, task.counts.failed) == (1, 1)
    assert (await world.device("task", "broken")).error is ErrorWord.CREDENTIALS_MISSING
