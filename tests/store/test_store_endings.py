"""How tasks end: cancel, expiry, finalising, and late results."""

from datetime import datetime
from typing import Any

import msgspec
import pytest
from tests.store.fleet import (
    LEASE,
    at,
    begin,
    begun_bucket,
    check_counts,
    counted,
    create,
    failure,
    give_back,
    lease,
    retry,
    snapshot,
    status_of,
    success,
)
from tests.store.harness import StoreHarness, statuses

from metercast.domain.outcome import How
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import Counts, TaskOutcome
from metercast.domain.words import CORRECTABLE, ErrorWord
from metercast.store.attempts import LeasedBucket, Transition


async def header(harness: StoreHarness, task_id: str = "t") -> tuple[str, str | None, datetime]:
    stored = await harness.raw_task(task_id)
    assert stored is not None
    return stored["status"], stored["outcome"], stored["updated_at"]


# Finalising


@pytest.mark.parametrize(
    ("good", "bad", "status", "outcome"),
    [
        (2, 0, TaskStatus.COMPLETED, TaskOutcome.SUCCEEDED),
        (1, 1, TaskStatus.COMPLETED, TaskOutcome.PARTIAL),
        (0, 2, TaskStatus.FAILED, TaskOutcome.FAILED),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
async def test_a_task_ends_with_its_last_device(
    harness: StoreHarness, good: int, bad: int, status: TaskStatus, outcome: TaskOutcome, paused: bool
) -> None:
    await create(harness, "t", ["a", "b"])
    bucket = await begun_bucket(harness, "t")
    if paused:
        await harness.store.pause_task("t")
    results = [success(bucket, n) if n < good else failure(bucket, ErrorWord.TYPE_UNMATCHED, n) for n in range(2)]
    await harness.store.record_results(bucket.lease, results[:1])
    assert await harness.store.finalise_ended() == []
    assert (await harness.store.get_task("t")).outcome is None
    await harness.store.record_results(bucket.lease, results[1:])
    harness.clock.advance(1)
    (ended,) = await harness.store.finalise_ended()
    assert (ended.status, ended.outcome, ended.counts) == (status, outcome, Counts(2, 0, 0, good, bad, 0))
    assert await header(harness) == (status, outcome, at(1))
    before = await snapshot(harness, "t")
    harness.clock.advance(1)
    assert await harness.store.finalise_ended() == []
    assert await snapshot(harness, "t") == before
    await harness.reopen()
    assert await harness.store.get_task("t") == ended


async def test_a_task_of_many_buckets_ends_with_the_last(harness: StoreHarness) -> None:
    await create(harness, "t", [f"m{number:03d}" for number in range(120)])
    for left in (2, 1, 0):
        bucket = await begun_bucket(harness, "t")
        await harness.store.record_results(bucket.lease, [success(bucket, n) for n in range(len(bucket.devices))])
        await harness.store.release_bucket(bucket.lease, 0)
        assert len(await harness.store.finalise_ended()) == (left == 0)
        await check_counts(harness, "t")


# Cancel


async def test_cancel_is_truthful(harness: StoreHarness) -> None:
    """What waits is cancelled at once, what is SENT ends by itself, what has ended stays."""
    await create(harness, "t", ["done", "bad", "sent", "waits", "new"])
    bucket = await lease(harness, "t")
    await harness.store.begin_attempts(bucket.lease, bucket.devices[:4])
    await harness.store.record_results(
        bucket.lease, [success(bucket), failure(bucket, ErrorWord.TYPE_UNMATCHED, 1), retry(bucket, 3)]
    )
    harness.clock.advance(3)
    cancelled = await harness.store.cancel_task("t")
    assert (cancelled.status, cancelled.outcome) == (TaskStatus.CANCELLED, None)
    rows = {row["device_id"]: row for row in await harness.raw_devices("t")}
    assert statuses(list(rows.values())) == {
        "done": "SUCCESS",
        "bad": "FAILED",
        "sent": "SENT",
        "waits": "CANCELLED",
        "new": "CANCELLED",
    }
    assert {name: row["last_updated"] for name, row in rows.items() if row["last_updated"] == at(3)} == {
        "waits": at(3),
        "new": at(3),
    }
    await check_counts(harness, "t")
    assert await harness.store.finalise_ended() == []
    await harness.store.record_results(bucket.lease, [success(bucket, 2)])
    (ended,) = await harness.store.finalise_ended()
    assert (ended.status, ended.outcome, ended.counts) == (
        TaskStatus.CANCELLED,
        TaskOutcome.CANCELLED,
        Counts(5, 0, 0, 2, 1, 2),
    )


@pytest.mark.parametrize("scheduled", [0, 100])
async def test_cancel_of_what_has_not_begun_ends_it_at_once(harness: StoreHarness, scheduled: float) -> None:
    await create(harness, "t", ["a", "b"], scheduled_at=at(scheduled))
    task = await harness.store.cancel_task("t")
    assert (task.status, task.outcome, task.counts) == (
        TaskStatus.CANCELLED,
        TaskOutcome.CANCELLED,
        Counts(2, 0, cancelled=2),
    )
    harness.clock.advance(200)
    assert await harness.store.start_due_tasks() == []
    assert await harness.store.due_buckets(10) == []
    assert await harness.store.finalise_ended() == []


AFTER_CANCEL: list[tuple[str, dict[str, Any], tuple[str, str | None]]] = [
    ("a transient failure", {}, ("FAILED", "Timeout")),
    ("a guess", {"verify_first": True}, ("FAILED", "OutcomeUnknown")),
    ("a checkpoint", {"error": None, "detail": None, "progress": [1]}, ("FAILED", "OutcomeUnknown")),
]


@pytest.mark.parametrize(("name", "changes", "ends"), AFTER_CANCEL, ids=[each[0] for each in AFTER_CANCEL])
async def test_nothing_goes_back_to_waiting_in_a_cancelled_task(
    harness: StoreHarness, name: str, changes: dict[str, Any], ends: tuple[str, str]
) -> None:
    """The session decided to retry before it knew of the cancel; the task must still end."""
    await create(harness, "t", ["a"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.cancel_task("t")
    moved = await harness.store.record_results(bucket.lease, [retry(bucket, **changes)])
    assert moved == [Transition("t", "a", DeviceStatus.FAILED, ErrorWord(ends[1]))]
    assert await status_of(harness, "t", "a") == ends
    await check_counts(harness, "t")
    assert [task.outcome for task in await harness.store.finalise_ended()] == [TaskOutcome.CANCELLED]


async def test_what_is_given_back_to_a_cancelled_task_is_cancelled(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.cancel_task("t")
    moved = await harness.store.record_results(bucket.lease, [give_back(bucket)])
    assert moved == [Transition("t", "a", DeviceStatus.CANCELLED, None)]
    assert await status_of(harness, "t", "a") == ("CANCELLED", None)
    assert [task.counts for task in await harness.store.finalise_ended()] == [Counts(1, 0, cancelled=1)]


# Expiry


async def test_expiry_fails_what_waits_and_leaves_what_is_sent(harness: StoreHarness) -> None:
    await create(harness, "t", ["new", "tried", "guess", "sent"], expires_at=at(10))
    bucket = await lease(harness, "t")
    await harness.store.begin_attempts(bucket.lease, bucket.devices[1:])
    await harness.store.record_results(
        bucket.lease, [retry(bucket, 1, error=ErrorWord.METER_BUSY), retry(bucket, 2, verify_first=True)]
    )
    harness.clock.advance(9.999)
    assert await harness.store.expire_due() == []
    harness.clock.advance(0.001)
    assert await harness.store.expire_due() == ["t"]
    assert await harness.store.expire_due() == []
    found = {row["device_id"]: (row["command_status"], row["error_message"]) for row in await harness.raw_devices("t")}
    assert found == {
        "new": ("FAILED", "Expired"),
        "tried": ("FAILED", "Expired"),
        "guess": ("FAILED", "OutcomeUnknown"),
        "sent": ("SENT", None),
    }
    assert "MeterBusy" in ((await harness.store.get_device_command("t", "tried")).error_detail or "")
    await check_counts(harness, "t")
    assert await harness.store.finalise_ended() == []
    # What a session gives back after the expiry has expired too.
    await harness.store.record_results(bucket.lease, [retry(bucket, 3)])
    assert await harness.store.expire_due() == ["t"]
    (ended,) = await harness.store.finalise_ended()
    assert (ended.status, ended.counts) == (TaskStatus.FAILED, Counts(4, 0, failed=4))


@pytest.mark.parametrize("status", [TaskStatus.QUEUED, TaskStatus.PAUSED])
async def test_expiry_counts_while_queued_and_paused(harness: StoreHarness, status: TaskStatus) -> None:
    await create(harness, "t", ["a"], scheduled_at=at(5), expires_at=at(10))
    if status is TaskStatus.PAUSED:
        await harness.store.pause_task("t")
    harness.clock.advance(10)
    assert await harness.store.expire_due() == ["t"]
    (ended,) = await harness.store.finalise_ended()
    assert (ended.status, ended.outcome) == (TaskStatus.FAILED, TaskOutcome.FAILED)
    assert await header(harness) == ("FAILED", "FAILED", at(10))


async def test_a_final_task_does_not_expire(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"], expires_at=at(10))
    await harness.store.cancel_task("t")
    before = await snapshot(harness, "t")
    harness.clock.advance(20)
    assert await harness.store.expire_due() == []
    assert await snapshot(harness, "t") == before


# Late results


async def guessed(harness: StoreHarness, error: ErrorWord, *, waits: bool = False) -> LeasedBucket:
    """Device a ended with `error`, b failed for sure; the lease is gone."""
    await create(harness, "t", ["a", "b"])
    bucket = await begun_bucket(harness, "t")
    first = retry(bucket, error=error) if waits else failure(bucket, error)
    await harness.store.record_results(bucket.lease, [first, failure(bucket, ErrorWord.TYPE_UNMATCHED, 1)])
    await harness.store.release_bucket(bucket.lease, 0)
    await harness.store.finalise_ended()
    return bucket


@pytest.mark.parametrize("error", sorted(CORRECTABLE))
@pytest.mark.parametrize("waits", [False, True])
async def test_a_late_success_corrects_a_guess(harness: StoreHarness, error: ErrorWord, waits: bool) -> None:
    bucket = await guessed(harness, error, waits=waits)
    assert (await header(harness))[:2] == (("IN_PROGRESS", None) if waits else ("FAILED", "FAILED"))
    harness.clock.advance(1)
    late = success(bucket, result={"value": 1}, how=How.ALREADY_SO)
    assert await harness.store.record_late_result("t", late) == Transition("t", "a", DeviceStatus.SUCCESS, None)
    assert await status_of(harness, "t", "a") == ("SUCCESS", None)
    await harness.store.finalise_ended()
    assert (await header(harness))[:2] == ("COMPLETED", "PARTIAL")
    await check_counts(harness, "t")
    found = await harness.store.get_device_command("t", "a")
    assert (found.how, found.result, found.error_detail, found.next_attempt_at) == (
        How.ALREADY_SO,
        {"value": 1},
        None,
        None,
    )
    assert [(each.attempt, each.error, each.late) for each in found.attempts_made] == [
        (1, error, False),
        (1, None, True),
    ]
    before = await snapshot(harness, "t")
    assert await harness.store.record_late_result("t", late) is None
    assert await snapshot(harness, "t") == before


@pytest.mark.parametrize("error", sorted(set(ErrorWord) - CORRECTABLE))
async def test_a_late_success_corrects_nothing_that_was_sure(harness: StoreHarness, error: ErrorWord) -> None:
    bucket = await guessed(harness, error)
    before = await snapshot(harness, "t")
    assert await harness.store.record_late_result("t", success(bucket)) is None
    assert await snapshot(harness, "t") == before
    history = (await harness.store.get_device_command("t", "a")).attempts_made
    assert [each.late for each in history] == [False, True]


@pytest.mark.parametrize(
    "changes",
    [{"device_id": "b"}, {"tries": 2}, {"tries": 0}, {"position": 987654}, {"status": DeviceStatus.FAILED}],
    ids=str,
)
async def test_a_late_result_is_guarded(harness: StoreHarness, changes: dict[str, Any]) -> None:
    bucket = await guessed(harness, ErrorWord.TIMEOUT)
    before = await snapshot(harness, "t")
    late = msgspec.structs.replace(success(bucket), **changes)
    assert await harness.store.record_late_result("t", late) is None
    assert await harness.store.record_late_result("u", success(bucket)) is None
    assert await snapshot(harness, "t") == before
    await check_counts(harness, "t")


async def test_where_a_newer_attempt_exists_a_late_result_is_only_recorded(harness: StoreHarness) -> None:
    bucket = await guessed(harness, ErrorWord.TIMEOUT, waits=True)
    again = await lease(harness, "t", "next")
    await begin(harness, again)
    before = await snapshot(harness, "t")
    assert await harness.store.record_late_result("t", success(bucket, tries=1)) is None
    assert await snapshot(harness, "t") == before
    history = (await harness.store.get_device_command("t", "a")).attempts_made
    assert [(each.attempt, each.late) for each in history] == [(1, False), (1, True), (2, False)]
    await harness.store.record_results(again.lease, [retry(again, tries=2)])
    assert await harness.store.record_late_result("t", success(bucket, tries=1)) is None
    assert await status_of(harness, "t", "a") == ("PENDING", "Timeout")


async def test_a_late_success_starts_nothing(harness: StoreHarness) -> None:
    bucket = await guessed(harness, ErrorWord.TIMEOUT)
    await harness.store.record_late_result("t", success(bucket))
    harness.clock.advance(LEASE * 10)
    assert await harness.store.due_buckets(10) == []
    assert await harness.store.lease_bucket(bucket.lease.bucket_id, "w", LEASE) is None


async def test_a_late_success_in_a_cancelled_task_leaves_it_cancelled(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"])
    bucket = await lease(harness, "t")
    await harness.store.begin_attempts(bucket.lease, bucket.devices[:1])
    await harness.store.cancel_task("t")
    await harness.store.record_results(bucket.lease, [failure(bucket, ErrorWord.OUTCOME_UNKNOWN)])
    await harness.store.finalise_ended()
    assert await harness.store.record_late_result("t", success(bucket)) is not None
    assert (await header(harness))[:2] == ("CANCELLED", "CANCELLED")
    assert (await harness.store.get_task("t")).counts == counted(await harness.raw_devices("t"))


async def test_a_late_success_in_a_task_that_still_runs(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [failure(bucket, ErrorWord.TIMEOUT)])
    assert await harness.store.record_late_result("t", success(bucket)) is not None
    assert (await harness.store.get_task("t")).counts == Counts(2, 0, sent=1, success=1)
    await check_counts(harness, "t")
