"""procrastinate in an environment of its own: one no-op job per device, deferred and worked off.

`python procrastinate_jobs.py JOBS CONCURRENCY` prints one line of JSON: {"seconds", "enqueueSeconds"}. The database at
BENCH_DATABASE_URL is empty at the start. Jobs are deferred in bulk; psycopg with its pool, uvloop. The clock stops when
the worker has found nothing more to do.
"""

import asyncio
import json
import logging
import os
import sys
import time

import uvloop
from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found]

DEFERRED_AT_ONCE = 1000
POOL = 10


async def main(url: str, jobs: int, concurrency: int) -> None:
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    app = App(connector=PsycopgConnector(conninfo=url, min_size=POOL, max_size=POOL))
    done = 0

    async def perform(device: str) -> None:
        nonlocal done
        done += 1

    task = app.task(name="noop")(perform)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        began = time.perf_counter()
        for first in range(0, jobs, DEFERRED_AT_ONCE):
            names = [f"meter-{number:07d}" for number in range(first, min(first + DEFERRED_AT_ONCE, jobs))]
            await task.batch_defer_async(*({"device": each} for each in names))
        enqueued = time.perf_counter()
        await app.run_worker_async(concurrency=concurrency, wait=False, install_signal_handlers=False)
        ended = time.perf_counter()
    if done != jobs:
        raise SystemExit(f"{done} of {jobs} jobs ended")
    print(json.dumps({"seconds": ended - began, "enqueueSeconds": enqueued - began}))


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main(os.environ["BENCH_DATABASE_URL"], int(sys.argv[1]), int(sys.argv[2])))
