"""Many workers at once, through two stores where there can be two: one session a meter, nothing counted twice."""

import asyncio
import random
from collections import Counter

import pytest
from tests.store.fleet import check_counts, meter, new_task, streamed
from tests.store.harness import StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.outcome import How
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import Task
from metercast.domain.words import ErrorWord
from metercast.store.attempts import BegunDevice, LeasedBucket, Result
from metercast.store.contract import Store
from metercast.store.tasks import DeviceQuery, TaskQuery

GROUPS = (ConflictGroup.NONE, ConflictGroup.CLOCK, ConflictGroup.RELAY)
METERS = [f"m{number:02d}" for number in range(12)]
TASKS = 6


class Race:
    """What all workers have seen together; the event loop is their witness."""

    def __init__(self, harness: StoreHarness, stores: list[Store], seed: int) -> None:
        self.harness = harness
        self.stores = stores
        self.random = random.Random(seed)
        self.in_session: Counter[str] = Counter()
        self.most_in_session = 0
        self.order: dict[str, list[str]] = {each: [] for each in METERS}  # of begins, by meter
        self.moved: Counter[tuple[str, str, DeviceStatus]] = Counter()
        self.finalised: list[Task] = []

    async def run(self) -> None:
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(self._worker(self.stores[number % len(self.stores)], f"worker-{number}"))
            for store in self.stores:
                group.create_task(self._scheduler(store))

    @property
    def ended(self) -> bool:
        return len(self.finalised) >= TASKS

    async def _scheduler(self, store: Store) -> None:
        while not self.ended:
            await store.start_due_tasks()
            await store.expire_due()
            self.finalised += await store.finalise_ended()
            await asyncio.sleep(0.005)

    async def _worker(self, store: Store, owner: str) -> None:
        while not self.ended:
            due = await store.due_buckets(50)
            if not due:
                await asyncio.sleep(0.01)
                continue
            bucket = await store.lease_bucket(self.random.choice(due).bucket_id, owner, 600.0)
            if bucket is not None:
                await self._work(store, bucket)
                await store.release_bucket(bucket.lease, 0.0)

    async def _work(self, store: Store, bucket: LeasedBucket) -> None:
        devices = [device for device in bucket.devices if device.status is DeviceStatus.PENDING]
        assert devices == bucket.devices, "no worker leaves anything SENT"
        self.random.shuffle(devices)
        begun = await store.begin_attempts(bucket.lease, devices)
        names = {device.position: device.device_id for device in devices}
        for each in begun.begun:
            assert names[each.position] == each.meter.device_id
            self.in_session[each.meter.device_id] += 1
            self.order[each.meter.device_id].append(bucket.task.task_id)
        self.most_in_session = max(self.most_in_session, *self.in_session.values(), 0)
        await asyncio.sleep(self.random.random() * 0.004)
        results = [self._result(each) for each in begun.begun]
        for each in begun.begun:
            self.in_session[each.meter.device_id] -= 1
        moved = await store.record_results(bucket.lease, results)
        assert len(moved) == len(results)
        self.moved.update((each.task_id, each.device_id, each.status) for each in moved)

    def _result(self, begun: BegunDevice) -> Result:
        known = begun.position, begun.meter.device_id, begun.tries
        kind = self.random.random()
        if kind < 0.6:
            return Result(*known, DeviceStatus.SUCCESS, 1, how=How.DONE)
        if kind < 0.7:
            return Result(*known, DeviceStatus.FAILED, 1, 0, ErrorWord.READ_WRITE_DENIED, "no")
        if kind < 0.85:
            return Result(*known, DeviceStatus.PENDING, 1, 0, ErrorWord.METER_BUSY, "busy")
        return Result(*known, DeviceStatus.PENDING, 0, count_try=False)


async def race(harness: StoreHarness, groups: list[ConflictGroup], seed: int) -> Race:
    await harness.store.put_devices([meter(each) for each in METERS])
    for number in range(TASKS):
        ids = random.Random(seed + number).sample(METERS, len(METERS))
        task = new_task(f"t{number:02d}", bucket_size=3, conflict_group=groups[number % len(groups)])
        await harness.store.create_task(task, ids, allow_unknown=False)
        harness.clock.advance(0.001)
    other = await harness.another()
    run = Race(harness, [harness.store] if other is None else [harness.store, other], seed)
    await run.run()
    return run


@pytest.mark.parametrize(
    ("harness", "group", "seed"),
    [
        *((kind, group, seed) for kind in ("sqlite", "postgres") for group in GROUPS for seed in range(2)),
        ("mongodb", ConflictGroup.RELAY, 0),  # the group in which everything can happen
    ],
    indirect=["harness"],
)
async def test_whoever_races_a_meter_is_in_one_session_and_counts_are_rows(
    harness: StoreHarness, group: ConflictGroup, seed: int
) -> None:
    run = await race(harness, [group], seed)
    assert run.most_in_session == 1
    assert sorted(task.task_id for task in run.finalised) == [f"t{number:02d}" for number in range(TASKS)]
    ends = Counter({key[:2]: 0 for key in run.moved})
    for (task_id, device_id, status), times in run.moved.items():
        if status is not DeviceStatus.PENDING:
            ends[task_id, device_id] += times
    assert set(ends.values()) <= {0, 1}  # 0: superseded before it ended
    for number in range(TASKS):
        task_id = f"t{number:02d}"
        await check_counts(harness, task_id)
        stored = {each.device_id: each.command_status for each in await streamed(harness, task_id)}
        for device_id, status in stored.items():
            if ends[task_id, device_id]:
                assert run.moved[task_id, device_id, status] == 1
    for order in run.order.values():
        first = list(dict.fromkeys(order))
        if group is ConflictGroup.CLOCK:
            assert order == sorted(order), "what is older ends first"
        if group is ConflictGroup.RELAY:
            assert order == sorted(order), "nothing older after what is newer"
            assert first[-1] == f"t{TASKS - 1:02d}"
    if group is not ConflictGroup.RELAY:
        assert set(ends.values()) == {1}


