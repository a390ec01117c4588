"""The engine on PostgreSQL beside job queues on PostgreSQL: one no-op per device, enqueueing included on every side.

pgqueuer and procrastinate run in an environment of their own, in a child process, each at its best: jobs enqueued in
bulk, worked off by one worker with uvloop; pgqueuer in batches of 100, once on one connection and once on a pool, of
which the better counts. All are on one server with fsync, each run on a database of its own, in turns. Ours is the time
from submit to a COMPLETED task with the no-op driver, every state durable. procrastinate gets fewer jobs: its rate is
compared.
"""

import asyncio
import json
import os
import subprocess
from pathlib import Path
from statistics import median

import uvloop

from bench.databases import Databases, postgres_databases
from bench.figure import Figure
from bench.noop_engine import product

JOBS = 50_000
FEWER_JOBS = 2000
CONCURRENCY = 10
ROUNDS = 3
TIMEOUT_SECONDS = 300

_PEERS = Path(__file__).parent / "peers"
_PYTHON = Path(".venv/bench-peers/bin/python")


async def peer(databases: Databases, script: str, jobs: int, option: str) -> float:
    """Jobs per second of one run."""
    url = await databases.create(f"peer_{option}")
    process = await asyncio.create_subprocess_exec(
        _PYTHON, _PEERS / script, str(jobs), option,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"BENCH_DATABASE_URL": url},
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            out, said = await process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"{script} {option} failed:\n{said.decode(errors='replace')[-2000:]}")
    await databases.drop(url)
    return jobs / float(json.loads(out)["seconds"])


async def figures(databases: Databases) -> list[Figure]:
    ours: list[float] = []
    connection: list[float] = []
    pool: list[float] = []
    slow: list[float] = []
    for _ in range(ROUNDS):
        connection.append(await peer(databases, "pgqueuer_jobs.py", JOBS, "connection"))
        ours.append(JOBS / await product(databases, "product", JOBS))
        pool.append(await peer(databases, "pgqueuer_jobs.py", JOBS, "pool"))
        slow.append(await peer(databases, "procrastinate_jobs.py", FEWER_JOBS, str(CONCURRENCY)))
    better, kind = (pool, "a pool") if median(pool) > median(connection) else (connection, "one connection")
    return [
        _times("pgqueuer 1.6.0", better, ours, 1.5, f"batch 100, {kind}"),
        _times("procrastinate 3.10.0", slow, ours, 20, f"concurrency {CONCURRENCY}"),
    ]


def _times(peer: str, theirs: list[float], ours: list[float], bar: float, how: str) -> Figure:
    return Figure(
        f"engine, no-op driver, PostgreSQL, {JOBS:,} devices: submit to COMPLETED / {peer}",
        median(us / them for them, us in zip(theirs, ours, strict=True)),
        "times",
        bar,
        at_most=False,
        detail=f"{median(ours):,.0f} devices a second, {median(theirs):,.0f} jobs a second ({how}); {ROUNDS} rounds",
    )


def run() -> list[Figure]:
    with postgres_databases() as databases:
        return uvloop.run(figures(databases))
