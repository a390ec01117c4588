"""The store on SQLite against raw `sqlite3` on the same file format: transitions, and creating a large task.

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

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import uvloop

from bench.figure import Figure
from metercast.domain.command import ConflictGroup
from metercast.domain.meter import lock_key
from metercast.domain.outcome import How
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus
from metercast.store.attempts import OpenDevice, Result
from metercast.store.devices import MeterWrite
from metercast.store.sqlite import SqliteStore
from metercast.store.sqlite.migrations import migrate
from metercast.store.sqlite.times import to_text
from metercast.store.tasks import NewTask

BATCH = 500
MOVED_DEVICES = 20_000
CREATED_DEVICES = 100_000
ROUNDS = 9
LANES = 4

_DOCUMENT = json.dumps(
    {
        "connection": {"type": "tcp", "host": "10.1.2.3", "port": 4059, "framing": "wrapper"},
        "serverSap": 1,
        "timeZone": "Europe/Amsterdam",
        "associations": {
            "management": {
                "clientSap": 1,
                "authentication": "hls-gmac",
                "protection": "both",
                "clientSystemTitle": "4D43530000000001",
            }
        },
        "identity": {"serverSystemTitle": "4D4D4D0000BC614E"},
    }
).encode()
_SEALED = bytes(120)

_INSERT_TASK = """
INSERT INTO tasks (task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, conflict_group,
  expires_at, priority, retry, body_hash, bucket_size, total)
