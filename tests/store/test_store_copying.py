"""The contract of copying, piece by piece; tests/store/test_store_transfer.py copies whole stores."""

from datetime import timedelta

import pytest
from tests.store.fleet import at, begun_bucket, check_counts, create, success, sweep
from tests.store.harness import StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.problem import NotFound
from metercast.store.copying import CounterRecord, DeviceRecord, TaskRecord
from metercast.store.counters import CounterName
from metercast.store.tasks import UNSEALED_SECONDS, TaskQuery

SIZE, BUCKET = 120, 50


async def taken(harness: StoreHarness, task_id: str = "t") -> tuple[TaskRecord, list[list[DeviceRecord]]]:
    """A task of three buckets, half of its first bucket done, taken out of the store and deleted there."""
    await create(harness, task_id, [f"m{number:03d}" for number in range(SIZE)], conflict_group=ConflictGroup.CLOCK)
    bucket = await begun_bucket(harness, task_id)
    await harness.store.record_results(bucket.lease, [success(bucket, n, result=n) for n in range(0, BUCKET, 2)])
    (task,) = [each async for part in harness.store.export_tasks() for each in part if each.task_id == task_id]
    pieces = [part async for part in harness.store.export_task_devices(task_id)]
    assert [device.device_id for part in pieces for device in part] == [f"m{number:03d}" for number in range(SIZE)]
    assert max(map(len, pieces)) <= BUCKET
    await harness.store.release_owner("")
    await harness.store.cancel_task(task_id)
    again = await harness.store.lease_bucket(bucket.lease.bucket_id, "w", 60)
    assert again is not None
    await harness.store.record_results(again.lease, [success(again, n) for n in range(len(again.devices))])
    await harness.store.release_bucket(again.lease, 0)
    await harness.store.finalise_ended()
    assert await harness.store.retire_tasks(at(1e6), 10) == 1
    await sweep(harness)
    assert await harness.raw_rows() == 0
    return task, pieces


async def put(harness: StoreHarness, task: TaskRecord, pieces: list[list[DeviceRecord]], times: int = 1) -> None:
    first = 0
    for piece in pieces:
        for _ in range(times):
            await harness.store.import_task_devices(task, first, piece)
        first += len(piece)


async def test_an_import_is_not_seen_before_it_is_sealed(harness: StoreHarness) -> None:
    task, pieces = await taken(harness)
    assert await harness.store.begin_import(task)
    for count in range(len(pieces) + 1):
        with pytest.raises(NotFound):
            await harness.store.get_task("t")
        assert (await harness.store.list_tasks(TaskQuery(), 10, None)).items == []
        assert await harness.store.due_buckets(10) == []
        assert await harness.store.finalise_ended() == []
        if count < len(pieces):
            await harness.store.import_task_devices(task, count * BUCKET, pieces[count])
    await harness.store.seal_import(task)
    stored = await harness.store.get_task("t")
    assert (stored.created_at, stored.updated_at, stored.status) == (task.created_at, task.updated_at, task.status)
    assert len(await harness.store.due_buckets(10)) == 3  # what is open is due at once
    await check_counts(harness, "t")


async def test_every_step_of_an_import_may_be_repeated(harness: StoreHarness) -> None:
    task, pieces = await taken(harness)
    assert await harness.store.begin_import(task)
    assert await harness.store.begin_import(task)
    await put(harness, task, pieces, times=2)
    await harness.store.seal_import(task)
    await harness.store.seal_import(task)
    assert not await harness.store.begin_import(task)
    assert [part async for part in harness.store.export_task_devices("t")] == pieces
    await check_counts(harness, "t")


async def test_an_import_that_did_not_end_is_begun_anew(harness: StoreHarness) -> None:
    """At once, whether or not its time has run out."""
    task, pieces = await taken(harness)
    for wait in (0.0, UNSEALED_SECONDS + 1):
        assert await harness.store.begin_import(task)
        await put(harness, task, pieces[:2])
        harness.clock.advance(wait)
        await harness.reopen()
    assert await harness.store.begin_import(task)
    await put(harness, task, pieces)
    await harness.store.seal_import(task)
    assert [part async for part in harness.store.export_task_devices("t")] == pieces


async def test_an_import_that_nobody_ends_is_swept(harness: StoreHarness) -> None:
    task, pieces = await taken(harness)
    assert await harness.store.begin_import(task)
    await put(harness, task, pieces)
    assert await harness.store.sweep_unsealed(1000) == 0
    harness.clock.advance(UNSEALED_SECONDS + 1)
    assert await sweep(harness) > 0
    assert await harness.raw_rows() == 0


async def test_a_counter_never_goes_back(harness: StoreHarness) -> None:
    name = CounterName("m", "fingerprint", "4D43530000000001")
    await harness.store.import_counters([CounterRecord(name, 100)])
    assert await harness.store.reserve_counters(name, 5) == 100
    await harness.store.import_counters([CounterRecord(name, 50)])
    assert await harness.store.reserve_counters(name, 5) == 105
    assert [each async for part in harness.store.export_counters() for each in part] == [CounterRecord(name, 110)]


async def test_meters_come_with_their_times_and_replace_what_is_there(harness: StoreHarness) -> None:
    await create(harness, "t", ["b", "a"])
    harness.clock.advance(timedelta(days=1).total_seconds())
    stored = [each async for part in harness.store.export_meters() for each in part]
    assert [each.device_id for each in stored] == ["a", "b"]
    await harness.store.import_meters(stored)
    assert [each async for part in harness.store.export_meters() for each in part] == stored
    assert {each.updated_at for each in stored} == {at(0)}
