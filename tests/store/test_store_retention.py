"""Retention: old ended tasks are gone at once, and what they were is deleted little by little."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from tests.store.fleet import (
    at,
    begin,
    begun_bucket,
    check_counts,
    create,
    failure,
    lease,
    new_task,
    snapshot,
    streamed,
    success,
    sweep,
)
from tests.store.harness import StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.problem import NotFound
from metercast.domain.states import DeviceStatus
from metercast.domain.words import ErrorWord
from metercast.store.attempts import LeasedBucket, LeaseLost, Result
from metercast.store.tasks import TaskQuery


async def ended(harness: StoreHarness, task_id: str, count: int = 120, **changes: Any) -> list[LeasedBucket]:
    """A task of several buckets that ended now, with attempts, results and late results."""
    await create(harness, task_id, [f"{task_id}-{number}" for number in range(count)], **changes)
    buckets = []
    while any(each.task_id == task_id for each in await harness.store.due_buckets(1000)):
        bucket = await lease(harness, task_id)
        await begin(harness, bucket)
        ends = [failure(bucket, ErrorWord.TIMEOUT, index) for index in range(0, len(bucket.devices), 2)]
        ends += [success(bucket, index, result={"index": index}) for index in range(1, len(bucket.devices), 2)]
        assert len(await harness.store.record_results(bucket.lease, ends)) == len(bucket.devices)
        await harness.store.release_bucket(bucket.lease, 0)
        buckets.append(bucket)
    assert [task.task_id for task in await harness.store.finalise_ended()] == [task_id]
    return buckets


async def test_only_what_has_ended_before_is_counted_and_retired(harness: StoreHarness) -> None:
    await ended(harness, "old")
    harness.clock.advance(100)
    await ended(harness, "young")
    await create(harness, "open", ["a"])
    await create(harness, "cancelled-but-sent", ["b"])
    await begun_bucket(harness, "cancelled-but-sent")
    await harness.store.cancel_task("cancelled-but-sent")
    assert await harness.store.count_ended(at(0)) == 0
    assert await harness.store.count_ended(at(0.000001)) == 1
    assert await harness.store.count_ended(at(100)) == 1
    assert await harness.store.count_ended(at(100.000001)) == 2
    assert await harness.store.count_ended(at(1e9)) == 2
    assert await harness.store.retire_tasks(at(100), 100) == 1
    assert await harness.store.retire_tasks(at(100), 100) == 0
    left = {task.task_id for task in (await harness.store.list_tasks(TaskQuery(), 100, None)).items}
    assert left == {"young", "open", "cancelled-but-sent"}
    before = await snapshot(harness, *left)
    await sweep(harness)
    assert await harness.raw_task("old") is None
    assert await harness.raw_devices("old") == []
    assert await snapshot(harness, *left) == before
    await check_counts(harness, *left)


async def test_the_oldest_go_first_and_no_more_than_asked(harness: StoreHarness) -> None:
    for number in range(5):
        await ended(harness, f"t{number}", 1)
        harness.clock.advance(1)
    assert await harness.store.retire_tasks(at(1e9), 2) == 2
    assert await harness.store.count_ended(at(1e9)) == 3
    left = [task.task_id for task in (await harness.store.list_tasks(TaskQuery(), 100, None)).items]
    assert left == ["t4", "t3", "t2"]


async def test_a_retired_task_is_gone_at_once(harness: StoreHarness) -> None:
    (bucket, *_) = await ended(harness, "t")
    assert await harness.store.retire_tasks(at(1), 1) == 1
    for call in (
        harness.store.get_task("t"),
        harness.store.get_device_command("t", "t-0"),
        harness.store.cancel_task("t"),
        harness.store.error_counts("t"),
        streamed(harness, "t"),
    ):
        with pytest.raises(NotFound):
            await call
    device = bucket.devices[0]
    late = Result(device.position, device.device_id, 1, DeviceStatus.SUCCESS, 1)
    assert await harness.store.record_late_result("t", late) is None
    await harness.store.delete_device("t-0")


async def test_a_sweep_is_short_and_leaves_nothing(harness: StoreHarness) -> None:
    for number in range(3):
        await ended(harness, f"t{number}", conflict_group=ConflictGroup.CLOCK)
    await harness.store.retire_tasks(at(1), 10)
    steps = 0
    while (swept := await harness.store.sweep_unsealed(40)) > 0:
        assert swept <= 40 + 50  # about the limit: a bucket may be the least that goes
        steps += 1
        assert steps < 100
    assert steps > 3
    assert await harness.raw_rows() == 0


async def test_work_goes_on_beside_a_sweep(harness: StoreHarness) -> None:
    for number in range(3):
        await ended(harness, f"old-{number}")
    await create(harness, "new", [f"m{number}" for number in range(200)])
    await harness.store.retire_tasks(at(1), 10)

    async def work() -> None:
        for _ in range(4):
            bucket = await begun_bucket(harness, "new")
            await harness.store.record_results(bucket.lease, [success(bucket, n) for n in range(len(bucket.devices))])
            await harness.store.release_bucket(bucket.lease, 0)

    await asyncio.gather(work(), sweep(harness, 10))
    await sweep(harness)
    await harness.store.finalise_ended()
    task = await harness.store.get_task("new")
    assert task.counts.success == 200
    await check_counts(harness, "new")


async def test_a_retired_id_is_free_again(harness: StoreHarness) -> None:
    """A lease of before means nothing for what comes after."""
    (old, *_) = await ended(harness, "t")
    await harness.store.retire_tasks(at(1), 1)
    created = await harness.store.create_task(new_task("t"), ["t-0", "t-1"], allow_unknown=False)
    assert (created.is_new, created.task.counts.total) == (True, 2)
    bucket = await begun_bucket(harness, "t", "another")
    with pytest.raises(LeaseLost):
        await harness.store.record_results(old.lease, [success(old)])
    moved = await harness.store.record_results(bucket.lease, [success(bucket, 0), success(bucket, 1)])
    assert len(moved) == 2
    await check_counts(harness, "t")


async def test_nothing_to_retire(harness: StoreHarness) -> None:
    assert await harness.store.count_ended(datetime.max.replace(tzinfo=at(0).tzinfo)) == 0
    assert await harness.store.retire_tasks(at(1), 10) == 0
    assert await harness.store.sweep_unsealed(10) == 0
