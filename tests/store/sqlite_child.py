"""A process of its own that works on a store file: begins and records, and prints what was acknowledged."""

import asyncio
import itertools
import resource
import signal
import sys
from pathlib import Path

from tests.store.fleet import meter, new_task

from metercast.domain.outcome import How
from metercast.domain.states import DeviceStatus
from metercast.store.attempts import Result
from metercast.store.errors import StoreUnavailable
from metercast.store.sqlite import SqliteStore


async def hold(path: Path) -> None:
    """Keeps the file until killed."""
    store = await SqliteStore.open(path)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await store.close()


async def work(path: Path) -> None:
    """Takes the leases over and drives task t on until killed; a line for every acknowledged write."""
    store = await SqliteStore.open(path)
    await store.release_owner("")
    print("ready", flush=True)
    for due in await store.due_buckets(1000):
        bucket = await store.lease_bucket(due.bucket_id, "child", 600)
        assert bucket is not None
        left = [device for device in bucket.devices if device.status is DeviceStatus.SENT]
        again = [Result(d.position, d.device_id, d.tries, DeviceStatus.PENDING, d.used) for d in left]
        await store.record_results(bucket.lease, again)
        for start in range(0, len(bucket.devices), 5):
            begun = await store.begin_attempts(bucket.lease, bucket.devices[start : start + 5])
            print("begun", *(each.meter.device_id for each in begun.begun), flush=True)
            results = [
                Result(each.position, each.meter.device_id, each.tries, DeviceStatus.SUCCESS, 1, how=How.DONE)
                for each in begun.begun
            ]
            moved = await store.record_results(bucket.lease, results)
            print("recorded", *(each.device_id for each in moved), flush=True)
        await store.release_bucket(bucket.lease, 0)
    print("end", flush=True)


async def fill(path: Path) -> None:
    """Meets a file size limit as a full disk, then goes on once there is room again."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = await SqliteStore.open(path)
    await store.put_devices([meter("first")])
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name(path.name + "-wal").stat().st_size + 65_536, hard))
    stored: list[str] = []
    for number in itertools.count():
        ids = [f"{number}-{each}" for each in range(100)]
        try:
            await store.put_devices([meter(each) for each in ids])
        except StoreUnavailable as error:
            print("full", error.detail, flush=True)
            refused = ids
            break
        stored += ids
    try:
        await store.create_task(new_task("t"), [f"x{each}" for each in range(20_000)], allow_unknown=True)
    except StoreUnavailable:
        print("full again", flush=True)
    assert await store.count_devices() == len(stored) + 1
    assert not await store.find_devices(refused)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await store.put_devices([meter(each) for each in refused])
    await store.create_task(new_task("t"), ["first"], allow_unknown=False)
    assert await store.count_devices() == len(stored) + len(refused) + 1
    await store.close()
    print("end", len(stored) + len(refused) + 1, flush=True)


if __name__ == "__main__":
    asyncio.run({"hold": hold, "work": work, "fill": fill}[sys.argv[1]](Path(sys.argv[2])))
