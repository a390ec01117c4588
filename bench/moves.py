"""Transitions through a store, as a worker makes them: begin a batch, record its results, several buckets in hand."""

import asyncio
import time
from collections.abc import Sequence

from metercast.domain.outcome import How
from metercast.domain.states import DeviceStatus
from metercast.store.attempts import LeasedBucket, OpenDevice, Result
from metercast.store.contract import Store

LANES = 4
LEASE_SECONDS = 600.0


async def lease_all(store: Store) -> list[LeasedBucket]:
    """Everything that is due."""
    due = await store.due_buckets(100_000)
    leased = [await store.lease_bucket(each.bucket_id, "bench", LEASE_SECONDS) for each in due]
    return [each for each in leased if each is not None]


async def store_moves(store: Store, leased: Sequence[LeasedBucket], lanes: int = LANES) -> float:
    """Seconds for PENDING -> SENT -> SUCCESS of every device in these buckets, a bucket a batch."""
    waiting = iter([(each, [_succeeded(device) for device in each.devices]) for each in leased])

    async def lane() -> None:
        for bucket, results in waiting:
            await _move(store, bucket, results)

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    return time.perf_counter() - began


async def _move(store: Store, bucket: LeasedBucket, results: list[Result]) -> None:
    begun = await store.begin_attempts(bucket.lease, bucket.devices)
    moved = await store.record_results(bucket.lease, results)
    assert len(begun.begun) == len(moved) == len(results)


def _succeeded(device: OpenDevice) -> Result:
    return Result(device.position, device.device_id, 1, DeviceStatus.SUCCESS, 1, how=How.DONE)
