"""pgqueuer at its best, in an environment of its own: one no-op job per device, enqueued and worked off.

`python pgqueuer_jobs.py JOBS connection|pool` prints one line of JSON: {"seconds", "enqueueSeconds"}. The database at
BENCH_DATABASE_URL is empty at the start. Jobs are enqueued in bulk, and dequeued in batches of 100; uvloop, asyncpg,
all tables logged, as pgqueuer installs them. The clock stops when the worker has ended, every job's end written.
"""

import asyncio
import json
import os
import sys
import time

import asyncpg
import uvloop
from pgqueuer.qm import QueueManager  # type: ignore[import-not-found]
from pgqueuer.queries import Queries  # type: ignore[import-not-found]

BATCH = 100
ENQUEUED_AT_ONCE = 10_000
POOL = 5  # pgqueuer's own default


async def work_off(queries: Queries, jobs: int) -> tuple[float, float]:
    """Seconds from the first enqueue to the end of the worker, and those of the enqueueing alone."""
    manager = QueueManager(queries)
    done = 0

    async def perform(job: object) -> None:
        nonlocal done
        done += 1
        if done == jobs:
            manager.shutdown.set()

    manager.entrypoint("noop")(perform)
    began = time.perf_counter()
    for first in range(0, jobs, ENQUEUED_AT_ONCE):
        count = min(ENQUEUED_AT_ONCE, jobs - first)
        payloads: list[bytes | None] = [b"meter-%07d" % number for number in range(first, first + count)]
        await queries.enqueue(["noop"] * count, payloads, [0] * count)
    enqueued = time.perf_counter()
    await manager.run(batch_size=BATCH)
    return time.perf_counter() - began, enqueued - began


async def main(url: str, jobs: int, kind: str) -> None:
    if kind == "pool":
        async with asyncpg.create_pool(url, min_size=POOL, max_size=POOL) as pool:
            queries = Queries.from_asyncpg_pool(pool)
            await queries.install()
            spent = await work_off(queries, jobs)
    else:
        connection = await asyncpg.connect(url)
        queries = Queries.from_asyncpg_connection(connection)
        await queries.install()
        spent = await work_off(queries, jobs)
        await connection.close()
    connection = await asyncpg.connect(url)
    written = await connection.fetchval("SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'")
    left = await connection.fetchval("SELECT count(*) FROM pgqueuer")
    await connection.close()
    if (written, left) != (jobs, 0):
        raise SystemExit(f"{written} of {jobs} jobs ended, {left} are left")
    print(json.dumps({"seconds": spent[0], "enqueueSeconds": spent[1]}))


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main(os.environ["BENCH_DATABASE_URL"], int(sys.argv[1]), sys.argv[2]))
