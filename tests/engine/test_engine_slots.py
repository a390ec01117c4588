"""How many sessions at a time: in all, per channel, per meter; and that nobody waits for ever."""

import asyncio
from pathlib import Path

import msgspec
from tests.engine.harness import LIMITS, Gate, Visit, World, at_once, names

from metercast.domain.outcome import Outcome
from metercast.domain.states import DeviceStatus
from metercast.engine.limits import WorkerLimits


def limits_of(*, sessions: int, buckets: int) -> WorkerLimits:
    return msgspec.structs.replace(LIMITS, sessions=sessions, buckets=buckets)


async def yielding(visit: Visit) -> Outcome:
    visit.send()
    for _ in range(3):
        await asyncio.sleep(0)
    return Outcome.done()


async def test_the_session_limit_is_reached_and_never_exceeded(world: World) -> None:
    gate = Gate(yielding)
    world.driver.scripts["READ"] = gate
    await world.submit("task", names(200))
    await world.driver.until(lambda: world.driver.in_session == LIMITS.sessions)
    gate.open()
    await world.final("task")
    assert world.driver.most == LIMITS.sessions


async def test_a_gateway_takes_as_many_sessions_as_its_limit(world: World) -> None:
    one, three = names(30, "single"), names(30, "triple")
    await world.register(one, "gw-1", 1)
    await world.register(three, "gw-3", 3)
    world.driver.scripts["READ"] = yielding
    await world.submit("task", [*one, *three, *names(30, "alone")])
    task = await world.final("task")
    assert task.counts.success == 90
    assert world.driver.most_in_channel["gw-1"] == 1
    assert world.driver.most_in_channel["gw-3"] == 3


async def test_a_channel_serves_the_higher_priority_first(world: World) -> None:
    meters = names(12)
    await world.register(meters, "gw")
    gate = Gate()
    world.driver.scripts["READ meter-001"] = gate
    await world.submit("low", meters[:6], priority=1)
    await world.driver.reached(1)
    await world.submit("high", meters[6:], priority=9)
    # Both tasks' devices wait for the gateway before it is free again.
    await world.submit("probe", ["elsewhere"], priority=1)
    await world.final("probe")
    gate.open()
    await world.final("low")
    await world.final("high")
    order = [visit.device_id for visit in world.driver.visits if visit.device_id != "elsewhere"]
    assert order[0] == "meter-001"
    assert sorted(order[1:7]) == meters[6:]


async def test_tasks_of_the_same_priority_take_turns_on_a_channel(world: World) -> None:
    meters = names(20)
    await world.register(meters, "gw")
    gate = Gate()
    world.driver.scripts["READ meter-001"] = gate
    await world.submit("first", meters[:10])
    await world.driver.reached(1)
    await world.submit("second", meters[10:])
    await world.submit("probe", ["elsewhere"])
    await world.final("probe")
    gate.open()
    await world.final("first")
    await world.final("second")
    order = [visit.device_id for visit in world.driver.visits if visit.device_id != "elsewhere"]
    of_second = [index for index, device_id in enumerate(order) if device_id in meters[10:]]
    assert of_second[:3] == [1, 3, 5] or of_second[:3] == [2, 4, 6]


async def test_a_paused_bucket_holds_nobody_up_on_its_channel(world: World) -> None:
    meters = names(12)
    await world.register(meters, "gw")
    gate, slow = Gate(), Gate()
    # The first device keeps the paused task's bucket in the worker's hands; it is on a channel of its own.
    world.driver.scripts |= {"READ slow": slow, "READ meter-001": gate}
    await world.submit("paused", ["slow", *meters[:6]], priority=9)
    await world.driver.reached(2)
    await world.submit("other", meters[6:], priority=1)
    await world.submit("probe", ["elsewhere"], priority=1)
    await world.final("probe")
    await world.store.pause_task("paused")
    world.engine.changed("paused")
    gate.open()
    await world.final("other")
    assert [visit.device_id for visit in world.driver.visits if visit.device_id in meters[1:6]] == []
    await world.store.resume_task("paused")
    world.engine.changed("paused")
    slow.open()
    assert (await world.final("paused")).counts.success == 7