VALUES (?1, 'command', 'READ_CLOCK', ?2, 'IN_PROGRESS', ?2, ?2, 'none', ?3, 4, '{}', 'hash', ?4, ?5)
"""
_INSERT_DEVICE = (
    "INSERT INTO task_devices (task_id, device_id, command_status, last_updated) VALUES (?, ?, 'PENDING', ?)"
)
_INSERT_DEVICES = """
INSERT INTO task_devices (task_id, device_id, command_status, last_updated)
SELECT ?1, value, 'PENDING', ?2 FROM json_each(?3)
"""
_INSERT_BUCKET = "INSERT INTO task_buckets (task_id, first_id, last_id, due_at, pending) VALUES (?, ?, ?, ?, ?)"

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


def run() -> list[Figure]:
    """The two figures, with their bars, and the rates behind them."""
    with tempfile.TemporaryDirectory() as directory:
        return uvloop.run(_transitions(Path(directory))) + uvloop.run(_creation(Path(directory)))


async def _transitions(directory: Path) -> list[Figure]:
    ids = [f"meter-{number:08d}" for number in range(MOVED_DEVICES)]
    raw_path = directory / "raw-moves.db"
    raw = _raw_file(raw_path)
    store = await _registered(directory / "moves.db", ids)
    _raw_registered(raw, ids)
    theirs, blind, ours = [], [], []
    for number in range(ROUNDS):
        theirs.append(_raw_moves(raw, f"reads-{number}", ids, reads=True))
        await store.create_task(_new_task(f"task-{number}"), ids, allow_unknown=False)
        ours.append(await _store_moves(store))
        blind.append(_raw_moves(raw, f"blind-{number}", ids, reads=False))
    raw.close()
    await store.close()
    return [
        _compared("store: batched transitions / raw executemany", theirs, ours, MOVED_DEVICES, 0.7),
        _compared("store: the same / raw that reads no meters", blind, ours, MOVED_DEVICES, None),
    ]


async def _creation(directory: Path) -> list[Figure]:
    ids = [f"meter-{number:08d}" for number in range(CREATED_DEVICES)]
    raw = _raw_file(directory / "raw-tasks.db")
    store = await _registered(directory / "tasks.db", ids)
    many, each, ours = [], [], []
    for number in range(ROUNDS):
        many.append(_raw_create(raw, f"many-{number}", ids, by_json=False))
        start = time.perf_counter()
        await store.create_task(_new_task(f"task-{number}"), ids, allow_unknown=False)
        ours.append(time.perf_counter() - start)
        each.append(_raw_create(raw, f"json-{number}", ids, by_json=True))
    raw.close()
    await store.close()
    theirs = min(many, each, key=median)
    return [_compared("store: creating 100,000 devices / raw bulk insert", theirs, ours, CREATED_DEVICES, 0.5)]


def _compared(name: str, theirs: Sequence[float], ours: Sequence[float], devices: int, bar: float | None) -> Figure:
    raw, store = devices / median(theirs), devices / median(ours)
    ratio = median(them / us for them, us in zip(theirs, ours, strict=True))
    detail = f"raw {raw:,.0f}, store {store:,.0f} devices a second; {ROUNDS} rounds"
    return Figure(name, ratio, "of raw", bar, at_most=False, detail=detail)


# The store's side


async def _registered(path: Path, ids: Sequence[str]) -> SqliteStore:
    store = await SqliteStore.open(path)
    for start in range(0, len(ids), 5000):
        part = ids[start : start + 5000]
        await store.put_devices([MeterWrite(each, _DOCUMENT, _SEALED, "10.1.2.3:4059", 1) for each in part])
    return store


def _new_task(task_id: str) -> NewTask:
    now = datetime.now(UTC)
    return NewTask(
        task_id=task_id,
        body_hash="hash",
        command_id="command",
        command_type="READ_CLOCK",
        conflict_group=ConflictGroup.NONE,
        command_params=None,
        scheduled_at=now,
        expires_at=now + timedelta(days=1),
        priority=4,
        requested_by=None,
        retry=RetryPolicy(),
        bucket_size=BATCH,
    )


async def _store_moves(store: SqliteStore) -> float:
    """Seconds for begin and record of every device that is due."""
    leased = [await store.lease_bucket(due.bucket_id, "bench", 600.0) for due in await store.due_buckets(100_000)]
    batches = [(each.lease, each.devices, [_succeeded(device) for device in each.devices]) for each in leased if each]
    waiting = iter(batches)

    async def lane() -> None:
        for lease, devices, results in waiting:
            begun = await store.begin_attempts(lease, devices)
            moved = await store.record_results(lease, results)
            assert len(begun.begun) == len(moved) == len(devices)

    start = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(LANES)))
    return time.perf_counter() - start


def _succeeded(device: OpenDevice) -> Result:
    return Result(device.position, device.device_id, 1, DeviceStatus.SUCCESS, 1, how=How.DONE)


# The raw side


def _raw_file(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA cache_size=-32768")
    migrate(connection)
    return connection


def _raw_create(connection: sqlite3.Connection, task_id: str, ids: Sequence[str], *, by_json: bool) -> float:
    """Seconds for one transaction with the task, its devices and its buckets."""
    now = datetime.now(UTC)
    text, end = to_text(now), to_text(now + timedelta(days=1))
    start = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_INSERT_TASK, (task_id, text, end, BATCH, len(ids)))
    if by_json:
        connection.execute(_INSERT_DEVICES, (task_id, text, json.dumps(ids)))
    else:
        connection.executemany(_INSERT_DEVICE, [(task_id, each, text) for each in ids])
    (last,) = connection.execute("SELECT max(id) FROM task_devices").fetchone()
    first = last - len(ids) + 1
    buckets = [
        (task_id, each, min(each + BATCH - 1, last), text, min(BATCH, last - each + 1))
        for each in range(first, last + 1, BATCH)
    ]
    connection.executemany(_INSERT_BUCKET, buckets)
    connection.execute("COMMIT")
    return time.perf_counter() - start


def _raw_registered(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    text = to_text(datetime.now(UTC))
    rows = [(each, _DOCUMENT, _SEALED, "10.1.2.3:4059", 1, text, text) for each in ids]
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO devices VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute("COMMIT")


def _raw_moves(connection: sqlite3.Connection, task_id: str, ids: Sequence[str], *, reads: bool) -> float:
    """Seconds for begin and finish of every device of a new task."""
    _raw_create(connection, task_id, ids, by_json=False)
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
