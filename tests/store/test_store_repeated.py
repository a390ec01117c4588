"""Every call repeated as it was, as after an answer that was lost: as if it had been made once."""

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
    meter,
    new_task,
    retry,
    snapshot,
    status_of,
    success,
    sweep,
)
from tests.store.harness import StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.problem import Conflict, NotFound
from metercast.domain.states import IllegalTransition
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Begun, LeasedBucket, LeaseLost
from metercast.store.keys import Role

IDS = [f"m{number}" for number in range(8)]


async def twice(
    harness: StoreHarness,
    call: Callable[[], Awaitable[Any]],
    *refused: type[Exception],
    tasks: tuple[str, ...] = ("t",),
) -> tuple[Any, Any]:
    """Both answers; the second call may be refused, and changes nothing."""
    first = await call()
    before = await snapshot(harness, *tasks)
    rows = await harness.raw_rows()
    harness.clock.advance(0.25)
    try:
        second = await call()
    except refused as error:
        second = error
    assert await snapshot(harness, *tasks) == before
    assert await harness.raw_rows() == rows
    for task in tasks:
        if await harness.raw_task(task) is not None:
            await check_counts(harness, task)
    return first, second


def told(begun: Begun) -> dict[str, int]:
    return {each.meter.device_id: each.tries for each in begun.begun}


async def test_create(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter(each) for each in IDS])
    first, second = await twice(harness, lambda: harness.store.create_task(new_task("t"), IDS, allow_unknown=False))
    assert (first.is_new, second.is_new, second.same_body) == (True, False, True)


@pytest.mark.parametrize("group", [ConflictGroup.NONE, ConflictGroup.RELAY, ConflictGroup.CLOCK])
async def test_begin(harness: StoreHarness, group: ConflictGroup) -> None:
    await create(harness, "t", IDS, conflict_group=group)
    bucket = await lease(harness, "t")
    first, second = await twice(harness, lambda: begin(harness, bucket))
    assert told(first) == told(second) == dict.fromkeys(IDS, 1)
    assert (second.locked, second.waits, second.ended) == ([], [], [])
    assert sorted(each.position for each in second.begun) == [device.position for device in bucket.devices]
    moved = await harness.store.record_results(bucket.lease, [success(bucket, n) for n in range(len(IDS))])
    assert len(moved) == len(IDS)
    # No lock stays behind.
    harness.clock.advance(1)
    await create(harness, "next", IDS, conflict_group=group)
    assert len((await begin(harness, await lease(harness, "next"))).begun) == len(IDS)


async def test_begin_some_of_them_again_with_others(harness: StoreHarness) -> None:
    """A worker that lost the answer asks for what it wants then."""
    await create(harness, "t", IDS)
    bucket = await lease(harness, "t")
    await begin(harness, bucket, "m0", "m1", "m2")
    begun = await begin(harness, bucket, "m1", "m2", "m3")
    assert told(begun) == dict.fromkeys(["m1", "m2", "m3"], 1)
    await check_counts(harness, "t")