async def test_a_cancelled_bucket_holds_nobody_up_on_its_channel(world: World) -> None:
    meters = names(12)
    await world.register(meters, "gw")
    gate, slow = Gate(), Gate()
    world.driver.scripts |= {"READ slow": slow, "READ meter-001": gate}
    await world.submit("cancelled", ["slow", *meters[:6]], priority=9)
    await world.driver.reached(2)
    await world.submit("other", meters[6:], priority=1)
    await world.store.cancel_task("cancelled")
    world.engine.changed("cancelled")
    gate.open()
    await world.final("other")
    slow.open()
    task = await world.final("cancelled")
    assert (task.counts.success, task.counts.cancelled) == (2, 5)


async def test_a_lost_bucket_holds_nobody_up_on_its_channel(world: World) -> None:
    meters = names(12)
    await world.register(meters, "gw")
    gate = Gate()
    world.driver.scripts["READ meter-001"] = gate
    await world.submit("lost", meters[:6], priority=9)
    await world.driver.reached(1)
    await world.submit("other", meters[6:], priority=1)
    world.clock.advance(LIMITS.lease_seconds + 1)
    (stolen,) = [each for each in await world.store.due_buckets(10) if each.task_id == "lost"]
    assert await world.store.lease_bucket(stolen.bucket_id, "thief", 3600) is not None
    gate.open()
    await world.final("other")
    assert [visit.device_id for visit in world.driver.visits if visit.device_id in meters[1:6]] == []


async def test_more_buckets_than_a_worker_holds_all_on_one_gateway(tmp_path: Path) -> None:
    limits = limits_of(sessions=4, buckets=2)
    world = await World.open(tmp_path, limits)
    await world.engine.start()
    meters = names(30)
    await world.register(meters, "gw")
    gate = Gate()
    world.driver.scripts["READ meter-001"] = gate
    await world.submit("gateway", meters, bucket_size=5)
    await world.driver.reached(1)
    # The gateway is taken for good, and the buckets that wait for it fill the worker; another task gets in.
    await world.submit("alone", names(20, "alone"), bucket_size=5)
    assert (await world.final("alone")).counts.success == 20
    gate.open()
    await world.store.cancel_task("gateway")
    world.engine.changed("gateway")
    await world.final("gateway")
    await world.close()


async def test_buckets_held_for_one_slow_meter_each_leave_room_for_others(tmp_path: Path) -> None:
    world = await World.open(tmp_path, limits_of(sessions=20, buckets=2))
    await world.engine.start()
    slow = Gate()
    meters = names(40)
    for each in meters[::5]:
        world.driver.scripts[f"READ {each}"] = slow
    await world.submit("task", meters, bucket_size=5)
    await world.driver.reached(40)
    while await world.with_status("task", DeviceStatus.SUCCESS) < 32:  # noqa: ASYNC110 (as a client would)
        await asyncio.sleep(0.01)
    slow.open()
    assert (await world.final("task")).counts.success == 40
    await world.close()


async def test_a_higher_priority_gets_in_where_the_worker_is_full(tmp_path: Path) -> None:
    world = await World.open(tmp_path, limits_of(sessions=4, buckets=1))
    await world.engine.start()
    gate = Gate()
    meters = names(10)
    await world.register(meters, "gw")
    world.driver.scripts["READ"] = gate
    world.driver.scripts["READ urgent"] = at_once
    await world.submit("low", meters, priority=1, bucket_size=10)
    await world.driver.reached(1)
    await world.submit("alike", ["alike"], priority=1)
    await world.submit("urgent", ["urgent"], priority=9)
    await world.final("urgent")  # while the gateway is busy, and the only bucket that there is room for waits for it
    gate.open()
    await world.final("low")
    await world.final("alike")
    await world.close()
