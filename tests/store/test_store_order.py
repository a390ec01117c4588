"""The order of conflicting commands on one meter: who waits, who is superseded, what can't be undone."""

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
    status_of,
    success,
)
from tests.store.harness import StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.words import ErrorWord
from metercast.store.attempts import LeasedBucket

RELAY, CALENDAR, CLOCK = ConflictGroup.RELAY, ConflictGroup.CALENDAR, ConflictGroup.CLOCK
ALL = [group for group in ConflictGroup if group is not ConflictGroup.NONE]
SUPERSEDING = [group for group in ALL if group.supersedes]
WAITING = [group for group in ALL if not group.supersedes]


async def two(harness: StoreHarness, group: ConflictGroup) -> tuple[LeasedBucket, LeasedBucket]:
    """An older and a newer command of the group on one meter, both leased."""
    await create(harness, "older", ["m"], conflict_group=group)
    harness.clock.advance(1)
    await create(harness, "newer", ["m"], conflict_group=group)
    return await lease(harness, "older"), await lease(harness, "newer")


def waits(bucket: LeasedBucket) -> tuple[list[Any], list[int], list[int]]:
    return [], [], [bucket.devices[0].position]


@pytest.mark.parametrize("group", ALL)
async def test_the_older_command_goes_first(harness: StoreHarness, group: ConflictGroup) -> None:
    older, newer = await two(harness, group)
    begun = await begin(harness, newer)
    assert (begun.begun, begun.locked, begun.waits) == waits(newer)
    assert len((await begin(harness, older)).begun) == 1
    begun = await begin(harness, newer)
    assert (begun.begun, begun.locked, begun.waits) == waits(newer)
    await harness.store.record_results(older.lease, [success(older)])
    assert len((await begin(harness, newer)).begun) == 1


async def test_commands_without_a_group_do_not_wait(harness: StoreHarness) -> None:
    _, newer = await two(harness, ConflictGroup.NONE)
    assert len((await begin(harness, newer)).begun) == 1


async def test_commands_of_different_groups_do_not_wait(harness: StoreHarness) -> None:
    await create(harness, "older", ["m"], conflict_group=RELAY)
    await create(harness, "newer", ["m"], conflict_group=CALENDAR)
    assert len((await begin(harness, await lease(harness, "newer"))).begun) == 1


async def test_the_order_is_that_of_the_due_time_not_of_creation(harness: StoreHarness) -> None:
    await create(harness, "late", ["m"], conflict_group=CLOCK, scheduled_at=at(20))
    await create(harness, "soon", ["m"], conflict_group=CLOCK, scheduled_at=at(10))
    harness.clock.advance(20)
    await harness.store.start_due_tasks()
    late = await lease(harness, "late")
    assert (await begin(harness, late)).waits
    assert (await begin(harness, await lease(harness, "soon"))).begun


async def test_at_one_due_time_the_first_created_goes_first(harness: StoreHarness) -> None:
    await create(harness, "z-first", ["m"], conflict_group=RELAY, scheduled_at=at(10))
    harness.clock.advance(1)
    await create(harness, "a-second", ["m"], conflict_group=RELAY, scheduled_at=at(10))
    harness.clock.advance(10)
    await harness.store.start_due_tasks()
    assert (await begin(harness, await lease(harness, "a-second"))).waits
    assert (await begin(harness, await lease(harness, "z-first"))).begun


async def test_a_due_task_goes_first_before_it_is_started(harness: StoreHarness) -> None:
    """A newer command that is due at once must not slip in before the scheduler's next look."""
    await create(harness, "older", ["m"], conflict_group=RELAY, scheduled_at=at(10))
    harness.clock.advance(10.5)
    await create(harness, "newer", ["m"], conflict_group=RELAY)
    assert (await harness.store.get_task("older")).status is TaskStatus.QUEUED
    assert (await begin(harness, await lease(harness, "newer"))).waits
    await harness.store.start_due_tasks()
    assert (await begin(harness, await lease(harness, "older"))).begun


async def test_a_task_of_the_future_keeps_nobody_waiting(harness: StoreHarness) -> None:
    await create(harness, "future", ["m"], conflict_group=RELAY, scheduled_at=at(10))
    await create(harness, "now", ["m"], conflict_group=RELAY)
    assert (await begin(harness, await lease(harness, "now"))).begun


@pytest.mark.parametrize("group", SUPERSEDING)
async def test_a_newer_command_makes_the_retry_of_an_older_one_void(
    harness: StoreHarness, group: ConflictGroup
) -> None:
    older, newer = await two(harness, group)
    await begin(harness, older)
    await harness.store.record_results(older.lease, [retry(older, delay_seconds=600.0)])
    await harness.store.release_bucket(older.lease, 600)
    assert (await begin(harness, newer)).begun
    again = await lease(harness, "older")
    assert again.devices[0].wait_seconds == 0.0
    begun = await begin(harness, again)
    assert (begun.begun, begun.ended) == ([], [again.devices[0].position])
    assert await status_of(harness, "older", "m") == ("FAILED", "Superseded")
    await check_counts(harness, "older", "newer")


