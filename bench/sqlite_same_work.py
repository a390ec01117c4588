"""The store on SQLite against raw `sqlite3` that does the same work, lock by lock and row by row.

Both sides use the tables, indexes and keys that the migrations make, WAL with synchronous=FULL, the same batch size and
the same rows, and both are timed in turns within one run; the median of the rounds' ratios is the figure.

Transitions: every device of a task goes PENDING -> SENT -> SUCCESS, a batch at a time, with a durable commit after each
begin and each finish. The raw side runs, by `executemany`, one statement a row: the guarded insert of the meter's lock
and the guarded update for the begin, the guarded update and the guarded delete of the lock for the finish; then one
update of the bucket's counts. A begin hands over the records of its meters, so it reads them first, with one plain
SELECT a batch; it builds no objects and asks nobody, and its parameters are tuples made beforehand. The store's side is
`begin_attempts` and `record_results` for the same batches, four buckets in hand at a time as a worker has them; they
also check the lease, keep what ended in an error, and return what they did. Leasing is not part of it. A second figure,
without a bar, leaves the reading of the meters out of the raw side only.

Creation: one task of 100,000 registered devices. The raw side inserts the task, its devices and its buckets in one
transaction, once by `executemany` and once by `json_each`; the faster counts. The store's side is `create_task`, which
also checks that every device is registered.
"""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from bench.figure import Figure
from bench.fleet import DOCUMENT, SEALED, Names, new_task, writes
from bench.moves import lease_all, store_moves
from bench.pairs import rate_figure
from bench.raw_sqlite import INSERT_BUCKET, INSERT_DEVICES, INSERT_TASK, RawSqlite
from metercast.domain.meter import lock_key
from metercast.store.sqlite import SqliteStore
from metercast.store.sqlite.times import to_text

BATCH = 500
MOVED_DEVICES = 20_000
CREATED_DEVICES = 100_000
ROUNDS = 9

_INSERT_DEVICE = (
    "INSERT INTO task_devices (task_id, device_id, command_status, last_updated) VALUES (?, ?, 'PENDING', ?)"
)
_METERS = """
SELECT d.id, m.* FROM task_devices d JOIN devices m ON m.device_id = d.device_id WHERE d.id BETWEEN ? AND ?
"""
_LOCK = """
INSERT INTO meter_locks (lock_key, bucket_id, epoch) VALUES (?1, ?2, ?3)
ON CONFLICT (lock_key) DO UPDATE SET bucket_id = excluded.bucket_id, epoch = excluded.epoch
WHERE NOT EXISTS (SELECT 1 FROM task_buckets b WHERE b.bucket_id = meter_locks.bucket_id
                  AND b.lease_epoch = meter_locks.epoch AND b.lease_until > ?4)
"""
_BEGIN = """
UPDATE task_devices SET command_status = 'SENT', tries = tries + 1, error_message = NULL, error_detail = NULL,
  next_attempt_at = NULL, sent_at = ?2, last_updated = ?2 WHERE id = ?1 AND command_status = 'PENDING'
"""
_FINISH = """
UPDATE task_devices SET command_status = 'SUCCESS', how = 'DONE', used = used + 1, last_updated = ?2
WHERE id = ?1 AND command_status = 'SENT' AND tries = 1
"""
_UNLOCK = "DELETE FROM meter_locks WHERE lock_key = ? AND bucket_id = ? AND epoch = ?"
_COUNT_BEGUN = "UPDATE task_buckets SET pending = pending - ?2, sent = sent + ?2 WHERE bucket_id = ?1"
_COUNT_FINISHED = "UPDATE task_buckets SET sent = sent - ?2, success = success + ?2 WHERE bucket_id = ?1"


async def figures(folder: Path) -> list[Figure]:
    """In `folder`, which is empty."""
    return await _transitions(folder) + await _creation(folder)


async def _transitions(folder: Path) -> list[Figure]:
    names = Names(MOVED_DEVICES)
    raw = RawSqlite(folder / "raw-moves.db")
    store = await _registered(folder / "moves.db", names)
    await raw.register(names, DOCUMENT, SEALED)
    theirs, blind, ours = [], [], []
    for number in range(ROUNDS):
        theirs.append(_raw_moves(raw, f"reads-{number}", names[:], reads=True))
        await store.create_task(new_task(f"task-{number}"), names, allow_unknown=False)
        ours.append(await store_moves(store, await lease_all(store)))
        blind.append(_raw_moves(raw, f"blind-{number}", names[:], reads=False))
    await raw.close()
    await store.close()
    name, units, what = "SQLite: batched transitions / raw, lock by lock", MOVED_DEVICES, "devices"
    return [
        rate_figure(name, theirs, ours, units, 0.7, what=what, raw="executemany, which reads the meters"),
        rate_figure(f"{name}, no meters", blind, ours, units, None, what=what, raw="executemany, which reads no meter"),
    ]


