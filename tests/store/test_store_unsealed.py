"""Tasks that are not sealed: nobody sees them, nothing moves them, and what nobody creates any longer is swept."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.store.fleet import (
    Spool,
    at,
    begin,
    begun_bucket,
    check_counts,
    create,
    lease,
    meter,
    new_task,
    streamed,
    success,
    sweep,
    until,
)
from tests.store.harness import StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.problem import NotFound
from metercast.domain.states import TaskStatus
from metercast.store.errors import StoreUnavailable
from metercast.store.tasks import UNSEALED_SECONDS, DeviceQuery, TaskQuery

CHANGES: dict[str, Any] = {"bucket_size": 500, "expires_at": at(30), "conflict_group": ConflictGroup.RELAY}


class Creation:
    """The creation of a large task that waits in its last chunk, with much of it stored."""

    def __init__(self, harness: StoreHarness, task_id: str) -> None:
        self._held = threading.Event()
        self._waits = threading.Event()
        self.size = 2 * harness.create_chunk + 1
        self.spool = Spool(self.size, at={self.size - 1: self._wait})
        create = harness.store.create_task(new_task(task_id, **CHANGES), self.spool, allow_unknown=True)
        self.call = asyncio.create_task(create)

    def _wait(self) -> None:
        self._waits.set()
        assert self._held.wait(60)

    async def in_the_middle(self, harness: StoreHarness) -> None:
        async def stored() -> bool:
            return self._waits.is_set() and await harness.raw_rows() > 10

        await until(stored)

    def go_on(self) -> None:
        self._held.set()


@contextlib.asynccontextmanager
async def creation(harness: StoreHarness, task_id: str = "t") -> AsyncIterator[Creation]:
    each = Creation(harness, task_id)
    try:
        await each.in_the_middle(harness)
        yield each
    finally:
        each.go_on()
        await asyncio.gather(each.call, return_exceptions=True)


class DiskGone(Exception):
    """What a spool may raise."""


async def died(harness: StoreHarness, task_id: str = "t") -> None:
    """Leaves a task that is not sealed, its creation ended by the last chunk."""

    def fail() -> None:
        raise DiskGone

    size = 2 * harness.create_chunk + 1
    with pytest.raises(DiskGone):
        await harness.store.create_task(
            new_task(task_id, **CHANGES), Spool(size, at={size - 1: fail}), allow_unknown=True
        )


async def check_invisible(harness: StoreHarness, task_id: str) -> None:
    store = harness.store
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: store.get_task(task_id),
        lambda: store.list_devices(task_id, DeviceQuery(), 10, None),
        lambda: store.get_device_command(task_id, "m000000"),
        lambda: store.error_counts(task_id),
        lambda: streamed(harness, task_id),
        lambda: store.cancel_task(task_id),
        lambda: store.pause_task(task_id),
        lambda: store.resume_task(task_id),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call()
    with pytest.raises(NotFound):
        _ = [part async for part in store.export_task_devices(task_id)]
    assert task_id not in [task.task_id async for part in store.export_tasks() for task in part]
    for query in (
        TaskQuery(),
        TaskQuery(command_id=new_task(task_id).command_id),
        TaskQuery(device_id="m000000"),
        TaskQuery(status=TaskStatus.QUEUED),
        TaskQuery(command_type="READ_CLOCK", created_from=at(-1)),
    ):
        assert task_id not in [task.task_id for task in (await store.list_tasks(query, 100, None)).items]
    before = await harness.raw_devices(task_id)
    assert task_id not in await store.start_due_tasks()
    assert task_id not in await store.expire_due()
    assert task_id not in [task.task_id for task in await store.finalise_ended()]
    assert task_id not in [each.task_id for each in await store.due_buckets(1000)]
    assert await store.count_ended(at(1e6)) == 0
    assert await store.retire_tasks(at(1e6), 100) == 0
    assert await harness.raw_devices(task_id) == before


async def test_a_task_that_is_being_created_is_invisible_to_every_call(harness: StoreHarness) -> None:
    async with creation(harness) as large:
        await check_invisible(harness, "t")
        harness.clock.advance(40)  # past its expiry
        await check_invisible(harness, "t")
        large.go_on()
        created = await large.call
    assert created.task.counts.total == large.size
    assert [row["device_id"] for row in await harness.raw_devices("t")] == large.spool.ids()


async def test_it_has_no_place_in_the_order_on_a_meter(harness: StoreHarness) -> None:
    """Neither does it hold what comes later, nor is it superseded; once sealed it is the newest."""
    async with creation(harness) as large:
        harness.clock.advance(1)
        await create(harness, "small", ["m000000"], conflict_group=ConflictGroup.RELAY)
        bucket = await begun_bucket(harness, "small")
        large.go_on()
        await large.call
    await harness.store.record_results(bucket.lease, [success(bucket)])
    harness.clock.advance(1)
    await harness.store.put_devices([meter(each) for each in large.spool.ids(0, 500)])
    buckets = [await lease(harness, "t") for _ in await harness.store.due_buckets(1000)]
    (mine,) = [each for each in buckets if "m000000" in [device.device_id for device in each.devices]]
    begun = await begin(harness, mine, "m000000")
    assert [each.meter.device_id for each in begun.begun] == ["m000000"]


async def test_a_meter_may_go_while_only_an_unsealed_task_names_it(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter("m000000")])
    async with creation(harness):
        await harness.store.delete_device("m000000")
        with pytest.raises(NotFound):
            await harness.store.get_device("m000000")


async def test_what_lives_is_not_swept(harness: StoreHarness) -> None:
    async with creation(harness) as large:
        rows = await harness.raw_rows()
        assert await harness.store.sweep_unsealed(1000) == 0
        harness.clock.advance(UNSEALED_SECONDS - 1)
        assert await harness.store.sweep_unsealed(1000) == 0
        assert await harness.raw_rows() == rows
        large.go_on()
        assert (await large.call).is_new
    harness.clock.advance(UNSEALED_SECONDS * 2)
    assert await harness.store.sweep_unsealed(1000) == 0  # sealed
    await check_counts(harness, "t")


async def test_the_same_task_is_created_by_one_at_a_time(harness: StoreHarness) -> None:
    async with creation(harness) as large:
        for ids in (large.spool, ["a"]):
            with pytest.raises(StoreUnavailable, match="being created"):
                await harness.store.create_task(new_task("t"), ids, allow_unknown=True)
        large.go_on()
        await large.call
    again = await harness.store.create_task(new_task("t"), large.spool, allow_unknown=True)
    assert (again.is_new, again.task.counts.total) == (False, large.size)
    assert len(await harness.raw_devices("t")) == large.size


@pytest.mark.parametrize(("chunks", "more"), [(0, 1), (1, 0), (1, 1)])
async def test_created_at_once_from_many_sides_it_is_created_once(
    harness: StoreHarness, chunks: int, more: int
) -> None:
    other = await harness.another()
    stores = [harness.store, harness.store, other or harness.store, other or harness.store]
    spool = Spool(chunks * harness.create_chunk + more)
    task = new_task("t", bucket_size=500)
    ends = await asyncio.gather(
        *(store.create_task(task, spool, allow_unknown=True) for store in stores), return_exceptions=True
    )
    created = [end for end in ends if not isinstance(end, BaseException)]
    assert [end for end in ends if isinstance(end, BaseException) and not isinstance(end, StoreUnavailable)] == []
    assert [each.is_new for each in created].count(True) == 1
    assert [row["device_id"] for row in await harness.raw_devices("t")] == spool.ids()
    await check_counts(harness, "t")
    assert await sweep(harness) == 0


async def test_what_raised_is_swept_little_by_little(harness: StoreHarness) -> None:
    await create(harness, "other", ["a", "b"])
    rows = await harness.raw_rows()
    await died(harness)
    left = await harness.raw_rows()
    assert left > rows
    await check_invisible(harness, "t")
    most = 0
    while swept := await harness.store.sweep_unsealed(1000):
        most = max(most, swept)
        left = await harness.raw_rows()
        await check_counts(harness, "other")
    assert 0 < most <= 1500
    assert left == rows
    assert await harness.raw_task("t") is None
    assert await harness.raw_devices("t") == []


async def test_cancelled_in_the_middle_it_is_not_there(harness: StoreHarness) -> None:
    async with creation(harness) as large:
        large.call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await large.call
        large.go_on()
        await check_invisible(harness, "t")
        assert await sweep(harness) > 0  # without waiting for its time
        assert await harness.raw_rows() == 0


async def test_the_same_id_can_be_created_over_what_died(harness: StoreHarness) -> None:
    for size in (3, 2 * harness.create_chunk + 1):
        await died(harness)
        spool = Spool(size, prefix="n")
        created = await harness.store.create_task(new_task("t", bucket_size=500), spool, allow_unknown=True)
        assert (created.is_new, created.task.counts.total) == (True, size)
        assert [row["device_id"] for row in await harness.raw_devices("t")] == spool.ids()
        assert await sweep(harness) == 0
        await check_counts(harness, "t")
        await harness.store.cancel_task("t")
        assert await harness.store.retire_tasks(at(1), 10) == 1


async def test_a_creation_that_slept_too_long_writes_nothing_more(harness: StoreHarness) -> None:
    async with creation(harness) as large:
        harness.clock.advance(UNSEALED_SECONDS + 1)
        assert await harness.store.sweep_unsealed(1000) > 0
        large.go_on()
        with pytest.raises(StoreUnavailable):
            await large.call
    await sweep(harness)
    assert await harness.raw_rows() == 0


async def test_another_creation_may_take_over_from_one_that_slept(harness: StoreHarness) -> None:
    async with creation(harness) as large:
        harness.clock.advance(UNSEALED_SECONDS + 1)
        spool = Spool(harness.create_chunk + 1, prefix="n")
        created = await harness.store.create_task(new_task("t", bucket_size=500), spool, allow_unknown=True)
        assert created.is_new
        large.go_on()
        with pytest.raises(StoreUnavailable):
            await large.call
    assert [row["device_id"] for row in await harness.raw_devices("t")] == spool.ids()
    assert (await harness.store.get_task("t")).counts.total == len(spool)
    assert len([each async for part in harness.store.export_task_devices("t") for each in part]) == len(spool)


async def test_it_is_gone_after_a_restart_too(harness: StoreHarness) -> None:
    await died(harness)
    await harness.reopen()
    await check_invisible(harness, "t")
    harness.clock.advance(UNSEALED_SECONDS + 1)
    assert await sweep(harness) > 0
    assert await harness.raw_rows() == 0


async def test_leases_of_other_tasks_are_untouched_by_a_sweep(harness: StoreHarness) -> None:
    await create(harness, "other", ["a", "b"])
    await died(harness)
    bucket = await lease(harness, "other")
    await begin(harness, bucket)
    await sweep(harness)
    moved = await harness.store.record_results(bucket.lease, [success(bucket, n) for n in range(2)])
    assert len(moved) == 2
    await check_counts(harness, "other")
