"""Leases, epochs and fencing; one session per physical meter."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.store.fleet import (
    LEASE,
    at,
    begin,
    begun_bucket,
    check_counts,
    create,
    failure,
    lease,
    meter,
    retry,
    snapshot,
    status_of,
    success,
)
from tests.store.harness import StoreHarness

from metercast.domain.meter import SealedMeter
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Lease, LeasedBucket, LeaseLost

Write = Callable[[StoreHarness, LeasedBucket, Lease], Awaitable[Any]]

WRITES: dict[str, Write] = {
    "begin": lambda harness, bucket, held: harness.store.begin_attempts(held, bucket.devices),
    "record": lambda harness, bucket, held: harness.store.record_results(held, [success(bucket)]),
    "refuse": lambda harness, bucket, held: harness.store.refuse_devices(
        held, [bucket.devices[1].position], ErrorWord.UNKNOWN_DEVICE, "gone"
    ),
    "release": lambda harness, bucket, held: harness.store.release_bucket(held, 0),
}


async def half_begun(harness: StoreHarness) -> LeasedBucket:
    """Two devices, the first SENT."""
    await create(harness, "t", ["a", "b"])
    bucket = await lease(harness, "t")
    await harness.store.begin_attempts(bucket.lease, bucket.devices[:1])
    return bucket


@pytest.mark.parametrize("write", list(WRITES))
@pytest.mark.parametrize("wrong", ["owner", "epoch", "earlier", "bucket", "expired", "taken", "released", "restarted"])
async def test_a_worker_without_the_lease_writes_nothing(harness: StoreHarness, write: str, wrong: str) -> None:
    bucket = await half_begun(harness)
    held = bucket.lease
    if wrong == "owner":
        held = msgspec.structs.replace(held, owner="someone else")
    elif wrong == "epoch":
        held = msgspec.structs.replace(held, epoch=held.epoch + 1)
    elif wrong == "earlier":
        held = msgspec.structs.replace(held, epoch=held.epoch - 1)
    elif wrong == "bucket":
        held = msgspec.structs.replace(held, bucket_id=987654)
    elif wrong == "expired":
        harness.clock.advance(LEASE)
    elif wrong == "taken":
        harness.clock.advance(LEASE)
        await lease(harness, "t", "worker")
    elif wrong == "released":
        await harness.store.release_bucket(held, 0)
    else:
        await harness.store.release_owner("")
        await harness.reopen()
    before = await snapshot(harness, "t")
    with pytest.raises(LeaseLost):
        await WRITES[write](harness, bucket, held)
    assert await snapshot(harness, "t") == before
    assert await harness.store.renew_leases([held], LEASE) == []
    await check_counts(harness, "t")


async def test_one_owner_at_a_time(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    (due,) = await harness.store.due_buckets(10)
    first = await harness.store.lease_bucket(due.bucket_id, "one", LEASE)
    assert first is not None
    assert await harness.store.due_buckets(10) == []
    assert await harness.store.lease_bucket(due.bucket_id, "two", LEASE) is None
    assert await harness.store.lease_bucket(due.bucket_id, "one", LEASE) is None
    harness.clock.advance(LEASE)
    assert await harness.store.due_buckets(10) == [due]
    second = await harness.store.lease_bucket(due.bucket_id, "two", LEASE)
    assert second is not None
    assert second.lease.epoch == first.lease.epoch + 1


async def test_renewal_keeps_a_lease_alive_and_tells_of_the_task(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"], expires_at=at(100))
    bucket = await lease(harness, "t")
    for _ in range(3):
        harness.clock.advance(LEASE - 1)
        (held,) = await harness.store.renew_leases([bucket.lease], LEASE)
        assert (held.bucket_id, held.task_status) == (bucket.lease.bucket_id, TaskStatus.IN_PROGRESS)
        assert held.expired == (harness.clock.now >= at(100))
    await harness.store.pause_task("t")
    (held,) = await harness.store.renew_leases([bucket.lease], LEASE)
    assert held.task_status is TaskStatus.PAUSED
    harness.clock.advance(LEASE)
    assert await harness.store.renew_leases([bucket.lease], LEASE) == []


async def test_a_released_bucket_is_due_when_asked(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    bucket = await lease(harness, "t")
    await harness.store.release_bucket(bucket.lease, 30)
    harness.clock.advance(29)
    assert await harness.store.due_buckets(10) == []
    harness.clock.advance(1)
    assert len(await harness.store.due_buckets(10)) == 1


async def test_an_ended_bucket_is_never_due_again(harness: StoreHarness) -> None:
    """Even where its worker died before it gave it back."""
    await create(harness, "t", [f"m{number:03d}" for number in range(100)])
    first = await begun_bucket(harness, "t")
    await harness.store.record_results(first.lease, [success(first, index) for index in range(50)])
    harness.clock.advance(LEASE)
    due = await harness.store.due_buckets(10)
    assert [each.bucket_id == first.lease.bucket_id for each in due] == [False]
    assert await harness.store.lease_bucket(first.lease.bucket_id, "two", LEASE) is None
    await harness.store.release_owner("")
    assert len(await harness.store.due_buckets(10)) == 1


async def test_release_owner_ends_the_leases_of_its_prefix_only(harness: StoreHarness) -> None:
    await create(harness, "t", [f"m{number:03d}" for number in range(150)])
    buckets = [await lease(harness, "t", owner) for owner in ("node-1/a", "node-1/b", "node-10")]
    await begin(harness, buckets[0])
    assert await harness.store.release_owner("node-1/") == 2
    assert [held.bucket_id for held in await harness.store.renew_leases([each.lease for each in buckets], LEASE)] == [
        buckets[2].lease.bucket_id
    ]
    again = await harness.store.lease_bucket(buckets[0].lease.bucket_id, "node-2", LEASE)
    assert again is not None
    assert {device.status for device in again.devices} == {DeviceStatus.SENT}
    assert await harness.store.release_owner("%") == 0


async def test_a_lease_hands_over_what_is_open(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b", "c", "d"])
    bucket = await lease(harness, "t")
    await harness.store.begin_attempts(bucket.lease, bucket.devices[:3])
    await harness.store.record_results(
        bucket.lease,
        [success(bucket), retry(bucket, 1, association_failures=1, verify_first=True, delay_seconds=100.5)],
    )
    harness.clock.advance(LEASE)
    again = await lease(harness, "t", "next")
    assert again.lease.epoch == bucket.lease.epoch + 1
    found = {
        d.device_id: (d.status, d.tries, d.used, d.association_failures, d.verify_first, round(d.wait_seconds, 3))
        for d in again.devices
    }
    assert found == {
        "b": (DeviceStatus.PENDING, 1, 1, 1, True, 40.5),
        "c": (DeviceStatus.SENT, 1, 0, 0, False, 0.0),
        "d": (DeviceStatus.PENDING, 0, 0, 0, False, 0.0),
    }


async def test_the_highest_priority_comes_first_then_the_longest_due(harness: StoreHarness) -> None:
    for number, priority in enumerate((4, 9, 4, 0)):
        await create(harness, f"t{number}", [f"m{number}"], priority=priority)
        harness.clock.advance(1)
    assert [each.task_id for each in await harness.store.due_buckets(10)] == ["t1", "t0", "t2", "t3"]
    assert [each.task_id for each in await harness.store.due_buckets(2)] == ["t1", "t0"]


async def test_what_is_sent_is_offered_whatever_its_task_is(harness: StoreHarness) -> None:
    for task_id in ("paused", "cancelled"):
        await create(harness, task_id, [task_id])
        await begun_bucket(harness, task_id)
    await harness.store.pause_task("paused")
    await harness.store.cancel_task("cancelled")
    harness.clock.advance(LEASE)
    assert {each.task_id for each in await harness.store.due_buckets(10)} == {"paused", "cancelled"}
    for task_id in ("paused", "cancelled"):
        bucket = await lease(harness, task_id, "next")
        await harness.store.record_results(bucket.lease, [failure(bucket, ErrorWord.OUTCOME_UNKNOWN)])
        assert await status_of(harness, task_id, task_id) == ("FAILED", "OutcomeUnknown")
    assert await harness.store.due_buckets(10) == []


# Locks


async def test_a_meter_is_in_one_session_whatever_the_task(harness: StoreHarness) -> None:
    await create(harness, "one", ["m", "x"])
    await create(harness, "two", ["m", "y"])
    first = await begun_bucket(harness, "one")
    second = await lease(harness, "two")
    begun = await begin(harness, second)
    positions = {device.device_id: device.position for device in second.devices}
    assert [each.meter.device_id for each in begun.begun] == ["y"]
    assert begun.locked == [positions["m"]]
    assert await status_of(harness, "two", "m") == ("PENDING", None)
    await harness.store.record_results(first.lease, [success(first)])
    begun = await begin(harness, second, "m")
    assert [each.meter.device_id for each in begun.begun] == ["m"]
    await check_counts(harness, "one", "two")


async def test_a_lock_is_free_when_its_lease_has_died(harness: StoreHarness) -> None:
    await create(harness, "one", ["m"])
    await create(harness, "two", ["m"])
    first = await begun_bucket(harness, "one")
    harness.clock.advance(LEASE)
    second = await lease(harness, "two")
    assert len((await begin(harness, second)).begun) == 1
    # Whoever takes the first bucket over can't unlock what the second holds now.
    again = await lease(harness, "one", "next")
    await harness.store.record_results(again.lease, [retry(again, delay_seconds=0.0)])
    assert (await begin(harness, again)).locked == [first.devices[0].position]
    await harness.store.record_results(second.lease, [success(second)])
    assert len((await begin(harness, again)).begun) == 1


async def test_a_released_lease_gives_up_its_locks(harness: StoreHarness) -> None:
    await create(harness, "one", ["m"])
    await create(harness, "two", ["m"])
    first = await begun_bucket(harness, "one")
    await harness.store.release_bucket(first.lease, 0)
    assert len((await begin(harness, await lease(harness, "two"))).begun) == 1


async def test_locks_outlive_a_restart_of_the_store(harness: StoreHarness) -> None:
    await create(harness, "one", ["m"])
    await create(harness, "two", ["m"])
    await begun_bucket(harness, "one")
    second = await lease(harness, "two")
    await harness.reopen()
    assert len((await begin(harness, second)).locked) == 1


async def test_begin_hands_over_the_meter_as_it_is_now(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"])
    bucket = await lease(harness, "t")
    document = '{"connection": {"host": "ω"},\n "note": ["\u001f", ","]}'.encode()
    await harness.store.put_devices([meter("a", document, b"\x00\x1e,-\xff")])
    begun = await begin(harness, bucket)
    by_id = {each.meter.device_id: each.meter for each in begun.begun}
    assert by_id == {
        name: SealedMeter(name, each.document, each.sealed)
        for name, each in (await harness.store.find_devices(["a", "b"])).items()
    }
    assert (by_id["a"].document, by_id["a"].sealed) == (document, b"\x00\x1e,-\xff")
    assert by_id["b"].sealed is None


async def test_a_device_that_is_gone_does_not_begin(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"], register=False)
    await harness.store.put_devices([meter("a")])
    bucket = await lease(harness, "t")
    begun = await begin(harness, bucket)
    assert [each.meter.device_id for each in begun.begun] == ["a"]
    assert begun.ended == [bucket.devices[1].position]
    moved = await harness.store.refuse_devices(bucket.lease, begun.ended, ErrorWord.UNKNOWN_DEVICE, "not registered")
    assert [(each.device_id, each.status, each.error) for each in moved] == [
        ("b", DeviceStatus.FAILED, ErrorWord.UNKNOWN_DEVICE)
    ]
    assert await status_of(harness, "t", "b") == ("FAILED", "UnknownDevice")
    await check_counts(harness, "t")


async def test_a_lock_is_of_one_epoch(harness: StoreHarness) -> None:
    """The bucket has a living lease again; the lock of its dead one is free all the same."""
    await create(harness, "one", ["m"])
    await create(harness, "two", ["m"])
    await begun_bucket(harness, "one")
    harness.clock.advance(LEASE)
    await lease(harness, "one", "next")
    assert len((await begin(harness, await lease(harness, "two"))).begun) == 1