Ending = Callable[[StoreHarness, LeasedBucket], Awaitable[Any]]
ENDINGS: dict[str, Ending] = {
    "succeeds": lambda harness, b: harness.store.record_results(b.lease, [success(b)]),
    "fails": lambda harness, b: harness.store.record_results(b.lease, [failure(b, ErrorWord.TYPE_UNMATCHED)]),
    "waits": lambda harness, b: harness.store.record_results(b.lease, [retry(b, delay_seconds=3600.0)]),
    "is given back": lambda harness, b: harness.store.record_results(b.lease, [give_back(b)]),
    "is late": lambda harness, b: harness.store.record_results(b.lease, [failure(b, ErrorWord.OUTCOME_UNKNOWN)]),
    "dies": lambda harness, b: harness.store.release_owner("newer"),
    "is cancelled": lambda harness, b: harness.store.cancel_task("newer"),
    "restarts": lambda harness, b: harness.reopen(),
}


@pytest.mark.parametrize("ending", list(ENDINGS))
@pytest.mark.parametrize("older_is", ["waiting", "paused", "never begun and paused"])
async def test_a_reconnect_is_never_undone_by_the_retry_of_an_earlier_disconnect(
    harness: StoreHarness, ending: str, older_is: str
) -> None:
    """Whatever becomes of the reconnect once it has begun."""
    await create(harness, "disconnect", ["m"], conflict_group=RELAY)
    if older_is != "never begun and paused":
        bucket = await begun_bucket(harness, "disconnect")
        await harness.store.record_results(bucket.lease, [retry(bucket, delay_seconds=30.0)])
        await harness.store.release_bucket(bucket.lease, 30)
    if older_is != "waiting":
        await harness.store.pause_task("disconnect")
    harness.clock.advance(1)
    await create(harness, "newer", ["m"], conflict_group=RELAY)
    newer = await begun_bucket(harness, "newer", "newer")
    await ENDINGS[ending](harness, newer)
    if older_is != "waiting":
        await harness.store.resume_task("disconnect")
    for _ in range(3):
        harness.clock.advance(LEASE + 30)
        due = [each for each in await harness.store.due_buckets(10) if each.task_id == "disconnect"]
        for each in due:
            again = await harness.store.lease_bucket(each.bucket_id, "w", LEASE)
            assert again is not None
            assert (await begin(harness, again)).begun == []
    assert await status_of(harness, "disconnect", "m") == ("FAILED", "Superseded")
    await check_counts(harness, "disconnect", "newer")


@pytest.mark.parametrize("group", WAITING)
async def test_in_a_waiting_group_the_newer_waits_for_the_retry(harness: StoreHarness, group: ConflictGroup) -> None:
    older, newer = await two(harness, group)
    await begin(harness, older)
    await harness.store.record_results(older.lease, [retry(older, delay_seconds=30.0)])
    assert (await begin(harness, newer)).waits
    harness.clock.advance(30)
    assert (await begin(harness, newer)).waits
    assert (await begin(harness, older)).begun
    await harness.store.record_results(older.lease, [success(older, tries=2)])
    assert (await begin(harness, newer)).begun


@pytest.mark.parametrize("group", SUPERSEDING)
async def test_a_retry_that_is_due_goes_before_the_newer(harness: StoreHarness, group: ConflictGroup) -> None:
    older, newer = await two(harness, group)
    await begin(harness, older)
    await harness.store.record_results(older.lease, [retry(older, delay_seconds=30.0)])
    harness.clock.advance(30)
    assert (await begin(harness, newer)).waits
    assert (await begin(harness, older)).begun


@pytest.mark.parametrize("group", ALL)
async def test_what_a_dead_worker_left_sent_is_decided_first(harness: StoreHarness, group: ConflictGroup) -> None:
    await create(harness, "older", ["m"], conflict_group=group)
    await begun_bucket(harness, "older")
    harness.clock.advance(LEASE)
    await create(harness, "newer", ["m"], conflict_group=group)
    newer = await lease(harness, "newer")
    assert (await begin(harness, newer)).waits
    again = await lease(harness, "older", "next")
    await harness.store.record_results(again.lease, [failure(again, ErrorWord.OUTCOME_UNKNOWN)])
    assert (await begin(harness, newer)).begun


@pytest.mark.parametrize("group", ALL)
async def test_paused_and_cancelled_older_commands_keep_nobody_waiting(
    harness: StoreHarness, group: ConflictGroup
) -> None:
    await create(harness, "paused", ["m"], conflict_group=group)
    await create(harness, "cancelled", ["m"], conflict_group=group)
    harness.clock.advance(1)
    await create(harness, "newer", ["m"], conflict_group=group)
    await harness.store.pause_task("paused")
    await harness.store.cancel_task("cancelled")
    assert (await begin(harness, await lease(harness, "newer"))).begun


@pytest.mark.parametrize("end", ["cancelled", "expired", "refused", "late"])
async def test_an_older_command_that_ended_without_a_session_is_forgotten(harness: StoreHarness, end: str) -> None:
    await create(harness, "older", ["m"], conflict_group=CLOCK, expires_at=at(10))
    older = await lease(harness, "older")
    harness.clock.advance(1)
    await create(harness, "newer", ["m"], conflict_group=CLOCK)
    newer = await lease(harness, "newer")
    assert (await begin(harness, newer)).waits
    if end == "cancelled":
        await harness.store.cancel_task("older")
    elif end == "expired":
        harness.clock.advance(9)
        await harness.store.expire_due()
    elif end == "refused":
        await harness.store.refuse_devices(older.lease, [older.devices[0].position], ErrorWord.UNKNOWN_DEVICE, "gone")
    else:
        await begin(harness, older)
        await harness.store.record_results(older.lease, [retry(older, error=ErrorWord.OUTCOME_UNKNOWN)])
        corrected = await harness.store.record_late_result("older", success(older))
        assert corrected is not None
        assert corrected.status is DeviceStatus.SUCCESS
    assert (await begin(harness, newer)).begun