async def _creation(folder: Path) -> list[Figure]:
    names = Names(CREATED_DEVICES)
    raw = RawSqlite(folder / "raw-tasks.db")
    store = await _registered(folder / "tasks.db", names)
    many, each, ours = [], [], []
    for number in range(ROUNDS):
        many.append(_raw_create(raw, f"many-{number}", names[:], by_json=False))
        start = time.perf_counter()
        await store.create_task(new_task(f"task-{number}"), names, allow_unknown=False)
        ours.append(time.perf_counter() - start)
        each.append(_raw_create(raw, f"json-{number}", names[:], by_json=True))
    await raw.close()
    await store.close()
    name, how = "SQLite: creating 100,000 devices / raw with its preparations", "executemany or json_each"
    return [rate_figure(name, min(many, each, key=median), ours, CREATED_DEVICES, 0.5, what="devices", raw=how)]


async def _registered(path: Path, names: Names) -> SqliteStore:
    store = await SqliteStore.open(path)
    for start in range(0, len(names), 5000):
        await store.put_devices(writes(names[start : start + 5000]))
    return store


def _raw_create(raw: RawSqlite, task_id: str, ids: Sequence[str], *, by_json: bool) -> float:
    """Seconds for one transaction with the task, its devices and its buckets."""
    connection = raw.connection
    now = datetime.now(UTC)
    text, end = to_text(now), to_text(now + timedelta(days=1))
    start = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(INSERT_TASK, (task_id, text, end, BATCH, len(ids)))
    if by_json:
        connection.execute(INSERT_DEVICES, (task_id, text, json.dumps(ids)))
    else:
        connection.executemany(_INSERT_DEVICE, [(task_id, each, text) for each in ids])
    (last,) = connection.execute("SELECT max(id) FROM task_devices").fetchone()
    first = last - len(ids) + 1
    buckets = [
        (task_id, each, min(each + BATCH - 1, last), text, min(BATCH, last - each + 1))
        for each in range(first, last + 1, BATCH)
    ]
    connection.executemany(INSERT_BUCKET, buckets)
    connection.execute("COMMIT")
    return time.perf_counter() - start


def _raw_moves(raw: RawSqlite, task_id: str, ids: Sequence[str], *, reads: bool) -> float:
    """Seconds for begin and finish of every device of a new task."""
    connection = raw.connection
    _raw_create(raw, task_id, ids, by_json=False)
    until = to_text(datetime.now(UTC) + timedelta(minutes=10))
    connection.execute(
        "UPDATE task_buckets SET lease_owner = 'bench', lease_epoch = 1, lease_until = ? WHERE task_id = ?",
        (until, task_id),
    )
    keys = [lock_key(each) for each in ids]
    buckets = connection.execute(
        "SELECT bucket_id, first_id, last_id FROM task_buckets WHERE task_id = ?", (task_id,)
    ).fetchall()
    origin = buckets[0][1]
    text = to_text(datetime.now(UTC))
    batches = []
    for bucket_id, first, last in buckets:
        mine = keys[first - origin : last + 1 - origin]
        locks = [(key, bucket_id, 1, text) for key in mine]
        rows = [(each, text) for each in range(first, last + 1)]
        unlocks = [(key, bucket_id, 1) for key in mine]
        batches.append((bucket_id, first, last, locks, rows, unlocks))
    start = time.perf_counter()
    for bucket_id, first, last, locks, rows, unlocks in batches:
        if reads:
            assert len(connection.execute(_METERS, (first, last)).fetchall()) == len(rows)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_LOCK, locks)
        connection.executemany(_BEGIN, rows)
        connection.execute(_COUNT_BEGUN, (bucket_id, len(rows)))
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_FINISH, rows)
        connection.executemany(_UNLOCK, unlocks)
        connection.execute(_COUNT_FINISHED, (bucket_id, len(rows)))
        connection.execute("COMMIT")
    return time.perf_counter() - start
