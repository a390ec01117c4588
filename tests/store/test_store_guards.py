"""Every event against every state: an absent (state, event) changes nothing that is stored."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.store.fleet import (
    LEASE,
    at,
    begin,
    begun_bucket,
    check_counts,
    create,
    failure,
    give_back,
    lease,
    retry,
    snapshot,
    success,
)
from tests.store.harness import StoreHarness

from metercast.domain.states import (
    DEVICE_TRANSITIONS,
    TASK_TRANSITIONS,
    DeviceEvent,
    DeviceStatus,
    IllegalTransition,
    TaskEvent,
    TaskStatus,
)
from metercast.domain.words import ErrorWord
from metercast.store.attempts import LeasedBucket, Result

# Tasks: how each state is reached, and which call is which event.


async def task_in(harness: StoreHarness, status: TaskStatus, *, due: bool = True) -> None:
    future: dict[str, Any] = {"scheduled_at": at(600), "expires_at": at(1200)}
    await create(harness, "t", ["a", "b"], **({} if due and status is not TaskStatus.QUEUED else future))
    if status is TaskStatus.PAUSED:
        await harness.store.pause_task("t")
    elif status is TaskStatus.CANCELLED:
        await harness.store.cancel_task("t")
    elif status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
        bucket = await begun_bucket(harness, "t")
        first = success(bucket) if status is TaskStatus.COMPLETED else failure(bucket, ErrorWord.TYPE_UNMATCHED)
        await harness.store.record_results(bucket.lease, [first, failure(bucket, ErrorWord.TYPE_UNMATCHED, 1)])
        await harness.store.finalise_ended()
    assert (await harness.store.get_task("t")).status is status


CALLS: dict[TaskEvent, Callable[[StoreHarness], Awaitable[Any]]] = {
    TaskEvent.CANCEL: lambda harness: harness.store.cancel_task("t"),
    TaskEvent.PAUSE: lambda harness: harness.store.pause_task("t"),
    TaskEvent.RESUME: lambda harness: harness.store.resume_task("t"),
}


@pytest.mark.parametrize("status", list(TaskStatus))
@pytest.mark.parametrize("event", list(CALLS))
async def test_actions_on_tasks_follow_the_table(harness: StoreHarness, status: TaskStatus, event: TaskEvent) -> None:
    await task_in(harness, status)
    before = await snapshot(harness, "t")
    after = TASK_TRANSITIONS.get((status, event))
    if after is None:
        with pytest.raises(IllegalTransition):
            await CALLS[event](harness)
        assert await snapshot(harness, "t") == before
    else:
        assert (await CALLS[event](harness)).status is after
        stored = await harness.raw_task("t")
        assert stored is not None
        assert stored["status"] == after
    await check_counts(harness, "t")


async def test_resume_before_the_due_time_goes_back_to_queued(harness: StoreHarness) -> None:
    await task_in(harness, TaskStatus.PAUSED, due=False)
    assert await harness.store.start_due_tasks() == []
    assert (await harness.store.resume_task("t")).status is TaskStatus.QUEUED
    harness.clock.advance(600)
    assert await harness.store.start_due_tasks() == ["t"]


@pytest.mark.parametrize("status", [each for each in TaskStatus if each is not TaskStatus.QUEUED])
async def test_only_what_is_queued_starts(harness: StoreHarness, status: TaskStatus) -> None:
    await task_in(harness, status)
    before = await snapshot(harness, "t")
    harness.clock.advance(1)
    assert await harness.store.start_due_tasks() == []
    assert await snapshot(harness, "t") == before


# Devices: how each state is reached under a lease that is still ours, and which call is which event.


async def device_in(harness: StoreHarness, status: DeviceStatus) -> LeasedBucket:
    """A bucket whose first device is in `status`; a second device keeps it open."""
    await create(harness, "t", ["a", "b"])
    bucket = await lease(harness, "t")
    if status is DeviceStatus.SENT:
        await begin(harness, bucket)
    elif status in (DeviceStatus.SUCCESS, DeviceStatus.FAILED):
        await begin(harness, bucket)
        ended = success(bucket) if status is DeviceStatus.SUCCESS else failure(bucket, ErrorWord.TYPE_UNMATCHED)
        await harness.store.record_results(bucket.lease, [ended])
    elif status is DeviceStatus.CANCELLED:
        await harness.store.cancel_task("t")
    assert (await harness.raw_devices("t"))[0]["command_status"] == status
    return bucket


async def _record(harness: StoreHarness, bucket: LeasedBucket, result: Result) -> None:
    await harness.store.record_results(bucket.lease, [result])


async def _late(harness: StoreHarness, bucket: LeasedBucket) -> None:
    await harness.store.record_late_result("t", success(bucket))


async def _begin_first(harness: StoreHarness, bucket: LeasedBucket) -> None:
    await harness.store.begin_attempts(bucket.lease, bucket.devices[:1])


async def _refuse_first(harness: StoreHarness, bucket: LeasedBucket) -> None:
    positions = [bucket.devices[0].position]
    await harness.store.refuse_devices(bucket.lease, positions, ErrorWord.UNKNOWN_DEVICE, "gone")


async def _cancel(harness: StoreHarness, bucket: LeasedBucket) -> None:
    if (await harness.store.get_task("t")).status is not TaskStatus.CANCELLED:
        await harness.store.cancel_task("t")


EVENTS: dict[DeviceEvent, Callable[[StoreHarness, LeasedBucket], Awaitable[None]]] = {
    DeviceEvent.BEGIN: _begin_first,
    DeviceEvent.SUCCEED: lambda harness, bucket: _record(harness, bucket, success(bucket)),
    DeviceEvent.FAIL: lambda harness, bucket: _record(harness, bucket, failure(bucket, ErrorWord.TYPE_UNMATCHED)),
    DeviceEvent.RETRY: lambda harness, bucket: _record(harness, bucket, retry(bucket)),
    DeviceEvent.GIVE_BACK: lambda harness, bucket: _record(harness, bucket, give_back(bucket)),
    DeviceEvent.REFUSE: _refuse_first,
    DeviceEvent.CANCEL: _cancel,
}


@pytest.mark.parametrize("status", list(DeviceStatus))
@pytest.mark.parametrize("event", list(EVENTS))
async def test_events_on_devices_follow_the_table(
    harness: StoreHarness, status: DeviceStatus, event: DeviceEvent
) -> None:
    bucket = await device_in(harness, status)
    before = (await harness.raw_devices("t"))[0]
    harness.clock.advance(1)
    await EVENTS[event](harness, bucket)
    stored = (await harness.raw_devices("t"))[0]
    after = DEVICE_TRANSITIONS.get((status, event))
    if after is None:
        assert stored == before
    else:
        assert stored["command_status"] == after
        assert stored["last_updated"] == at(1)
    await check_counts(harness, "t")


@pytest.mark.parametrize("status", list(DeviceStatus))
async def test_a_late_success_corrects_only_a_guess(harness: StoreHarness, status: DeviceStatus) -> None:
    """None of these states came about by an ambiguous end, so nothing is corrected."""
    bucket = await device_in(harness, status)
    before = await snapshot(harness, "t")
    assert await harness.store.record_late_result("t", success(bucket)) is None
    assert await snapshot(harness, "t") == before


@pytest.mark.parametrize("status", [DeviceStatus.SENT, DeviceStatus.CANCELLED])
async def test_a_result_ends_in_what_a_session_can_end_in(harness: StoreHarness, status: DeviceStatus) -> None:
    bucket = await device_in(harness, DeviceStatus.SENT)
    before = await snapshot(harness, "t")
    device = bucket.devices[0]
    with pytest.raises(ValueError, match="session"):
        await harness.store.record_results(bucket.lease, [Result(device.position, "a", 1, status, 1)])
    assert await snapshot(harness, "t") == before


async def test_a_lease_is_no_right_to_another_bucket(harness: StoreHarness) -> None:
    await create(harness, "t", [f"m{number:03d}" for number in range(100)])
    first = await begun_bucket(harness, "t", "one")
    second = await begun_bucket(harness, "t", "two")
    before = await snapshot(harness, "t")
    for call in (
        harness.store.begin_attempts(first.lease, second.devices),
        harness.store.record_results(first.lease, [success(second)]),
        harness.store.refuse_devices(first.lease, [second.devices[0].position], ErrorWord.UNKNOWN_DEVICE, "gone"),
    ):
        with pytest.raises(ValueError, match="position"):
            await call
    assert await snapshot(harness, "t") == before


async def test_the_result_of_an_older_attempt_changes_nothing(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [retry(bucket, delay_seconds=0.0)])
    await begin(harness, bucket)
    before = await snapshot(harness, "t")
    assert await harness.store.record_results(bucket.lease, [success(bucket, tries=1)]) == []
    assert await harness.store.record_results(bucket.lease, [success(bucket, tries=3)]) == []
    assert await snapshot(harness, "t") == before
    moved = await harness.store.record_results(bucket.lease, [success(bucket, tries=2)])
    assert [(each.device_id, each.status) for each in moved] == [("a", DeviceStatus.SUCCESS)]


async def test_of_results_that_contradict_each_other_the_first_counts(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"])
    bucket = await begun_bucket(harness, "t")
    results = [success(bucket, 0), failure(bucket, ErrorWord.METER_BUSY, 0), success(bucket, 0), success(bucket, 1)]
    moved = await harness.store.record_results(bucket.lease, results)
    assert {each.device_id: each.status for each in moved} == dict.fromkeys("ab", DeviceStatus.SUCCESS)
    assert len(moved) == 2
    await check_counts(harness, "t")


async def test_of_a_batch_only_what_may_move_moves(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b", "c", "d"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [success(bucket, 1)])
    everything = [success(bucket, index) for index in range(4)]
    moved = await harness.store.record_results(bucket.lease, everything)
    assert [each.device_id for each in moved] == ["a", "c", "d"]
    assert await harness.store.record_results(bucket.lease, everything) == []
    await check_counts(harness, "t")


@pytest.mark.parametrize("status", [TaskStatus.PAUSED, TaskStatus.CANCELLED])
async def test_nothing_begins_in_a_task_that_does_not_run(harness: StoreHarness, status: TaskStatus) -> None:
    await create(harness, "t", ["a", "b"])
    bucket = await lease(harness, "t")
    await (harness.store.pause_task("t") if status is TaskStatus.PAUSED else harness.store.cancel_task("t"))
    before = await snapshot(harness, "t")
    begun = await begin(harness, bucket)
    assert (begun.task_status, begun.begun) == (status, [])
    assert await snapshot(harness, "t") == before


async def test_nothing_begins_after_the_expiry(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"], expires_at=at(10))
    bucket = await lease(harness, "t")
    harness.clock.advance(10)
    begun = await begin(harness, bucket)
    assert begun.begun == []
    assert sorted(begun.ended) == [device.position for device in bucket.devices]
    assert {row["command_status"] for row in await harness.raw_devices("t")} == {"PENDING"}
    assert LEASE > 10
