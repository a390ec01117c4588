"""The engine with a driver that does nothing: against a raw loop on SQLite, and its cost per device by size of task.

The raw loop does the same guarded begin and finish statements on one connection, with lock rows and synchronous=FULL,
for buckets of the same size. The cost per device of a task of 1,000,000 is held against that of tasks of 10,000, which
run before and after it on the same database.
"""

import sqlite3
import tempfile
import time
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from bench.databases import KINDS, Databases, open_migrated, sqlite_files
from bench.figure import Figure
from bench.fleet import MILLION, Names
from bench.noop import DOCUMENT, submit_to_completed
from bench.raw_postgres import RawPostgres
from metercast.domain.meter import lock_key
from metercast.store.sqlite.migrations import migrate
from metercast.store.tasks import DEFAULT_BUCKET

SMALL, LARGE = 10_000, 100_000
SMALL_RUNS = 5


def raw(folder: Path, count: int) -> float:
    """Seconds for the same rows, begun and finished by guarded statements, a bucket at a time."""
    connection = sqlite3.connect(folder / f"raw-{count}.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    migrate(connection)
    connection.execute("PRAGMA foreign_keys=OFF")
    ids = Names(count)[:]
    began = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "INSERT INTO task_devices (task_id, device_id, command_status, last_updated)"
        " SELECT 'task', value, 'PENDING', '2026-01-01T00:00:00.000000Z' FROM json_each(?)",
        (msgspec.json.encode(ids).decode(),),
    )
    connection.execute("COMMIT")
    (offset,) = connection.execute("SELECT min(id) FROM task_devices").fetchone()
    for start in range(0, count, DEFAULT_BUCKET):
        end = min(start + DEFAULT_BUCKET, count)
        first, last = offset + start, offset + end - 1
        keys = [(lock_key(each),) for each in ids[start:end]]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO meter_locks (lock_key, bucket_id, epoch) VALUES (?, 1, 1)", keys)
        connection.execute(
            "UPDATE task_devices SET command_status = 'SENT', tries = tries + 1, last_updated = ?3"
            " WHERE id BETWEEN ?1 AND ?2 AND command_status = 'PENDING'",
            (first, last, "2026-01-01T00:00:01.000000Z"),
        )
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "UPDATE task_devices SET command_status = 'SUCCESS', how = 'DONE', last_updated = ?3"
            " WHERE id BETWEEN ?1 AND ?2 AND command_status = 'SENT' AND tries = 1",
            (first, last, "2026-01-01T00:00:02.000000Z"),
        )
        connection.executemany("DELETE FROM meter_locks WHERE lock_key = ? AND bucket_id = 1 AND epoch = 1", keys)
        connection.execute("COMMIT")
    elapsed = time.perf_counter() - began
    connection.close()
    return elapsed


async def product(databases: Databases, name: str, count: int) -> float:
    """Seconds from submit to a final task, on a database of its own."""
    url, store = await open_migrated(databases, name)
    beside = await databases.open_raw(url)
    await beside.register(Names(count), DOCUMENT, None)
    await beside.close()
    elapsed = await submit_to_completed(store, "task", count)
    await store.close()
    await databases.drop(url)
    return elapsed


def against_raw() -> list[Figure]:
    """Interleaved, the best of three of each: the machine's noise only ever adds."""
    large: list[float] = []
    small: list[float] = []
    ceiling: list[float] = []
    for _ in range(3):
        with tempfile.TemporaryDirectory(prefix="metercast-bench-") as name, sqlite_files() as databases:
            ceiling.append(raw(Path(name), LARGE))
            large.append(uvloop.run(product(databases, "large", LARGE)))
            small.append(uvloop.run(product(databases, "small", SMALL)))
    rate, raw_rate = LARGE / min(large), LARGE / min(ceiling)
    per_device = (min(large) / LARGE) / (min(small) / SMALL)
    return [
        Figure(
            "engine, no-op driver, SQLite, 100,000 devices: devices per second of the raw loop's",
            rate / raw_rate,
            bar=0.12,
            at_most=False,
            detail=f"{rate:,.0f}/s of {raw_rate:,.0f}/s",
        ),
        Figure(
            "engine, no-op driver, SQLite: cost per device at 100,000 over that at 10,000",
            per_device,
            bar=1.3,
            detail=f"{min(large) / LARGE * 1e6:.1f} us and {min(small) / SMALL * 1e6:.1f} us",
        ),
    ]


async def flatness(databases: Databases) -> list[Figure]:
    url, store = await open_migrated(databases, "flat")
    beside = await databases.open_raw(url)
    await beside.register(Names(MILLION), DOCUMENT, None)
    small = [await submit_to_completed(store, f"before-{number}", SMALL) for number in range(SMALL_RUNS)]
    large = await submit_to_completed(store, "large", MILLION)
    small += [await submit_to_completed(store, f"after-{number}", SMALL) for number in range(SMALL_RUNS)]
    await store.close()
    flat = Figure(
        f"engine, no-op driver, {databases.name}: cost per device at {MILLION:,} over that at {SMALL:,}",
        (large / MILLION) / (median(small) / SMALL),
        bar=1.3,
        detail=f"{large / MILLION * 1e6:.1f} us and {median(small) / SMALL * 1e6:.1f} us; once, and the median of"
        f" {len(small)}; {MILLION / large:,.0f} devices a second",
    )
    hot = [await hot_updates(beside)] if isinstance(beside, RawPostgres) else []
    await beside.close()
    return [flat, *hot]


async def hot_updates(beside: RawPostgres) -> Figure:
    """Of everything that this database has seen; a store that is closed has told the server all of it."""
    updates, hot = await beside.connection.fetchrow(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'task_devices'"
    )
    return Figure(
        "engine, no-op driver, PostgreSQL: updates of devices that stay on their page and touch no index (HOT)",
        hot / updates,
        "of all",
        bar=0.9,
        at_most=False,
        detail=f"{hot:,} of {updates:,}",
    )


def run() -> list[Figure]:
    figures = against_raw()
    for kind in KINDS:
        with kind() as databases:
            figures += uvloop.run(flatness(databases))
    return figures
