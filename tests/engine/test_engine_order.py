"""One session per meter, the order of commands of one kind, and long commands that leave room."""

import asyncio
from pathlib import Path

import msgspec
from tests.engine.harness import LIMITS, Gate, Visit, World, at_once, fails, names

from metercast.domain.outcome import Outcome, Phase
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus
from metercast.domain.words import ErrorWord


async def test_one_session_per_meter_across_tasks(world: World) -> None:
    async def slowly(visit: Visit) -> Outcome:
        visit.send()
        await asyncio.sleep(0.002)
        return Outcome.done()

    world.driver.scripts |= {"READ": slowly, "WRITE": slowly, "ONCE": slowly}
    meters = names(15)
    tasks = [f"{command}-{number}" for number in range(3) for command in ("READ", "WRITE", "ONCE")]
    for task_id in tasks:
        await world.submit(task_id, meters, command=task_id.partition("-")[0])
    for task_id in tasks:
        assert (await world.final(task_id)).counts.success == 15
    assert len(world.driver.visits) == 15 * 9
    assert world.driver.overlaps == []


async def test_a_meter_in_a_session_is_asked_for_again(world: World) -> None:
    gate = Gate()
    world.driver.scripts["WRITE"] = gate
    await world.submit("first", ["meter"], command="WRITE")
    await world.driver.reached(1)
    await world.submit("second", ["meter", "other"])
    await world.when("second", "other", lambda row: row.command_status is DeviceStatus.SUCCESS)
    assert (await world.device("second", "meter")).command_status is DeviceStatus.PENDING
    gate.open()
    await world.final("second")
    assert world.driver.overlaps == []


async def test_disconnect_and_reconnect_that_are_both_due_run_in_their_order(world: World) -> None:
    meters = names(60)
    await world.submit("off", meters, command="DISCONNECT", due_in=60)
    await world.submit("on", meters, command="RECONNECT", due_in=61)
    world.clock.advance(62)
    assert (await world.final("off")).counts.success == 60
    assert (await world.final("on")).counts.success == 60
    for meter in meters:
        commands = [visit.command for visit in world.driver.visits if visit.device_id == meter]
        assert commands == ["DISCONNECT", "RECONNECT"]


async def test_a_higher_priority_does_not_overtake_within_a_conflict_group(world: World) -> None:
    meters = names(30)
    await world.submit("off", meters, command="DISCONNECT", due_in=60, priority=0)
    await world.submit("on", meters, command="RECONNECT", due_in=61, priority=9)
    world.clock.advance(62)
    await world.final("off")
    await world.final("on")
    for meter in meters:
        assert [v.command for v in world.driver.visits if v.device_id == meter] == ["DISCONNECT", "RECONNECT"]


async def test_a_disconnect_in_backoff_is_superseded_once_the_newer_reconnect_began(world: World) -> None:
    world.driver.scripts["DISCONNECT"] = fails(ErrorWord.UNREACHABLE, Phase.BEFORE_ASSOCIATION)
    await world.submit("off", ["meter"], command="DISCONNECT", retry=RetryPolicy(3, 600.0, 600.0))
    await world.when("off", "meter", lambda row: row.error is ErrorWord.UNREACHABLE)
    await world.submit("on", ["meter"], command="RECONNECT")
    assert (await world.final("on")).counts.success == 1
    await world.final("off")
    row = await world.device("off", "meter")
    assert (row.command_status, row.error) == (DeviceStatus.FAILED, ErrorWord.SUPERSEDED)
    world.clock.advance(3600)
    await world.submit("probe", ["probe"])
    await world.final("probe")
    assert [visit.command for visit in world.driver.visits if visit.device_id == "meter"] == [
        "DISCONNECT",
        "RECONNECT",
    ]


