"""The queue, the channels and the loops by themselves."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, cast

from tests.engine.harness import COMMANDS, NoParameters

from metercast.domain.command import ConflictGroup
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.driver.contract import Command
from metercast.engine.bucket import ActiveBucket
from metercast.engine.channels import Channels
from metercast.engine.queue import InProcessQueue
from metercast.engine.scheduler import Scheduler
from metercast.engine.stats import EngineStats
from metercast.store.attempts import DueBucket, Lease, LeasedBucket, OpenDevice, TaskHeader
from metercast.store.contract import Store


class EmptyStore:
    """Has nothing to do."""

    async def start_due_tasks(self) -> list[Any]:
        return []

    async def expire_due(self) -> list[Any]:
        return []

    async def due_buckets(self, limit: int) -> list[Any]:
        return []

    async def finalise_ended(self) -> list[Any]:
        return []


async def test_a_scheduler_that_is_woken_and_cancelled_at_once_ends() -> None:
    stats = EngineStats()
    scheduler = Scheduler(cast("Store", EmptyStore()), InProcessQueue(), stats, interval_seconds=60)
    running = asyncio.create_task(scheduler.run())
    while not stats.scheduler_passes:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    scheduler.wake()
    running.cancel()
    await asyncio.wait({running}, timeout=5)
    assert running.cancelled()


def bucket(number: int, priority: int = 4) -> DueBucket:
    return DueBucket(number, f"task-{number}", priority)


async def test_the_queue_gives_the_highest_priority_and_then_the_oldest() -> None:
    queue = InProcessQueue()
    for each in (bucket(1, 4), bucket(2, 9), bucket(3, 4), bucket(4, 0)):
        assert queue.offer(each)
    assert not queue.offer(bucket(2, 9)), "it has that one"
    assert [(await queue.take()).bucket_id for _ in range(4)] == [2, 1, 3, 4]
    assert queue.best_priority is None
    assert queue.offer(bucket(2, 9)), "what was taken may come again"


async def test_a_full_queue_takes_what_is_more_urgent_in_place_of_what_is_least() -> None:
    queue = InProcessQueue(limit=3)
    for number in (1, 2, 3):
        queue.offer(bucket(number))
    assert queue.room == 0
    assert not queue.offer(bucket(4))
    assert queue.offer(bucket(5, priority=9))
    assert [(await queue.take()).bucket_id for _ in range(3)] == [5, 1, 2]
    assert queue.offer(bucket(3)), "what was displaced is offered again"


async def test_take_waits_for_an_offer() -> None:
    queue = InProcessQueue()
    taking = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not taking.done()
    queue.offer(bucket(1))
    assert (await taking).bucket_id == 1


def active(number: int, devices: int, priority: int = 4) -> ActiveBucket:
    """A bucket that runs, with devices on one gateway that takes two sessions."""
    task = TaskHeader(
        f"task-{number}", "READ", ConflictGroup.NONE, None, TaskStatus.IN_PROGRESS, priority,
        datetime(2026, 5, 8, tzinfo=UTC), datetime(2026, 5, 9, tzinfo=UTC), RetryPolicy(),
    )  # fmt: skip
    opened = [
        OpenDevice(each, f"{number}/{each}", DeviceStatus.PENDING, 0, 0, 0, False, 0.0, "gw", 2)
        for each in range(devices)
    ]
    bucket = ActiveBucket(
        LeasedBucket(Lease(number, "worker", 1), task, opened),
        Command(COMMANDS["READ"], NoParameters()),
        time.monotonic() + 60,
    )
    bucket.add(opened)
    return bucket


def enter_all(channels: Channels, *buckets: ActiveBucket) -> list[str]:
    """What a pass of the worker begins."""
    begun = []
    channels.call()
    for bucket in buckets:
        while bucket.runs and bucket.startable:
            device = bucket.startable.popleft()
            if channels.enter("gw", device.max_sessions):
                begun.append(device.device_id)
            else:
                channels.park(bucket, device)
    return begun


def test_a_channel_calls_as_many_as_it_has_places_and_by_turns() -> None:
    channels, first, second = Channels(), active(1, 5), active(2, 5)
    assert enter_all(channels, first, second) == ["1/0", "1/1"]
    assert (first.parked, second.parked) == (3, 5)
    assert enter_all(channels, first, second) == []
    order = []
    for _ in range(8):
        channels.leave("gw")
        order += enter_all(channels, first, second)
    assert order == ["1/2", "2/0", "1/3", "2/1", "1/4", "2/2", "2/3", "2/4"]
    assert (first.parked, second.parked) == (0, 0)


def test_a_channel_prefers_a_priority_and_passes_over_what_may_not_run() -> None:
    channels, low, high = Channels(), active(1, 4, priority=1), active(2, 4, priority=9)
    enter_all(channels, low, high)
    channels.leave("gw")
    assert enter_all(channels, low, high) == ["2/0"]
    high.draining = True
    channels.leave("gw")
    assert enter_all(channels, low, high) == ["1/2"]
    high.draining = False
    channels.leave("gw")
    assert enter_all(channels, low, high) == ["2/1"]


def test_a_called_device_whose_bucket_is_paused_does_not_use_up_the_place() -> None:
    channels, first, second = Channels(), active(1, 3), active(2, 3)
    enter_all(channels, first, second)
    channels.leave("gw")
    channels.call()
    assert [device.device_id for device in first.startable] == ["1/2"]
    first.draining = True
    assert enter_all(channels, first, second) == ["2/0"]


def test_a_channel_keeps_nothing_of_a_bucket_that_is_gone() -> None:
    channels, gone, other = Channels(), active(1, 4), active(2, 1)
    enter_all(channels, gone, other)
    channels.forget(gone)
    assert gone.parked == 0
    channels.leave("gw")
    assert enter_all(channels, gone, other) == ["2/0"]
    assert not gone.startable
