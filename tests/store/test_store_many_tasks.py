"""Many tasks of the same meters: their order, what becomes void, and results that come late to any of them."""

import asyncio
import random

from tests.store.fleet import begin, check_counts, create, failure, lease, retry, success
from tests.store.harness import StoreHarness, statuses

from metercast.domain.command import ConflictGroup
from metercast.domain.states import TaskStatus
from metercast.domain.task import TaskOutcome
from metercast.domain.words import ErrorWord
from metercast.store.attempts import LeasedBucket

METERS = [f"m{number:02d}" for number in range(12)]
TASKS = [f"t{number:02d}" for number in range(11)]


async def create_all(harness: StoreHarness, group: ConflictGroup) -> None:
    for task_id in TASKS:
        await create(harness, task_id, METERS, conflict_group=group)
        harness.clock.advance(1)


async def test_the_newest_that_begins_makes_all_older_void(harness: StoreHarness) -> None:
    await create_all(harness, ConflictGroup.RELAY)
    first = await lease(harness, TASKS[0])
    assert len((await begin(harness, first)).begun) == len(METERS)
    await harness.store.record_results(first.lease, [retry(first, n, delay_seconds=600.0) for n in range(len(METERS))])
    # The others wait for their turn: each next one is the oldest that could begin.
    second, newest = await lease(harness, TASKS[1]), await lease(harness, TASKS[-1])
    begun = await begin(harness, newest)
    assert (begun.begun, len(begun.waits)) == ([], len(METERS))
    for task_id in TASKS[1:-1]:
        await harness.store.pause_task(task_id)
    assert len((await begin(harness, newest)).begun) == len(METERS)
    for task_id in TASKS[1:-1]:
        await harness.store.resume_task(task_id)
    void: list[LeasedBucket] = [first, second, *[await lease(harness, each) for each in TASKS[2:-1]]]
    for bucket in void:
        begun = await begin(harness, bucket)
        assert (begun.begun, begun.waits) == ([], [])
        rows = await harness.raw_devices(bucket.task.task_id)
        assert {(row["command_status"], row["error_message"]) for row in rows} == {("FAILED", ErrorWord.SUPERSEDED)}
    await harness.store.record_results(newest.lease, [success(newest, n) for n in range(len(METERS))])
    ended = {task.task_id: task.outcome for task in await harness.store.finalise_ended()}
    assert ended == dict.fromkeys(TASKS[:-1], TaskOutcome.FAILED) | {TASKS[-1]: TaskOutcome.SUCCEEDED}
    await check_counts(harness, *TASKS)


async def test_where_nothing_is_superseded_they_run_one_after_the_other(harness: StoreHarness) -> None:
    await create_all(harness, ConflictGroup.CLOCK)
    buckets = {task_id: await lease(harness, task_id) for task_id in TASKS}
    for task_id in TASKS:
        for later in TASKS[TASKS.index(task_id) + 1 :]:
            assert len((await begin(harness, buckets[later])).waits) == len(METERS)
        assert len((await begin(harness, buckets[task_id])).begun) == len(METERS)
        ends = [success(buckets[task_id], n) for n in range(len(METERS))]
        await harness.store.record_results(buckets[task_id].lease, ends)
    assert {task.outcome for task in await harness.store.finalise_ended()} == {TaskOutcome.SUCCEEDED}
    await check_counts(harness, *TASKS)


async def test_late_results_of_many_tasks_each_correct_one_device_once(harness: StoreHarness) -> None:
    """They come in any order, doubled, from several sides at once, to tasks that have ended."""
    await create_all(harness, ConflictGroup.NONE)
    buckets: dict[str, LeasedBucket] = {}
    for task_id in TASKS:
        bucket = buckets[task_id] = await lease(harness, task_id)
        assert len((await begin(harness, bucket)).begun) == len(METERS)
        ends = [failure(bucket, ErrorWord.TIMEOUT, n) for n in range(len(METERS))]
        await harness.store.record_results(bucket.lease, ends)
        await harness.store.release_bucket(bucket.lease, 0)
    assert {task.status for task in await harness.store.finalise_ended()} == {TaskStatus.FAILED}
    chance = random.Random(3)
    stores = [harness.store, await harness.another() or harness.store]
    late = [(task_id, n) for task_id in TASKS for n in chance.sample(range(len(METERS)), TASKS.index(task_id) + 1)] * 2
    chance.shuffle(late)

    async def tell(task_id: str, number: int) -> bool:
        result = success(buckets[task_id], number, result={"late": number})
        return await chance.choice(stores).record_late_result(task_id, result) is not None

    moved = 0
    for start in range(0, len(late), 16):
        moved += sum(await asyncio.gather(*(tell(*each) for each in late[start : start + 16])))
    assert moved == len(late) // 2
    for number, task_id in enumerate(TASKS, start=1):
        await check_counts(harness, task_id)
        task = await harness.store.get_task(task_id)
        assert (task.status, task.outcome) == (TaskStatus.COMPLETED, TaskOutcome.PARTIAL)
        assert (task.counts.success, task.counts.failed) == (number, len(METERS) - number)
        assert list(statuses(await harness.raw_devices(task_id)).values()).count("SUCCESS") == number
