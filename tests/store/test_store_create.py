"""Creating tasks: what is stored, idempotency, unknown devices, odd ids, edges."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from tests.store.fleet import at, check_counts, create, lease, meter, new_task, status_of
from tests.store.harness import EPOCH, StoreHarness

from metercast.domain.problem import NotFound
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import Counts
from metercast.store.tasks import UnknownDevices


@pytest.mark.parametrize("count", [1, 49, 50, 51, 100, 101])
async def test_devices_are_stored_in_their_order_whatever_the_bucket(harness: StoreHarness, count: int) -> None:
    ids = [f"m{number * 7919 % 1000:04d}" for number in range(count)]
    task = await create(harness, "t", ids)
    assert task.counts == Counts(count, count)
    rows = await harness.raw_devices("t")
    assert [row["device_id"] for row in rows] == ids
    assert {(row["task_id"], row["command_status"], row["error_message"]) for row in rows} == {("t", "PENDING", None)}
    assert {row["last_updated"] for row in rows} == {EPOCH}
    due = await harness.store.due_buckets(100)
    assert len(due) == -(-count // 50)
    leased = [await harness.store.lease_bucket(each.bucket_id, "w", 60) for each in due]
    assert [device.device_id for bucket in leased if bucket for device in bucket.devices] == ids


async def test_a_large_task(harness: StoreHarness) -> None:
    count = 100_000 // harness.slowness
    ids = [f"meter-{number:06d}" for number in range(count)]
    task = await create(harness, "t", ids, register=False, bucket_size=500)
    assert task.counts == Counts(count, count)
    assert len(await harness.store.due_buckets(1000)) == count // 500
    rows = await harness.raw_devices("t")
    assert [row["device_id"] for row in rows] == ids


async def test_the_header_is_stored_as_given(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter("m")])
    asked = new_task(
        "t",
        command_id="c'\"%☃",
        command_type="SET_TOU",
        command_params={"calendarName": "ﾄ", "days": [{"id": 1}], "x": None},
        scheduled_at=at(3600),
        expires_at=at(7200),
        priority=9,
        requested_by="böb",
        retry=RetryPolicy(max_attempts=7, initial_delay_seconds=0.5),
        parent_task_id="older",
        follow_up_at=at(9000),
    )
    created = await harness.store.create_task(asked, ["m"], allow_unknown=False)
    await harness.reopen()
    task = await harness.store.get_task("t")
    assert task == created.task
    assert task.status is TaskStatus.QUEUED
    names = ("command_id", "command_type", "command_params", "scheduled_at", "expires_at", "priority", "requested_by")
    for name in (*names, "retry", "parent_task_id", "follow_up_at"):
        assert getattr(task, name) == getattr(asked, name), name
    assert await harness.raw_task("t") == {
        "task_id": "t",
        "command_id": "c'\"%☃",
        "command_type": "SET_TOU",
        "scheduled_at": at(3600),
        "status": "QUEUED",
        "created_at": EPOCH,
        "updated_at": EPOCH,
        "outcome": None,
    }


async def test_the_same_request_finds_the_same_task(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"])
    harness.clock.advance(10)
    again = await harness.store.create_task(
        new_task("t", scheduled_at=harness.clock.now), ["a", "b"], allow_unknown=False
    )
    assert (again.is_new, again.same_body, again.task.created_at) == (False, True, EPOCH)
    other = await harness.store.create_task(new_task("t", body_hash="another"), ["a"], allow_unknown=False)
    assert (other.is_new, other.same_body) == (False, False)
    assert len(await harness.raw_devices("t")) == 2


async def test_a_repeated_request_is_found_even_where_its_devices_are_gone(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    await harness.store.cancel_task("t")
    await harness.store.delete_device("a")
    again = await harness.store.create_task(new_task("t"), ["a"], allow_unknown=False)
    assert not again.is_new


async def test_unknown_devices_create_nothing(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter("known")])
    ids = ["known", *(f"x{number}" for number in range(25))]
    with pytest.raises(UnknownDevices) as caught:
        await harness.store.create_task(new_task("t"), ids, allow_unknown=False)
    assert caught.value.count == 25
    assert caught.value.first == [f"x{number}" for number in range(10)]
    assert await harness.raw_task("t") is None
    assert await harness.raw_devices("t") == []
    with pytest.raises(NotFound):
        await harness.store.get_task("t")


async def test_allowed_unknown_devices_have_no_channel(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter("known")])
    await harness.store.create_task(new_task("t"), ["known", "unknown"], allow_unknown=True)
    bucket = await lease(harness, "t")
    assert [(each.device_id, each.channel, each.max_sessions) for each in bucket.devices] == [
        ("known", "gateway-1", 2),
        ("unknown", None, 1),
    ]


ODD_IDS = [
    "ключ-\U0001f50c", "o'brien", 'say "hi"', "100%_", "a/b?c#d", "-- ; DROP TABLE tasks", "x" * 128, "é", "e\u0301",
    "\u202fnarrow".strip(), "123", "1e5", "null", "[]", "{}", "\\", "\\u0041", "A", "a", "\U0010fffd",
]  # fmt: skip


async def test_odd_device_ids_stay_themselves(harness: StoreHarness) -> None:
    await create(harness, "t", ODD_IDS)
    assert [row["device_id"] for row in await harness.raw_devices("t")] == ODD_IDS
    bucket = await lease(harness, "t")
    begun = await harness.store.begin_attempts(bucket.lease, bucket.devices)
    names = {device.position: device.device_id for device in bucket.devices}
    assert sorted(ODD_IDS) == sorted(each.meter.device_id for each in begun.begun)
    assert all(names[each.position] == each.meter.device_id for each in begun.begun)
    for each in ODD_IDS:
        assert await status_of(harness, "t", each) == ("SENT", None)
        assert (await harness.store.get_device_command("t", each)).command_status is DeviceStatus.SENT
    await check_counts(harness, "t")


@pytest.mark.parametrize(
    "scheduled_at",
    [
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2))),
        at(0.000001),
    ],
)
async def test_a_future_due_time_is_kept_to_the_microsecond(harness: StoreHarness, scheduled_at: datetime) -> None:
    task = await create(harness, "t", ["m"], scheduled_at=scheduled_at, expires_at=datetime.max.replace(tzinfo=UTC))
    assert task.scheduled_at == scheduled_at
    assert task.scheduled_at.utcoffset() == timedelta(0)
    assert task.status is TaskStatus.QUEUED
    assert await harness.store.due_buckets(10) == []


@pytest.mark.parametrize("scheduled_at", [datetime(1, 1, 1, tzinfo=UTC), at(-1), at(0)])
async def test_a_due_time_of_the_past_is_now(harness: StoreHarness, scheduled_at: datetime) -> None:
    task = await create(harness, "t", ["m"], scheduled_at=scheduled_at)
    assert (task.scheduled_at, task.status) == (EPOCH, TaskStatus.IN_PROGRESS)
    stored = await harness.raw_task("t")
    assert stored is not None
    assert (stored["scheduled_at"], stored["status"]) == (EPOCH, "IN_PROGRESS")
    assert len(await harness.store.due_buckets(10)) == 1


async def test_a_task_starts_when_it_is_due_and_not_before(harness: StoreHarness) -> None:
    await create(harness, "t", ["m"], scheduled_at=at(10))
    harness.clock.advance(9.999999)
    assert await harness.store.start_due_tasks() == []
    assert await harness.store.due_buckets(10) == []
    harness.clock.advance(0.000001)
    assert await harness.store.start_due_tasks() == ["t"]
    assert await harness.store.start_due_tasks() == []
    assert len(await harness.store.due_buckets(10)) == 1
    stored = await harness.raw_task("t")
    assert stored is not None
    assert (stored["status"], stored["updated_at"]) == ("IN_PROGRESS", at(10))
