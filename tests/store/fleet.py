"""Meters, tasks and results for tests of a store, and what must always hold."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from tests.store.harness import EPOCH, StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.outcome import How
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus
from metercast.domain.task import Counts, DeviceCommand, Task
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Begun, LeasedBucket, Result
from metercast.store.devices import MeterWrite
from metercast.store.tasks import NewTask

LEASE = 60.0


def meter(
    device_id: str, document: bytes = b'{"connection":{"host":"10.0.0.1"}}', sealed: bytes | None = None
) -> MeterWrite:
    return MeterWrite(device_id, document, sealed, "gateway-1", 2)


def new_task(task_id: str, **changes: Any) -> NewTask:
    fields: dict[str, Any] = {
        "task_id": task_id,
        "body_hash": "hash-of-" + task_id,
        "command_id": "681dce4358cba50614cee672",
        "command_type": "READ_CLOCK",
        "conflict_group": ConflictGroup.NONE,
        "command_params": None,
        "scheduled_at": EPOCH,
        "expires_at": EPOCH + timedelta(days=1),
        "priority": 4,
        "requested_by": None,
        "retry": RetryPolicy(),
        "bucket_size": 50,
    }
    return NewTask(**(fields | changes))


async def create(
    harness: StoreHarness, task_id: str, devices: Sequence[str], *, register: bool = True, **changes: Any
) -> Task:
    if register:
        await harness.store.put_devices([meter(each) for each in devices])
    changes.setdefault("scheduled_at", harness.clock.now)
    created = await harness.store.create_task(new_task(task_id, **changes), devices, allow_unknown=not register)
    assert created.is_new
    return created.task


async def lease(harness: StoreHarness, task_id: str, owner: str = "worker") -> LeasedBucket:
    """The task's first bucket that is due."""
    due = [each for each in await harness.store.due_buckets(1000) if each.task_id == task_id]
    assert due, f"nothing of {task_id} is due"
    leased = await harness.store.lease_bucket(due[0].bucket_id, owner, LEASE)
    assert leased is not None
    return leased


async def begin(harness: StoreHarness, bucket: LeasedBucket, *device_ids: str) -> Begun:
    """All devices of the bucket, or those."""
    devices = [each for each in bucket.devices if not device_ids or each.device_id in device_ids]
    return await harness.store.begin_attempts(bucket.lease, devices)


async def begun_bucket(harness: StoreHarness, task_id: str, owner: str = "worker") -> LeasedBucket:
    """Leased, and all of it SENT."""
    bucket = await lease(harness, task_id, owner)
    begun = await begin(harness, bucket)
    assert len(begun.begun) == len(bucket.devices)
    return bucket


def success(bucket: LeasedBucket, index: int = 0, tries: int = 1, **changes: Any) -> Result:
    device = bucket.devices[index]
    fields: dict[str, Any] = {"how": How.DONE} | changes
    return Result(device.position, device.device_id, tries, DeviceStatus.SUCCESS, 1, **fields)


def failure(bucket: LeasedBucket, error: ErrorWord, index: int = 0, tries: int = 1, detail: str = "detail") -> Result:
    device = bucket.devices[index]
    return Result(device.position, device.device_id, tries, DeviceStatus.FAILED, 1, 0, error, detail)


def retry(bucket: LeasedBucket, index: int = 0, tries: int = 1, **changes: Any) -> Result:
    device = bucket.devices[index]
    fields: dict[str, Any] = {"error": ErrorWord.TIMEOUT, "detail": "no answer", "delay_seconds": 30.0} | changes
    return Result(device.position, device.device_id, tries, DeviceStatus.PENDING, 1, **fields)


def give_back(bucket: LeasedBucket, index: int = 0, tries: int = 1, **changes: Any) -> Result:
    device = bucket.devices[index]
    return Result(device.position, device.device_id, tries, DeviceStatus.PENDING, 0, count_try=False, **changes)


def counted(rows: Iterable[dict[str, Any]]) -> Counts:
    """The counts that the stored rows mean."""
    by = Counter(row["command_status"] for row in rows)
    return Counts(by.total(), by["PENDING"], by["SENT"], by["SUCCESS"], by["FAILED"], by["CANCELLED"])


async def check_counts(harness: StoreHarness, *task_ids: str) -> None:
    """Counts are the rows, and sum to total."""
    for task_id in task_ids:
        task = await harness.store.get_task(task_id)
        assert task.counts == counted(await harness.raw_devices(task_id))


async def snapshot(harness: StoreHarness, *task_ids: str) -> list[Any]:
    """All that is stored of these tasks, in the fixed names."""
    return [(await harness.raw_task(each), await harness.raw_devices(each)) for each in task_ids]


async def status_of(harness: StoreHarness, task_id: str, device_id: str) -> tuple[str, str | None]:
    rows = {row["device_id"]: row for row in await harness.raw_devices(task_id)}
    return rows[device_id]["command_status"], rows[device_id]["error_message"]


class Spool(Sequence[str]):
    """Device ids that are nowhere in memory at once. Slices only, as a file would give them.

    `at` maps the number of a device to what is called before a slice with it is given; it may raise or wait. Slices are
    read on threads.
    """

    def __init__(self, size: int, prefix: str = "m", at: Mapping[int, Callable[[], object]] | None = None) -> None:
        self._size = size
        self._prefix = prefix
        self._at = at or {}
        self.longest = 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: Any) -> Any:
        start, stop, step = index.indices(self._size)
        assert step == 1
        self.longest = max(self.longest, stop - start)
        for number, call in self._at.items():
            if start <= number < stop:
                call()
        return self.ids(start, stop)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("read by slices only")

    def ids(self, start: int = 0, stop: int | None = None) -> list[str]:
        return [f"{self._prefix}{number:06d}" for number in range(start, self._size if stop is None else stop)]


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 20.0) -> None:
    """Waits until what is awaited is true."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 (it asks a store)
            await asyncio.sleep(0.01)


async def sweep(harness: StoreHarness, limit: int = 1000) -> int:
    """All there is to sweep; the number of rows."""
    swept = 0
    while rows := await harness.store.sweep_unsealed(limit):
        swept += rows
    return swept


def parsed(pieces: Iterable[bytes]) -> list[DeviceCommand]:
    """What the pieces of a stream are, joined."""
    return msgspec.json.decode(b"[" + b"".join(pieces) + b"]", type=list[DeviceCommand])


async def streamed(harness: StoreHarness, task_id: str) -> list[DeviceCommand]:
    return parsed([piece async for piece in harness.store.stream_devices(task_id)])


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)
