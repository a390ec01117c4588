"""Attempts from begin to record: what is stored, what is kept of the past, how retries wait."""

import asyncio

import pytest
from tests.store.fleet import (
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

from metercast.domain.outcome import How
from metercast.domain.problem import NotFound
from metercast.domain.states import DeviceStatus
from metercast.domain.task import Attempt, Counts
from metercast.domain.words import ErrorWord
from metercast.store.attempts import LeaseLost, Result, Transition


async def test_begin_counts_the_attempt_and_clears_the_error(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"])
    bucket = await lease(harness, "t")
    for tries in (1, 2, 3):
        begun = await begin(harness, bucket)
        assert {each.tries for each in begun.begun} == {tries}
        assert await status_of(harness, "t", "a") == ("SENT", None)
        assert (await harness.store.get_task("t")).counts == Counts(2, 0, sent=2)
        await harness.store.record_results(
            bucket.lease, [retry(bucket, index, tries, delay_seconds=0.0) for index in (0, 1)]
        )
        assert await status_of(harness, "t", "a") == ("PENDING", "Timeout")
        assert (await harness.store.get_task("t")).counts == Counts(2, 2)
    assert (await harness.store.get_device_command("t", "a")).attempts == 3


async def test_record_returns_the_transitions_it_made(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b", "c", "d"])
    bucket = await begun_bucket(harness, "t")
    moved = await harness.store.record_results(
        bucket.lease,
        [success(bucket), failure(bucket, ErrorWord.READ_WRITE_DENIED, 1), retry(bucket, 2), give_back(bucket, 3)],
    )
    assert sorted(moved, key=lambda each: each.device_id) == [
        Transition("t", "a", DeviceStatus.SUCCESS, None),
        Transition("t", "b", DeviceStatus.FAILED, ErrorWord.READ_WRITE_DENIED),
        Transition("t", "c", DeviceStatus.PENDING, ErrorWord.TIMEOUT),
        Transition("t", "d", DeviceStatus.PENDING, None),
    ]
    assert (await harness.store.get_task("t")).counts == Counts(4, 2, 0, 1, 1, 0)
    await check_counts(harness, "t")


@pytest.mark.parametrize("how", list(How))
async def test_a_success_says_how(harness: StoreHarness, how: How) -> None:
    await create(harness, "t", ["a"])
    bucket = await begun_bucket(harness, "t")
    result = {"clock": "2026-05-08T02:00:00Z", "raw": [1, None, "ü"]}
    await harness.store.record_results(bucket.lease, [success(bucket, how=how, result=result)])
    await harness.reopen()
    found = await harness.store.get_device_command("t", "a")
    assert (found.command_status, found.error, found.how, found.result) == (DeviceStatus.SUCCESS, None, how, result)


async def test_the_history_of_attempts(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    bucket = await lease(harness, "t")
    for tries, error in ((1, ErrorWord.TIMEOUT), (2, ErrorWord.METER_BUSY)):
        await begin(harness, bucket)
        harness.clock.advance(5)
        await harness.store.record_results(
            bucket.lease, [retry(bucket, tries=tries, error=error, detail=f"the {tries}.", delay_seconds=5.0)]
        )
        harness.clock.advance(5)
    await begin(harness, bucket)
    first = Attempt(attempt=1, started_at=at(0), ended_at=at(5), error=ErrorWord.TIMEOUT, error_detail="the 1.")
    second = Attempt(attempt=2, started_at=at(10), ended_at=at(15), error=ErrorWord.METER_BUSY, error_detail="the 2.")
    running = Attempt(attempt=3, started_at=at(20))
    assert (await harness.store.get_device_command("t", "a")).attempts_made == [first, second, running]
    harness.clock.advance(5)
    await harness.store.record_results(bucket.lease, [success(bucket, tries=3)])
    ended = Attempt(attempt=3, started_at=at(20), ended_at=at(25))
    assert (await harness.store.get_device_command("t", "a")).attempts_made == [first, second, ended]


async def test_an_attempt_given_back_has_never_been(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [give_back(bucket)])
    found = await harness.store.get_device_command("t", "a")
    assert (found.command_status, found.attempts, found.attempts_made) == (DeviceStatus.PENDING, 0, [])
    assert {each.tries for each in (await begin(harness, bucket)).begun} == {1}


async def test_a_retry_waits_and_tells_until_when(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(
        bucket.lease,
        [retry(bucket, delay_seconds=30.25), retry(bucket, 1, delay_seconds=0.0)],
    )
    assert (await harness.store.get_device_command("t", "a")).next_attempt_at == at(30.25)
    assert (await harness.store.get_device_command("t", "b")).next_attempt_at is None
    await harness.store.release_bucket(bucket.lease, 0)
    harness.clock.advance(10)
    again = await lease(harness, "t")
    assert [round(device.wait_seconds, 3) for device in again.devices] == [20.25, 0.0]


async def test_a_delay_beyond_all_time_is_the_end_of_time(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [retry(bucket, delay_seconds=1e12)])
    found = (await harness.store.get_device_command("t", "a")).next_attempt_at
    assert found is not None
    assert found.year == 9999


async def test_progress_is_handed_to_the_next_session(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"])
    bucket = await begun_bucket(harness, "t")
    progress = {"block": 17, "of": "firmware ✓"}
    await harness.store.record_results(
        bucket.lease,
        [
            retry(bucket, error=None, detail=None, progress=progress, delay_seconds=0.0),
            retry(bucket, 1, delay_seconds=0),
        ],
    )
    begun = await begin(harness, bucket)
    assert {each.meter.device_id: each.progress for each in begun.begun} == {"a": progress, "b": None}
    await harness.store.record_results(bucket.lease, [retry(bucket, tries=2, delay_seconds=0.0)])
    begun = await harness.store.begin_attempts(bucket.lease, bucket.devices[:1])
    assert begun.begun[0].progress == progress


async def test_progress_of_a_session_that_runs_is_kept_at_once(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"])
    bucket = await begun_bucket(harness, "t")
    a, b = (device.position for device in bucket.devices)
    for block in range(3):
        await harness.store.keep_progress(bucket.lease, a, 1, {"block": block, "of": "firmware ✓"})
    await harness.store.keep_progress(bucket.lease, b, 1, ["x" * 1_500_000])
    harness.clock.advance(61)  # the worker is gone, and what it kept is not
    again = await lease(harness, "t", "another")
    assert [device.status for device in again.devices] == [DeviceStatus.SENT] * 2
    with pytest.raises(LeaseLost):
        await harness.store.keep_progress(bucket.lease, a, 1, {"block": 9})
    results = [retry(again, number, delay_seconds=0.0) for number in range(2)]
    await harness.store.record_results(again.lease, results)
    with pytest.raises(LeaseLost):  # it is not SENT
        await harness.store.keep_progress(again.lease, a, 1, {"block": 9})
    begun = await begin(harness, again)
    assert [each.progress for each in begun.begun] == [{"block": 2, "of": "firmware ✓"}, ["x" * 1_500_000]]
    with pytest.raises(LeaseLost):  # in another attempt
        await harness.store.keep_progress(again.lease, a, 1, {"block": 9})
    with pytest.raises(ValueError, match="position"):
        await harness.store.keep_progress(again.lease, b + 10, 2, {"block": 9})
    await harness.store.record_results(again.lease, [success(again, number, tries=2) for number in range(2)])
    with pytest.raises(LeaseLost):
        await harness.store.keep_progress(again.lease, a, 2, {"block": 9})


async def test_progress_of_many_sessions_of_one_bucket_at_a_time(harness: StoreHarness) -> None:
    await create(harness, "t", [f"m{number:02d}" for number in range(40)])
    bucket = await begun_bucket(harness, "t")
    keep = harness.store.keep_progress
    ends = harness.store.record_results(bucket.lease, [success(bucket, 39)])
    await asyncio.gather(ends, *(keep(bucket.lease, each.position, 1, each.device_id) for each in bucket.devices[:39]))
    results = [retry(bucket, number, delay_seconds=0.0) for number in range(39)]
    await harness.store.record_results(bucket.lease, results)
    begun = await harness.store.begin_attempts(bucket.lease, bucket.devices[:39])
    assert all(each.progress == each.meter.device_id for each in begun.begun)
    assert len(begun.begun) == 39


async def test_many_results_that_all_differ(harness: StoreHarness) -> None:
    count = 40
    await create(harness, "t", [f"m{number:02d}" for number in range(count)])
    bucket = await begun_bucket(harness, "t")
    results = [retry(bucket, number, detail=f"no. {number}", delay_seconds=1.0 + number) for number in range(count)]
    assert len(await harness.store.record_results(bucket.lease, results)) == count
    for number in (0, 17, count - 1):
        found = await harness.store.get_device_command("t", f"m{number:02d}")
        assert (found.error_detail, found.next_attempt_at) == (f"no. {number}", at(1 + number))
    await check_counts(harness, "t")


async def test_an_empty_batch_is_nothing(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    bucket = await lease(harness, "t")
    assert (await harness.store.begin_attempts(bucket.lease, [])).begun == []
    assert await harness.store.record_results(bucket.lease, []) == []
    assert await harness.store.refuse_devices(bucket.lease, [], ErrorWord.UNKNOWN_DEVICE, "gone") == []
    await check_counts(harness, "t")


async def test_errors_are_counted_by_word(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b", "c", "d"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(
        bucket.lease,
        [
            failure(bucket, ErrorWord.TIMEOUT, 0),
            retry(bucket, 1),
            failure(bucket, ErrorWord.TIMEOUT, 2, detail="another"),
            success(bucket, 3),
        ],
    )
    found = [(each.command_status, each.error, each.devices) for each in await harness.store.error_counts("t")]
    assert found == [
        (DeviceStatus.FAILED, ErrorWord.TIMEOUT, 2),
        (DeviceStatus.PENDING, ErrorWord.TIMEOUT, 1),
    ]
    with pytest.raises(NotFound):
        await harness.store.error_counts("no such task")


async def test_what_is_not_there_is_not_found(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    for call in (
        harness.store.get_device_command("t", "b"),
        harness.store.get_device_command("u", "a"),
        harness.store.cancel_task("u"),
        harness.store.pause_task("u"),
        harness.store.resume_task("u"),
    ):
        with pytest.raises(NotFound):
            await call
    assert await harness.store.lease_bucket(987654, "w", 60) is None
    unknown = Result(1, "a", 1, DeviceStatus.SUCCESS, 1)
    assert await harness.store.record_late_result("u", unknown) is None
