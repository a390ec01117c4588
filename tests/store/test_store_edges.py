"""Odd and long ids, and times at the edges, through everything that takes or shows them."""

from datetime import UTC, datetime, timedelta
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
    meter,
    new_task,
    retry,
    streamed,
    success,
    sweep,
)
from tests.store.harness import StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.words import ErrorWord
from metercast.store.tasks import DeviceQuery, TaskQuery

LATEST = datetime.max.replace(tzinfo=UTC)
EARLIEST = datetime.min.replace(tzinfo=UTC)

ODD_IDS = [
    "x" * 128, "y" * 127 + "\U0001f50c", "ключ" * 32, "\U0010fffd" * 128, "o'brien", 'say "hi"', "100%_", "a/b?c#d",
    "$gt", "a.b.c", "$where.x", "-- ; DROP TABLE tasks", "é", "e\u0301", "\u00a0x", " lead and trail ", "123", "0123",
    "null", "true", "[]", "{}", "\\", "\\u0041", "\\x41", "\\N", "A", "a", "\ufeffbom", "a,b", "a\u2028b", "٣", "ß",
    "SS", "1e5",
]  # fmt: skip


async def test_odd_ids_through_everything(harness: StoreHarness) -> None:
    await create(harness, "t", ODD_IDS, conflict_group=ConflictGroup.RELAY, bucket_size=7)
    assert [row["device_id"] for row in await harness.raw_devices("t")] == ODD_IDS
    assert [each.device_id for each in await streamed(harness, "t")] == ODD_IDS
    paged, cursor = [], None
    while True:
        page = await harness.store.list_devices("t", DeviceQuery(), 4, cursor)
        paged += [each.device_id for each in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert paged == ODD_IDS
    registered, cursor = [], None
    while True:
        meters = await harness.store.list_registered(None, 4, cursor)
        registered += [each.device_id for each in meters.items]
        if (cursor := meters.next_cursor) is None:
            break
    assert registered == sorted(ODD_IDS)
    for each in ODD_IDS:
        found = await harness.store.list_tasks(TaskQuery(device_id=each), 10, None)
        assert [task.task_id for task in found.items] == ["t"], each
        assert (await harness.store.get_device_command("t", each)).device_id == each
        assert (await harness.store.get_device(each)).device_id == each
        page_of_one = await harness.store.list_registered(each, 100, None)
        assert [m.device_id for m in page_of_one.items] == sorted(o for o in ODD_IDS if o.startswith(each))
    while await harness.store.due_buckets(1):
        bucket = await begun_bucket(harness, "t")
        ends = [
            success(bucket, n) if n % 2 else failure(bucket, ErrorWord.TIMEOUT, n) for n in range(len(bucket.devices))
        ]
        assert len(await harness.store.record_results(bucket.lease, ends)) == len(ends)
        await harness.store.release_bucket(bucket.lease, 0)
    await harness.store.finalise_ended()
    await check_counts(harness, "t")
    exported = [each async for part in harness.store.export_task_devices("t") for each in part]
    assert [each.device_id for each in exported] == ODD_IDS
    await harness.store.retire_tasks(at(1), 1)
    await sweep(harness)
    assert await harness.raw_rows() == 0
    for each in ODD_IDS:
        await harness.store.delete_device(each)
    assert await harness.store.count_devices() == 0


async def test_odd_task_and_command_ids(harness: StoreHarness) -> None:
    for each in ODD_IDS:
        await create(harness, each, ["m"], command_id=each, command_type="READ_CLOCK", requested_by=each)
        harness.clock.advance(1)
    listed = [task.task_id for task in (await harness.store.list_tasks(TaskQuery(), 1000, None)).items]
    assert listed == ODD_IDS[::-1]
    for each in ODD_IDS:
        task = await harness.store.get_task(each)
        assert (task.task_id, task.command_id, task.requested_by) == (each, each, each)
        found = await harness.store.list_tasks(TaskQuery(command_id=each), 10, None)
        assert [task.task_id for task in found.items] == [each]
        assert [device.device_id for device in await streamed(harness, each)] == ["m"]
        assert (await harness.store.cancel_task(each)).status is TaskStatus.CANCELLED
    exported = [task.task_id async for part in harness.store.export_tasks() for task in part]
    assert exported == sorted(ODD_IDS)


async def test_odd_details_and_values_come_through_the_stream(harness: StoreHarness) -> None:
    details = ['say "hi"', "back\\slash", "tab\tnew\nline\r", "\x01\x1f", "☃\U0001f50c", "", "</script>", "\u2028"]
    await create(harness, "t", [f"m{number}" for number in range(len(details))])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(
        bucket.lease, [failure(bucket, ErrorWord.TIMEOUT, n, detail=detail) for n, detail in enumerate(details)]
    )
    assert [each.error_detail for each in await streamed(harness, "t")] == details
    page = await harness.store.list_devices("t", DeviceQuery(), 100, None)
    assert page.items == await streamed(harness, "t")


@pytest.mark.parametrize("value", [0, 7, -1.5, True, "7", "null", [], {}, [1, {"a": None}], {"": ""}, 2**53 + 1])
async def test_any_value_is_a_result(harness: StoreHarness, value: Any) -> None:
    await create(harness, "t", ["m"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [success(bucket, result=value)])
    found = (await harness.store.get_device_command("t", "m")).result
    assert (found, type(found)) == (value, type(value))


async def test_a_stream_shows_what_a_page_shows(harness: StoreHarness) -> None:
    """Every field, in every state."""
    await create(harness, "t", [f"m{number}" for number in range(60)])
    bucket = await begun_bucket(harness, "t")
    harness.clock.advance(0.000001)
    await harness.store.record_results(
        bucket.lease, [success(bucket, 0), failure(bucket, ErrorWord.TIMEOUT, 1), retry(bucket, 2, delay_seconds=0.5)]
    )
    await harness.store.cancel_task("t")
    whole = await streamed(harness, "t")
    assert whole == (await harness.store.list_devices("t", DeviceQuery(), 100, None)).items
    assert {each.command_status for each in whole} == {
        DeviceStatus.SUCCESS, DeviceStatus.FAILED, DeviceStatus.SENT, DeviceStatus.CANCELLED,
    }  # fmt: skip
    assert whole[0].last_updated == at(0.000001)


@pytest.mark.parametrize("now", [at(0), at(0.000001), EARLIEST + timedelta(days=400), LATEST - timedelta(days=1)])
async def test_tasks_at_any_time(harness: StoreHarness, now: datetime) -> None:
    harness.clock.now = now
    task = await create(harness, "t", ["m"], expires_at=LATEST)
    assert (task.created_at, task.scheduled_at, task.expires_at) == (now, now, LATEST)
    stored = await harness.raw_task("t")
    assert stored is not None
    assert (stored["created_at"], stored["scheduled_at"]) == (now, now)
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [success(bucket)])
    (device,) = await streamed(harness, "t")
    assert (device.last_updated, device.command_status) == (now, DeviceStatus.SUCCESS)
    found = await harness.store.list_tasks(TaskQuery(created_from=now, created_to=LATEST), 10, None)
    assert [each.task_id for each in found.items] == ["t"]
    assert (await harness.store.list_tasks(TaskQuery(created_to=now), 10, None)).items == []


async def test_delays_beyond_the_calendar_end_with_it(harness: StoreHarness) -> None:
    await create(harness, "t", ["m"], expires_at=LATEST)
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [retry(bucket, delay_seconds=1e12)])
    (device,) = await streamed(harness, "t")
    assert device.next_attempt_at is not None
    assert device.next_attempt_at.year == 9999
    await harness.store.release_bucket(bucket.lease, 1e12)
    assert await harness.store.due_buckets(10) == []
    await harness.reopen()
    assert (await harness.store.get_device_command("t", "m")).next_attempt_at == device.next_attempt_at