async def test_groups_do_not_wait_for_each_other_and_share_the_meter(harness: StoreHarness) -> None:
    run = await race(harness, [ConflictGroup.RELAY, ConflictGroup.CLOCK, ConflictGroup.NONE, ConflictGroup.CALENDAR], 7)
    assert run.most_in_session == 1
    for number in range(TASKS):
        await check_counts(harness, f"t{number:02d}")


async def test_one_of_many_leases_a_bucket(harness: StoreHarness) -> None:
    await harness.store.create_task(new_task("t"), ["a"], allow_unknown=True)
    (due,) = await harness.store.due_buckets(10)
    stores = [harness.store, await harness.another() or harness.store] * 8
    leases = await asyncio.gather(
        *(store.lease_bucket(due.bucket_id, f"w{number}", 60.0) for number, store in enumerate(stores))
    )
    assert len([each for each in leases if each is not None]) == 1


async def test_one_of_many_cancels_and_the_others_are_told(harness: StoreHarness) -> None:
    ids = [f"m{number:03d}" for number in range(200)]
    await harness.store.create_task(new_task("t"), ids, allow_unknown=True)
    stores = [harness.store, await harness.another() or harness.store]
    calls = [getattr(store, action)("t") for store in stores for action in ("cancel_task", "pause_task")]
    await asyncio.gather(*calls, *(store.finalise_ended() for store in stores), return_exceptions=True)
    task = await harness.store.get_task("t")
    if task.status is TaskStatus.PAUSED:
        task = await harness.store.cancel_task("t")
    assert task.status is TaskStatus.CANCELLED
    await check_counts(harness, "t")


async def test_pages_neither_repeat_nor_skip_while_others_write(harness: StoreHarness) -> None:
    for number in range(40):
        await harness.store.create_task(new_task(f"old{number:02d}"), ["a", "b"], allow_unknown=True)
        harness.clock.advance(number % 2)
    other = await harness.another() or harness.store
    done = asyncio.Event()

    async def write(store: Store, prefix: str) -> None:
        number = 0
        while not done.is_set():
            harness.clock.advance(0.5)
            await store.create_task(new_task(f"{prefix}{number:03d}"), ["a", "b"], allow_unknown=True)
            if number < 40:
                await store.cancel_task(f"old{number:02d}") if prefix == "x" else None
            number += 1

    async def page(query: TaskQuery) -> list[str]:
        seen: list[str] = []
        cursor = None
        while True:
            part = await harness.store.list_tasks(query, 3, cursor)
            seen += [task.task_id for task in part.items]
            if (cursor := part.next_cursor) is None:
                return seen
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for store, prefix in ((harness.store, "x"), (other, "y")):
            group.create_task(write(store, prefix))
        for query in (TaskQuery(), TaskQuery(device_id="a"), TaskQuery(command_id=new_task("t").command_id)):
            seen = await page(query)
            assert len(seen) == len(set(seen))
            assert {each for each in seen if each.startswith("old")} == {f"old{number:02d}" for number in range(40)}
        done.set()


async def test_device_pages_and_streams_hold_every_device_once_while_they_move(harness: StoreHarness) -> None:
    ids = [f"m{number:03d}" for number in range(300)]
    await harness.store.put_devices([meter(each) for each in ids])
    await harness.store.create_task(new_task("t"), ids, allow_unknown=False)
    store = await harness.another() or harness.store

    async def work() -> None:
        while due := await store.due_buckets(100):
            bucket = await store.lease_bucket(due[0].bucket_id, "w", 60.0)
            assert bucket is not None
            begun = await store.begin_attempts(bucket.lease, bucket.devices)
            results = [
                Result(each.position, each.meter.device_id, each.tries, DeviceStatus.SUCCESS, 1, how=How.DONE)
                for each in begun.begun
            ]
            await store.record_results(bucket.lease, results)
            await store.release_bucket(bucket.lease, 0.0)

    working = asyncio.create_task(work())
    looks = 0
    while not working.done() or not looks:
        looks += 1
        seen: list[str] = []
        cursor = None
        while True:
            page = await harness.store.list_devices("t", DeviceQuery(), 70, cursor)
            seen += [each.device_id for each in page.items]
            if (cursor := page.next_cursor) is None:
                break
        assert seen == ids
        whole = await streamed(harness, "t")
        assert [each.device_id for each in whole] == ids
        for start in range(0, 300, 50):  # a bucket is begun and recorded in one write each
            assert len({each.command_status for each in whole[start : start + 50]}) == 1
    await working
    await check_counts(harness, "t")