async def test_a_disconnect_whose_session_fails_after_the_reconnect_was_submitted_is_not_repeated_behind_it(
    world: World,
) -> None:
    gate = Gate(fails(ErrorWord.TIMEOUT, Phase.CHANGING))
    world.driver.scripts["DISCONNECT"] = gate
    await world.submit("off", ["meter"], command="DISCONNECT", retry=RetryPolicy(5, 0.2, 0.2))
    await world.driver.reached(1)
    await world.submit("on", ["meter"], command="RECONNECT")
    gate.open()
    await world.final("on")
    await world.final("off")
    commands = [visit.command for visit in world.driver.visits]
    assert commands[-1] == "RECONNECT"


async def test_a_command_that_is_not_superseded_waits_for_the_older_one_in_backoff(world: World) -> None:
    async def second_time(visit: Visit) -> Outcome:
        visit.send()
        if visit.number == 1:
            return Outcome.failed(ErrorWord.TEMPORARY_FAILURE, "not now", Phase.READING)
        return Outcome.done()

    world.driver.scripts["SYNC"] = second_time
    await world.submit("older", ["meter"], command="SYNC", retry=RetryPolicy(3, 0.3, 0.3))
    await world.driver.reached(1)
    world.driver.scripts["SYNC"] = at_once
    await world.submit("newer", ["meter"], command="SYNC")
    await world.final("newer")
    older, newer = await world.device("older", "meter"), await world.device("newer", "meter")
    assert (older.command_status, older.attempts) == (DeviceStatus.SUCCESS, 2)
    assert older.last_updated < newer.last_updated


async def test_buckets_that_only_wait_for_older_commands_do_not_lock_these_out(tmp_path: Path) -> None:
    """The worker holds fewer buckets than the newer task has, and the older one's come back from their backoff."""
    world = await World.open(tmp_path, msgspec.structs.replace(LIMITS, buckets=3, hold_seconds=60.0))
    await world.engine.start()
    meters = names(12)
    world.driver.scripts["SYNC"] = fails(ErrorWord.TEMPORARY_FAILURE)
    await world.submit("older", meters, command="SYNC", bucket_size=1, retry=RetryPolicy(9, 0.5, 0.5))
    await world.driver.reached(12)
    world.driver.scripts["SYNC"] = at_once
    await world.submit("newer", meters, command="SYNC", bucket_size=1)
    assert (await world.final("older")).counts.success == 12
    assert (await world.final("newer")).counts.success == 12
    await world.close()


async def test_a_long_command_goes_on_where_its_last_session_ended(world: World) -> None:
    seen: list[object] = []

    async def upload(visit: Visit) -> Outcome:
        visit.send()
        seen.append(visit.checkpoint.progress)
        return Outcome.checkpoint({"block": visit.number}) if visit.number < 4 else Outcome.done()

    world.driver.scripts["UPLOAD"] = upload
    await world.submit("task", ["meter"], command="UPLOAD", retry=RetryPolicy(1, 0.01, 0.01))
    task = await world.final("task")
    assert task.counts.success == 1
    assert seen == [None, {"block": 1}, {"block": 2}, {"block": 3}]


async def test_a_disconnect_gets_in_between_the_sessions_of_a_long_command(world: World) -> None:
    may_end = asyncio.Event()

    async def upload(visit: Visit) -> Outcome:
        visit.send()
        if may_end.is_set():
            return Outcome.done()
        await asyncio.sleep(0.01)
        return Outcome.checkpoint({"block": visit.number})

    world.driver.scripts["UPLOAD"] = upload
    await world.submit("upload", ["meter"], command="UPLOAD")
    await world.driver.reached(1)
    await world.submit("off", ["meter"], command="DISCONNECT")
    await world.driver.until(lambda: len(world.driver.of("DISCONNECT")) == 1)
    assert len(world.driver.of("UPLOAD")) <= 4, "it had to wait for its luck"
    assert (await world.final("off")).counts.success == 1
    assert (await world.device("upload", "meter")).command_status in (DeviceStatus.PENDING, DeviceStatus.SENT)
    may_end.set()
    assert (await world.final("upload")).counts.success == 1
    assert world.driver.overlaps == []
