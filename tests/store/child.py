"""A process of its own that works on a store until it is killed: a line for every write that it knows to be done.

Arguments: "module:function" that opens the store, the function's argument, and the seed of what the process does; with
one that starts with "large" it begins with a large task.
"""

import asyncio
import importlib
import random
import sys
from datetime import UTC, datetime, timedelta

from tests.store.fleet import Spool, meter, new_task

from metercast.domain.command import ConflictGroup
from metercast.domain.outcome import How
from metercast.domain.states import DeviceStatus, IllegalTransition
from metercast.domain.words import ErrorWord
from metercast.store.attempts import BegunDevice, LeasedBucket, Result
from metercast.store.contract import Store
from metercast.store.counters import CounterName
from metercast.store.tasks import NewTask

METERS = [f"m{number:02d}" for number in range(30)]
GROUPS = [ConflictGroup.NONE, ConflictGroup.CLOCK, ConflictGroup.RELAY]
COUNTER = CounterName("m00", "fingerprint", "4D43530000000001")


def tell(*words: object) -> None:
    print(*words, flush=True)


async def open_store(opener: str, address: str) -> tuple[Store, int]:
    """The store, and how many devices it writes at a time."""
    name, _, function = opener.partition(":")
    module = importlib.import_module(name)
    return await getattr(module, function)(address), module.CREATE_CHUNK


class Worker:
    def __init__(self, store: Store, chunk: int, seed: str) -> None:
        self._store = store
        self._large = 2 * chunk
        self._random = random.Random(seed)
        self._seed = seed
        self._made = 0

    async def run(self) -> None:
        """Until killed."""
        await self._store.put_devices([meter(each) for each in METERS])
        await self._store.release_owner("child")
        if self._seed.startswith("large"):
            await self._create_large()
        while True:
            await self._create()
            await self._schedule()
            for due in (await self._store.due_buckets(100))[:3]:
                bucket = await self._store.lease_bucket(due.bucket_id, "child", 600.0)
                if bucket is not None:
                    await self._work(bucket)
            await self._count()

    def _task(self, bucket_size: int) -> NewTask:
        now = datetime.now(UTC)
        self._made += 1
        return new_task(
            f"{self._seed}-{self._made}",
            conflict_group=self._random.choice(GROUPS),
            scheduled_at=now,
            expires_at=now + timedelta(days=1),
            bucket_size=bucket_size,
        )

    async def _create(self) -> None:
        task = self._task(self._random.choice([3, 50]))
        ids = self._random.sample(METERS, self._random.randrange(1, 12))
        await self._store.create_task(task, ids, allow_unknown=False)
        tell("created", task.task_id, *ids)
        if self._random.random() < 0.25:
            try:
                await self._store.cancel_task(task.task_id)
            except IllegalTransition:
                return
            tell("cancelled", task.task_id)

    async def _create_large(self) -> None:
        task = self._task(500)
        await self._store.create_task(task, Spool(self._large, prefix="x"), allow_unknown=True)
        tell("large", task.task_id, self._large)
        await self._store.cancel_task(task.task_id)
        tell("cancelled", task.task_id)

    async def _schedule(self) -> None:
        await self._store.start_due_tasks()
        await self._store.expire_due()
        for task in await self._store.finalise_ended():
            tell("ended", task.task_id, task.status, task.outcome)
        if self._random.random() < 0.1:
            tell("retiring", 1)
            await self._store.retire_tasks(datetime.now(UTC), 1)
        await self._store.sweep_unsealed(200)

    async def _work(self, bucket: LeasedBucket) -> None:
        left = [device for device in bucket.devices if device.status is DeviceStatus.SENT]
        again = [Result(d.position, d.device_id, d.tries, DeviceStatus.PENDING, d.used) for d in left]
        await self._store.record_results(bucket.lease, again)
        begun = await self._store.begin_attempts(bucket.lease, bucket.devices)
        tell("begun", bucket.task.task_id, *(each.meter.device_id for each in begun.begun))
        moved = await self._store.record_results(bucket.lease, [self._result(each) for each in begun.begun])
        ends = [f"{each.device_id}={each.status}" for each in moved if each.status is not DeviceStatus.PENDING]
        tell("recorded", bucket.task.task_id, *ends)
        await self._store.release_bucket(bucket.lease, 0.0)

    def _result(self, begun: BegunDevice) -> Result:
        known = begun.position, begun.meter.device_id, begun.tries
        kind = self._random.random()
        if kind < 0.6:
            return Result(*known, DeviceStatus.SUCCESS, 1, how=How.DONE, result={"by": self._seed})
        if kind < 0.75:
            return Result(*known, DeviceStatus.FAILED, 1, 0, ErrorWord.READ_WRITE_DENIED, "no")
        return Result(*known, DeviceStatus.PENDING, 1, 0, ErrorWord.METER_BUSY, "busy")

    async def _count(self) -> None:
        tell("reserved", await self._store.reserve_counters(COUNTER, 10))


async def main(opener: str, address: str, seed: str) -> None:
    store, chunk = await open_store(opener, address)
    tell("ready")
    await Worker(store, chunk, seed).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
