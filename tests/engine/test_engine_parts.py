"""The queue, the channels and the loops by themselves."""

import asyncio
from typing import Any, cast

from metercast.engine.queue import InProcessQueue
from metercast.engine.scheduler import Scheduler
from metercast.engine.stats import EngineStats
from metercast.store.attempts import DueBucket
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
