"""Large tasks: written in chunks, whole or not there, from a sequence that is nowhere in memory at once."""

import asyncio

import pytest
from tests.store.fleet import Spool, at, check_counts, meter, new_task, streamed
from tests.store.harness import StoreHarness

from metercast.domain.problem import NotFound
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import Counts
from metercast.store.tasks import DeviceQuery, UnknownDevices


@pytest.mark.parametrize(("chunks", "more"), [(1, -1), (1, 0), (1, 1), (2, 1)])
@pytest.mark.parametrize("bucket_size", [500, 333])
async def test_no_device_is_lost_or_doubled_at_the_edges_of_chunks(
    harness: StoreHarness, chunks: int, more: int, bucket_size: int
) -> None:
    count = chunks * harness.create_chunk + more
    spool = Spool(count)
    created = await harness.store.create_task(new_task("t", bucket_size=bucket_size), spool, allow_unknown=True)
    assert created.is_new
    assert created.task.counts == Counts(count, count)
    assert spool.longest <= harness.create_chunk
    ids = spool.ids()
    assert [row["device_id"] for row in await harness.raw_devices("t")] == ids
    assert [each.device_id for each in await streamed(harness, "t")] == ids
    due = await harness.store.due_buckets(1000)
    assert len(due) == -(-count // bucket_size)
    leased = [await harness.store.lease_bucket(each.bucket_id, "w", 60) for each in due]
    assert sorted(device.device_id for bucket in leased if bucket for device in bucket.devices) == ids


async def test_a_large_task_works_to_its_end(harness: StoreHarness) -> None:
    count = 100_000 // harness.slowness
    spool = Spool(count)
    await harness.store.create_task(new_task("t", bucket_size=5000), spool, allow_unknown=True)
    await harness.reopen()
    assert (await harness.store.get_task("t")).counts == Counts(count, count)
    assert [row["device_id"] for row in await harness.raw_devices("t")] == spool.ids()
    page = await harness.store.list_devices("t", DeviceQuery(), 1000, None)
    assert [device.device_id for device in page.items] == spool.ids(0, 1000)
    assert (await harness.store.get_device_command("t", f"m{count - 1:06}")).command_status is DeviceStatus.PENDING
    await harness.store.cancel_task("t")
    assert (await harness.store.get_task("t")).counts == Counts(count, 0, 0, 0, 0, count)
    assert {row["command_status"] for row in await harness.raw_devices("t")} == {"CANCELLED"}


async def test_a_large_task_is_created_when_it_is_sealed(harness: StoreHarness) -> None:
    """What was due while it was written is due at the sealing; what is due later, then."""
    spool = Spool(harness.create_chunk + 1, at={harness.create_chunk: lambda: harness.clock.advance(1)})
    due = (await harness.store.create_task(new_task("due"), spool, allow_unknown=True)).task
    assert (due.scheduled_at, due.created_at, due.updated_at, due.status) == (
        at(1), at(1), at(1), TaskStatus.IN_PROGRESS,
    )  # fmt: skip
    spool = Spool(harness.create_chunk + 1, at={harness.create_chunk: lambda: harness.clock.advance(1)})
    queued = await harness.store.create_task(new_task("queued", scheduled_at=at(100)), spool, allow_unknown=True)
    assert (queued.task.scheduled_at, queued.task.created_at, queued.task.status) == (at(100), at(2), TaskStatus.QUEUED)
    stored = await harness.raw_task("due")
    assert stored is not None
    assert (stored["scheduled_at"], stored["created_at"], stored["status"]) == (at(1), at(1), "IN_PROGRESS")


async def test_a_large_request_repeated_finds_its_task_and_reads_nothing(harness: StoreHarness) -> None:
    spool = Spool(harness.create_chunk + 1)
    await harness.store.create_task(new_task("t", bucket_size=500), spool, allow_unknown=True)
    before = await harness.raw_rows()
    again = await harness.store.create_task(new_task("t", bucket_size=500), spool, allow_unknown=False)
    assert (again.is_new, again.same_body) == (False, True)
    other = await harness.store.create_task(new_task("t", body_hash="another"), spool, allow_unknown=False)
    assert (other.is_new, other.same_body) == (False, False)
    assert await harness.raw_rows() == before


@pytest.mark.parametrize("unknown", ["first", "across", "last", "many"])
async def test_unknown_devices_of_any_chunk_create_nothing(harness: StoreHarness, unknown: str) -> None:
    chunk = harness.create_chunk
    places = {"first": [0], "across": [chunk - 1, chunk], "last": [2 * chunk], "many": range(5, 2 * chunk, 100)}
    spool = Spool(2 * chunk + 1)
    missing = [spool.ids(number, number + 1)[0] for number in places[unknown]]
    known = sorted(set(spool.ids()) - set(missing))
    for start in range(0, len(known), 10_000):
        await harness.store.put_devices([meter(each) for each in known[start : start + 10_000]])
    with pytest.raises(UnknownDevices) as caught:
        await harness.store.create_task(new_task("t", bucket_size=500), spool, allow_unknown=False)
    assert (caught.value.first, caught.value.count) == (missing[:10], len(missing))
    with pytest.raises(NotFound):
        await harness.store.get_task("t")
    await harness.store.put_devices([meter(each) for each in missing])
    created = await harness.store.create_task(new_task("t", bucket_size=500), spool, allow_unknown=False)
    assert (created.is_new, created.task.counts.total) == (True, 2 * chunk + 1)
    await check_counts(harness, "t")


async def test_other_calls_go_on_while_a_large_task_is_written(harness: StoreHarness) -> None:
    """Its positions stay its own, whatever is written between its chunks."""
    spool = Spool(3 * harness.create_chunk)
    large = asyncio.create_task(
        harness.store.create_task(new_task("large", bucket_size=500), spool, allow_unknown=True)
    )
    names: list[str] = []
    while not large.done():
        names.append(f"small-{len(names)}")
        await harness.store.create_task(new_task(names[-1]), ["a", "b"], allow_unknown=True)
    assert (await large).is_new
    assert names
    for name in names:
        assert [row["device_id"] for row in await harness.raw_devices(name)] == ["a", "b"]
    ids = [each.device_id for each in await streamed(harness, "large")]
    assert ids == spool.ids()
    cursor, paged = None, []
    while True:
        page = await harness.store.list_devices("large", DeviceQuery(), 10_000, cursor)
        paged += [each.device_id for each in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert paged == ids


async def test_no_devices_no_task(harness: StoreHarness) -> None:
    with pytest.raises(ValueError, match="at least one"):
        await harness.store.create_task(new_task("t"), [], allow_unknown=True)
    assert await harness.raw_rows() == 0
