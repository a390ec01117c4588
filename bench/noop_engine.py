"""The engine with a driver that does nothing: from submit to COMPLETED, every state written.

The ceiling is a raw loop on one connection that does the same guarded begin and finish statements, with lock rows and
synchronous=FULL, for buckets of the same size.
"""

import asyncio
import sqlite3
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.figure import Figure
from metercast.commands.contract import CommandType, MeterSession
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.meter import Meter, MeterRecord, SealedMeter, lock_key
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend, RetryPolicy
from metercast.driver.noop import NoopDriver
from metercast.engine.engine import Engine
from metercast.store.devices import MeterWrite
from metercast.store.sqlite import SqliteStore
from metercast.store.sqlite.migrations import migrate
from metercast.store.tasks import DEFAULT_BUCKET, NewTask

SMALL, LARGE = 10_000, 100_000
DOCUMENT = b'{"connection":{"host":"127.0.0.1"}}'


class _NoParameters(msgspec.Struct):
    """The command takes none."""


async def _perform(session: MeterSession, parameters: Any) -> Outcome:
    return Outcome.done()


NOTHING = CommandType(
    traits=CommandTraits(name="NOTHING", resend=Resend.SAFE, expires_after=timedelta(days=1)),
    parameters=_NoParameters,
    perform=_perform,
)


class PlainVault:
    """Opens records without secrets."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(MeterRecord)

    def open(self, stored: SealedMeter) -> Meter:
        return Meter(stored.device_id, self._decoder.decode(stored.document), {})


def device_ids(count: int) -> list[str]:
    return [f"meter-{number:07d}" for number in range(count)]


def new_task(task_id: str) -> NewTask:
    now = datetime.now(UTC)
    return NewTask(
        task_id=task_id,
        body_hash="",
        command_id=task_id,
        command_type="NOTHING",
        conflict_group=ConflictGroup.NONE,
        command_params=None,
        scheduled_at=now,
        expires_at=now + timedelta(days=1),
        priority=4,
        requested_by=None,
        retry=RetryPolicy(),
    )


async def product(folder: Path, count: int) -> float:
    """Seconds from submit to a final task."""
    store = await SqliteStore.open(folder / f"product-{count}.sqlite3")
    ids = device_ids(count)
    await store.put_devices([MeterWrite(each, DOCUMENT, None, each, 1) for each in ids])
    engine = Engine(store, NoopDriver(), {"NOTHING": NOTHING}, PlainVault(), lambda: datetime.now(UTC))
    await engine.start()
    began = time.perf_counter()
    await store.create_task(new_task("task"), ids, allow_unknown=False)
    engine.wake()
    while (task := await store.get_task("task")).outcome is None:  # noqa: ASYNC110 (as a client would)
        await asyncio.sleep(0.02)
    elapsed = time.perf_counter() - began
    assert task.counts.success == count, task
    await engine.drain(10)
    await store.close()
    return elapsed


def raw(folder: Path, count: int) -> float:
    """Seconds for the same rows, begun and finished by guarded statements, a bucket at a time."""
    connection = sqlite3.connect(folder / f"raw-{count}.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    migrate(connection)
    connection.execute("PRAGMA foreign_keys=OFF")
    ids = device_ids(count)
    began = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "INSERT INTO task_devices (task_id, device_id, command_status, last_updated)"
        " SELECT 'task', value, 'PENDING', '2026-01-01T00:00:00.000000Z' FROM json_each(?)",
        (msgspec.json.encode(ids).decode(),),
    )
    connection.execute("COMMIT")
    for first in range(1, count + 1, DEFAULT_BUCKET):
        last = min(first + DEFAULT_BUCKET - 1, count)
        keys = [(lock_key(each),) for each in ids[first - 1 : last]]
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


def run() -> list[Figure]:
    """Interleaved, the best of three of each: the machine's noise only ever adds."""
    large: list[float] = []
    small: list[float] = []
    ceiling: list[float] = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ceiling.append(raw(folder, LARGE))
            large.append(uvloop.run(product(folder, LARGE)))
            small.append(uvloop.run(product(folder, SMALL)))
    rate, raw_rate = LARGE / min(large), LARGE / min(ceiling)
    per_device = (min(large) / LARGE) / (min(small) / SMALL)
    return [
        Figure(
            "engine, no-op driver, 100,000 devices: devices per second of the raw loop's",
            rate / raw_rate,
            bar=0.12,
            at_most=False,
            detail=f"{rate:,.0f}/s of {raw_rate:,.0f}/s",
        ),
        Figure(
            "engine, no-op driver: cost per device at 100,000 over that at 10,000",
            per_device,
            bar=1.3,
            detail=f"{min(large) / LARGE * 1e6:.1f} us and {min(small) / SMALL * 1e6:.1f} us",
        ),
    ]


if __name__ == "__main__":
    for figure in run():
        print(figure)
