"""A lease that is lost under the worker: it writes nothing, and what it saw late may correct a guess."""

import asyncio

from tests.engine.harness import LIMITS, Gate, Visit, World, at_once, fails

from metercast.domain.outcome import Outcome
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import TaskOutcome
from metercast.domain.words import ErrorWord
from metercast.store.attempts import LeasedBucket, Result


async def steal(world: World, task_id: str) -> LeasedBucket:
    """Another owner takes the task's bucket after its lease ran out."""
    world.clock.advance(LIMITS.lease_seconds + 1)
    (due,) = [each for each in await world.store.due_buckets(100) if each.task_id == task_id]
    leased = await world.store.lease_bucket(due.bucket_id, "thief", 3600)
    assert leased is not None
    return leased


async def decide(world: World, stolen: LeasedBucket, error: ErrorWord) -> None:
    """The thief can't know how the sessions of the dead lease ended."""
    results = [
        Result(each.position, each.device_id, each.tries, DeviceStatus.FAILED, each.used, error=error)
        for each in stolen.devices
        if each.status is DeviceStatus.SENT
    ]
    await world.store.record_results(stolen.lease, results)
    await world.store.finalise_ended()


async def test_a_late_success_corrects_a_guess(world: World) -> None:
    gate = Gate()
    world.driver.scripts["ONCE"] = gate
    await world.submit("task", ["meter"], command="ONCE")
    await world.driver.reached(1)
    await decide(world, await steal(world, "task"), ErrorWord.OUTCOME_UNKNOWN)
    assert (await world.store.get_task("task")).status is TaskStatus.FAILED
    gate.open()
    await world.when("task", "meter", lambda row: row.command_status is DeviceStatus.SUCCESS)
    task = await world.final("task")
    assert (task.status, task.outcome, task.counts.success) == (TaskStatus.COMPLETED, TaskOutcome.SUCCEEDED, 1)
    assert world.engine.stats.leases_lost >= 1
    detail = await world.store.get_device_command("task", "meter")
    assert [(each.attempt, each.late) for each in detail.attempts_made] == [(1, False), (1, True)]


async def test_a_late_failure_and_a_decision_that_was_no_guess_change_nothing(world: World) -> None:
    good, bad = Gate(), Gate(fails(ErrorWord.HARDWARE_FAULT))
    world.driver.scripts |= {"WRITE good": good, "READ bad": bad}
    await world.submit("sure", ["good"], command="WRITE")
    await world.submit("guess", ["bad"])
    await world.driver.reached(2)
    stolen = await steal(world, "sure")
    (due,) = [each for each in await world.store.due_buckets(100) if each.task_id == "guess"]
    other = await world.store.lease_bucket(due.bucket_id, "thief", 3600)
    assert other is not None
    await decide(world, stolen, ErrorWord.VERIFICATION_FAILED)
    await decide(world, other, ErrorWord.TIMEOUT)
    good.open()
    bad.open()
    while world.engine.stats.late_results < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert (await world.device("sure", "good")).error is ErrorWord.VERIFICATION_FAILED
    assert (await world.device("guess", "bad")).error is ErrorWord.TIMEOUT


async def test_a_session_of_a_lost_lease_sends_no_more(world: World) -> None:
    told = asyncio.Event()
    go_on = asyncio.Event()
    after: list[str] = []

    async def two_steps(visit: Visit) -> Outcome:
        visit.send()
        await go_on.wait()
        told.set()
        visit.checkpoint.may_send()
        after.append(visit.device_id)
        return Outcome.done()

    world.driver.scripts["READ"] = two_steps
    await world.submit("task", ["meter"])
    await world.driver.reached(1)
    stolen = await steal(world, "task")
    world.engine.changed("task")  # the renewal that finds the lease lost
    while world.engine.stats.leases_lost == 0:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    go_on.set()
    await told.wait()
    await world.driver.until(lambda: world.driver.in_session == 0)
    assert after == []
    # The worker has written nothing: the thief still finds the attempt as it was.
    await decide(world, stolen, ErrorWord.OUTCOME_UNKNOWN)
    assert (await world.final("task")).counts.failed == 1


async def test_nothing_more_of_a_lost_bucket_is_begun(world: World) -> None:
    gate = Gate()
    world.driver.scripts["READ"] = gate
    meters = [f"meter-{number}" for number in range(40)]
    await world.submit("task", meters)
    await world.driver.reached(20)
    await steal(world, "task")
    gate.open()
    await world.driver.until(lambda: world.driver.in_session == 0)
    await world.submit("probe", ["probe"])
    await world.final("probe")
    assert len(world.driver.of("READ")) == 21
    assert await world.with_status("task", DeviceStatus.PENDING) == 20


async def test_what_was_seen_under_a_lease_that_ran_out_is_recorded_where_nobody_took_the_bucket(
    world: World,
) -> None:
    """A machine that slept, or a store that was away for longer than a lease."""
    gate = Gate()
    world.driver.scripts["ONCE"] = gate
    await world.submit("task", ["meter"], command="ONCE")
    await world.driver.reached(1)
    world.clock.advance(LIMITS.lease_seconds + 1)
    gate.open()
    assert (await world.final("task")).counts.success == 1
    assert len(world.driver.visits) == 1


async def test_no_second_session_on_a_meter_whose_lock_died_with_its_lease(world: World) -> None:
    gate = Gate()
    world.driver.scripts["WRITE"] = gate
    await world.register(["meter"], "gateway", 2)
    await world.submit("first", ["meter"], command="WRITE")
    await world.driver.reached(1)
    world.clock.advance(LIMITS.lease_seconds + 1)
    await world.submit("second", ["meter"], command="READ")
    await world.submit("probe", ["probe"])
    await world.final("probe")
    assert not world.driver.of("READ", "meter")
    gate.open()
    await world.final("first")
    await world.final("second")
    assert world.driver.overlaps == []


async def test_leases_are_renewed_while_sessions_last(world: World) -> None:
    gate = Gate(at_once)
    world.driver.scripts["READ meter"] = gate
    await world.submit("task", ["meter"])
    await world.driver.reached(1)
    for number in range(4):
        world.clock.advance(LIMITS.lease_seconds * 0.6)
        world.engine.changed("task")
        await world.submit(f"probe-{number}", ["probe"])
        await world.final(f"probe-{number}")
    gate.open()
    assert (await world.final("task")).counts.success == 1
    assert world.engine.stats.leases_lost == 0
