"""A process of its own that holds a store file, or fills its disk."""

import asyncio
import itertools
import resource
import signal
import sys
from pathlib import Path

from tests.store.fleet import meter, new_task

from metercast.store.errors import StoreUnavailable
from metercast.store.sqlite import SqliteStore


async def hold(path: Path) -> None:
    """Keeps the file until killed."""
    store = await SqliteStore.open(path)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await store.close()


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
    asyncio.run({"hold": hold, "fill": fill}[sys.argv[1]](Path(sys.argv[2])))