async def test_begin_with_the_progress_of_before(harness: StoreHarness) -> None:
    await create(harness, "t", ["m"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [retry(bucket, progress={"block": 7}, delay_seconds=0.0)])
    await harness.store.release_bucket(bucket.lease, 0)
    bucket = await lease(harness, "t")
    first, second = await twice(harness, lambda: begin(harness, bucket))
    assert [each.progress for each in (*first.begun, *second.begun)] == [{"block": 7}] * 2
    assert told(second) == {"m": 2}


async def test_begin_under_another_lease_is_no_repetition(harness: StoreHarness) -> None:
    """What an earlier lease left SENT is to be decided, not to be driven."""
    await create(harness, "t", IDS)
    old = await lease(harness, "t", "old")
    await begin(harness, old)
    harness.clock.advance(LEASE + 1)
    new = await lease(harness, "t", "new")
    asked = LeasedBucket(new.lease, new.task, old.devices)
    begun = await begin(harness, asked)
    assert (begun.begun, sorted(begun.ended)) == ([], [device.position for device in old.devices])
    with pytest.raises(LeaseLost):
        await begin(harness, old)


async def test_begin_of_an_older_attempt_is_no_repetition(harness: StoreHarness) -> None:
    await create(harness, "t", ["m"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [retry(bucket, delay_seconds=0.0)])
    (again,) = (await begin(harness, bucket)).begun  # by a caller that does not know its number
    assert again.tries == 2
    begun = await begin(harness, bucket)
    assert (begun.begun, begun.ended) == ([], [bucket.devices[0].position])


async def test_record(harness: StoreHarness) -> None:
    await create(harness, "t", IDS)
    bucket = await begun_bucket(harness, "t")
    results = [
        success(bucket, 0, result=1), failure(bucket, ErrorWord.READ_WRITE_DENIED, 1), retry(bucket, 2),
        give_back(bucket, 3),
    ]  # fmt: skip
    first, second = await twice(harness, lambda: harness.store.record_results(bucket.lease, results))
    assert (len(first), second) == (4, [])
    detail = await harness.store.get_device_command("t", "m1")
    assert [attempt.error for attempt in detail.attempts_made] == [ErrorWord.READ_WRITE_DENIED]


async def test_refuse(harness: StoreHarness) -> None:
    await create(harness, "t", IDS, conflict_group=ConflictGroup.CLOCK)
    bucket = await lease(harness, "t")
    positions = [device.position for device in bucket.devices[:3]]
    first, second = await twice(
        harness, lambda: harness.store.refuse_devices(bucket.lease, positions, ErrorWord.UNKNOWN_DEVICE, "gone")
    )
    assert (len(first), second) == (3, [])


async def test_late_result(harness: StoreHarness) -> None:
    await create(harness, "t", IDS)
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [failure(bucket, ErrorWord.TIMEOUT, n) for n in range(len(IDS))])
    await harness.store.finalise_ended()
    late = success(bucket, 0, result={"x": 1})
    first, second = await twice(harness, lambda: harness.store.record_late_result("t", late))
    assert (first.device_id, second) == ("m0", None)
    assert await status_of(harness, "t", "m0") == ("SUCCESS", None)


async def test_lease_renew_and_release(harness: StoreHarness) -> None:
    await create(harness, "t", IDS)
    (due,) = await harness.store.due_buckets(10)
    first, second = await twice(harness, lambda: harness.store.lease_bucket(due.bucket_id, "w", LEASE))
    assert first is not None
    # A store may give the owner its lease once more, or nobody; never a second lease beside the first.
    assert second is None or second.lease == first.lease
    held = await twice(harness, lambda: harness.store.renew_leases([first.lease], LEASE))
    assert [len(each) for each in held] == [1, 1]
    await twice(harness, lambda: harness.store.release_bucket(first.lease, 0), LeaseLost)
    assert len(await harness.store.due_buckets(10)) == 1
    again = await lease(harness, "t")
    assert len((await begin(harness, again)).begun) == len(IDS)
    await twice(harness, lambda: harness.store.release_owner("worker"))


@pytest.mark.parametrize("action", ["cancel_task", "pause_task", "resume_task"])
async def test_actions(harness: StoreHarness, action: str) -> None:
    await create(harness, "t", IDS)
    bucket = await lease(harness, "t")
    await begin(harness, bucket, "m0")
    if action == "resume_task":
        await harness.store.pause_task("t")
    await twice(harness, lambda: getattr(harness.store, action)("t"), IllegalTransition)


async def test_the_scheduler(harness: StoreHarness) -> None:
    await create(harness, "t", IDS, scheduled_at=at(10), expires_at=at(20))
    harness.clock.advance(15)
    assert (await twice(harness, harness.store.start_due_tasks)) == (["t"], [])
    harness.clock.advance(15)
    assert (await twice(harness, harness.store.expire_due)) == (["t"], [])
    first, second = await twice(harness, harness.store.finalise_ended)
    assert ([task.task_id for task in first], second) == (["t"], [])
    assert (await twice(harness, lambda: harness.store.retire_tasks(at(1e6), 10), tasks=())) == (1, 0)
    await sweep(harness)
    assert await twice(harness, lambda: harness.store.sweep_unsealed(10), tasks=()) == (0, 0)


async def test_the_registry_and_keys(harness: StoreHarness) -> None:
    assert await twice(harness, lambda: harness.store.put_devices([meter("m")]), tasks=()) == (1, 0)
    await twice(harness, lambda: harness.store.delete_device("m"), NotFound, tasks=())
    assert await harness.store.count_devices() == 0
    _, refused = await twice(
        harness, lambda: harness.store.add_key("k", "name", Role.ADMIN, b"1" * 32), Conflict, tasks=()
    )
    assert isinstance(refused, Conflict)
    first, second = await twice(harness, lambda: harness.store.revoke_key("k"), tasks=())
    assert first == second
    assert len(await harness.store.list_keys()) == 1