async def test_a_lease_of_any_length(harness: StoreHarness) -> None:
    await create(harness, "t", ["m"], expires_at=LATEST)
    (due,) = await harness.store.due_buckets(1)
    bucket = await harness.store.lease_bucket(due.bucket_id, "w", 1e12)
    assert bucket is not None
    harness.clock.advance(1e9)
    assert len(await harness.store.renew_leases([bucket.lease], 1e12)) == 1
    assert len((await begin(harness, bucket)).begun) == 1


async def test_expiry_to_the_microsecond(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b"], expires_at=at(10))
    harness.clock.now = at(9.999999)
    assert await harness.store.expire_due() == []
    bucket = await lease(harness, "t")
    assert len((await begin(harness, bucket, "a")).begun) == 1
    harness.clock.now = at(10)
    assert (await begin(harness, bucket, "b")).begun == []
    assert await harness.store.expire_due() == ["t"]
    assert [row["command_status"] for row in await harness.raw_devices("t")] == ["SENT", "FAILED"]


async def test_pages_by_time_to_the_microsecond(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter("m")])
    for number in range(3):
        await harness.store.create_task(new_task(f"t{number}"), ["m"], allow_unknown=False)
        harness.clock.advance(0.000001)
    query = TaskQuery(created_from=at(0.000001), created_to=at(0.000002))
    assert [task.task_id for task in (await harness.store.list_tasks(query, 10, None)).items] == ["t1"]
    first = await harness.store.list_tasks(TaskQuery(), 1, None)
    second = await harness.store.list_tasks(TaskQuery(), 1, first.next_cursor)
    assert [task.task_id for task in (*first.items, *second.items)] == ["t2", "t1"]
