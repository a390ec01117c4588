"""PostgreSQL with trouble about: the server killed and started again, sessions ended from outside, others who lock."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.servers.postgres import PostgresServer
from tests.servers.process import NotStarted
from tests.store.fleet import begin, check_counts, counted, create, lease, meter, new_task, success
from tests.store.harness import ManualClock
from tests.store.postgres_harness import PostgresHarness

from metercast.domain.states import DeviceStatus
from metercast.store.errors import StoreUnavailable
from metercast.store.postgres import PostgresStore
from metercast.store.postgres.clock import DatabaseClock
from metercast.store.postgres.database import Database, Limits


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that may be killed: it writes to disk as in production."""
    started = PostgresServer.started(durable=True)
    yield started
    started.delete()


@pytest.fixture
async def harness() -> AsyncIterator[PostgresHarness]:
    started = await PostgresHarness.start()
    yield started
    await started.close()


class Killable(PostgresHarness):
    """As the conformance suite's, on a server of its own."""

    @classmethod
    async def on(cls, server: PostgresServer, name: str) -> "Killable":
        connection = await asyncpg.connect(server.url())
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        harness = cls(server.url(name), None, ManualClock())
        harness.store = await harness._open()
        return harness


async def patiently(call: Callable[[], Awaitable[Any]], seconds: float = 20.0) -> Any:
    """As the engine does: until the store is back."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await call()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


async def test_a_kill_at_any_moment_loses_nothing_acknowledged(server: PostgresServer) -> None:
    """The whole server, by SIGKILL, in the middle of several batches; then it is started again."""
    harness = await Killable.on(server, "kills")
    ids = [f"m{number:04d}" for number in range(1000)]
    await harness.store.put_devices([meter(each) for each in ids])
    await harness.store.create_task(new_task("t"), ids, allow_unknown=False)
    buckets = [await harness.store.lease_bucket(due.bucket_id, "w", 1e6) for due in await harness.store.due_buckets(99)]
    recorded: set[str] = set()
    waiting = iter([bucket for bucket in buckets if bucket is not None])

    async def lane() -> None:
        for bucket in waiting:
            begun = await patiently(lambda bucket=bucket: begin(harness, bucket))  # type: ignore[misc]
            assert len(begun.begun) == len(bucket.devices)
            results = [success(bucket, n) for n in range(len(bucket.devices))]
            await patiently(lambda bucket=bucket, results=results: harness.store.record_results(bucket.lease, results))  # type: ignore[misc]
            recorded.update(device.device_id for device in bucket.devices)

    work = asyncio.gather(*(lane() for _ in range(3)))
    for _ in range(4):
        await asyncio.sleep(0.03)
        await asyncio.to_thread(server.kill)
        told = set(recorded)
        await asyncio.to_thread(server.start)
        rows = await patiently(lambda: harness.raw_devices("t"))
        assert told <= {row["device_id"] for row in rows if row["command_status"] == DeviceStatus.SUCCESS}
        assert (await patiently(lambda: harness.store.get_task("t"))).counts == counted(rows) or not work.done()
    await work
    assert recorded == set(ids)
    await check_counts(harness, "t")
    (ended,) = await harness.store.finalise_ended()
    assert ended.counts.success == 1000
    await harness.store.close()


async def test_a_restart_between_calls_goes_unnoticed(server: PostgresServer) -> None:
    harness = await Killable.on(server, "restarts")
    await asyncio.gather(*(create(harness, f"t{n}", ["a"]) for n in range(4)))  # every connection is open
    await asyncio.to_thread(server.restart)
    assert (await harness.store.get_task("t0")).counts.total == 1
    await create(harness, "after", ["a"])
    await asyncio.to_thread(server.kill)
    with pytest.raises(StoreUnavailable):
        await harness.store.get_task("t0")
    await asyncio.to_thread(server.start)
    assert await harness.store.put_devices([meter("b")]) == 1
    await harness.store.close()


async def test_without_its_lock_a_store_does_nothing(server: PostgresServer) -> None:
    """Another server took the database over while this one was away from it."""
    harness = await Killable.on(server, "taken")
    await create(harness, "t", ["a"])
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    other = await PostgresStore.open(harness.url)
    with pytest.raises(StoreUnavailable, match="taken over"):
        await harness.store.get_task("t")
    await other.close()
    assert (await harness.store.get_task("t")).counts.total == 1
    await harness.store.close()


async def test_sessions_ended_in_the_middle_of_calls(harness: PostgresHarness) -> None:
    """Every call happens wholly or not at all; most are made again without their caller's notice."""
    ids = [f"m{number:03d}" for number in range(300)]
    await create(harness, "t", ids, bucket_size=100)
    killer = await asyncpg.connect(harness.url)
    ends = 0

    async def end_sessions() -> None:
        nonlocal ends
        while True:
            await asyncio.sleep(0.03)
            ends += await killer.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'metercast' AND pid <> pg_backend_pid()"
            )

    ending = asyncio.create_task(end_sessions())
    try:
        for _ in range(3):
            bucket = await patiently(lambda: lease(harness, "t"))
            begun = await patiently(lambda bucket=bucket: begin(harness, bucket))  # type: ignore[misc]
            assert len(begun.begun) == 100
            for n in range(0, 100, 2):
                results = [success(bucket, each) for each in range(n, n + 2)]
                await patiently(
                    lambda bucket=bucket, results=results: harness.store.record_results(bucket.lease, results)  # type: ignore[misc]
                )
    finally:
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        await killer.close()
    assert ends
    await patiently(lambda: check_counts(harness, "t"))
    assert {row["command_status"] for row in await harness.raw_devices("t")} == {"SUCCESS"}


async def test_a_statement_that_takes_too_long_is_given_up(harness: PostgresHarness) -> None:
    database = await Database.open(harness.url, Limits(2, statement_seconds=0.2), exclusive=False)
    other = await asyncpg.connect(harness.url)
    async with other.transaction():
        await other.execute("LOCK TABLE devices")
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            await database.call("SELECT count(*) FROM devices")
    assert (await database.call("SELECT count(*) FROM devices"))[0] == 0
    await other.close()
    await database.close()


async def test_who_waits_for_a_connection_too_long_is_told(harness: PostgresHarness) -> None:
    limits = Limits(connections=1, connect_seconds=0.2, statement_seconds=5.0)
    database = await Database.open(harness.url, limits, exclusive=False)
    ends = await asyncio.gather(database.call("SELECT pg_sleep(1)"), database.call("SELECT 1"), return_exceptions=True)
    assert isinstance(ends[1], StoreUnavailable)
    assert not isinstance(ends[0], BaseException)
    await database.close()


async def test_a_cancelled_call_gives_its_connection_back(harness: PostgresHarness) -> None:
    database = await Database.open(harness.url, Limits(connections=1), exclusive=False)
    for _ in range(3):
        call = asyncio.create_task(database.call("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert (await database.call("SELECT 1"))[0] == 1
    await database.close()


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_transaction_rolled_back_for_another_is_run_again(harness: PostgresHarness, state: str) -> None:
    database = await Database.open(harness.url, Limits(2), exclusive=False)
    runs = 0

    async def work(connection: Any, now: Any) -> int:
        nonlocal runs
        runs += 1
        await connection.execute("INSERT INTO invocation_counters VALUES ($1, 'k', 't', 1)", f"run-{runs}")
        if runs < 3:
            await connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")
        return runs

    assert await database.write(work) == 3
    assert [tuple(row) for row in await database.rows("SELECT device_id FROM invocation_counters")] == [("run-3",)]

    async def never(connection: Any, now: Any) -> None:
        await connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")

    with pytest.raises(StoreUnavailable, match=state):
        await database.write(never)
    await database.close()


async def test_batches_of_two_tasks_on_the_same_meters_do_not_wait_for_each_other(harness: PostgresHarness) -> None:
    """Whatever the order they come in, no deadlock: each meter is in one session, and the other batch goes on."""
    ids = [f"m{number:03d}" for number in range(200)]
    for name, order in (("forwards", ids), ("backwards", ids[::-1])):
        await create(harness, name, order, bucket_size=200)
    for _ in range(5):
        one, two = await lease(harness, "forwards"), await lease(harness, "backwards")
        ends = await asyncio.gather(begin(harness, one), begin(harness, two))
        begun = [{each.meter.device_id for each in end.begun} for end in ends]
        assert not begun[0] & begun[1]
        assert [len(end.begun) + len(end.locked) for end in ends] == [200, 200]
        await harness.store.release_owner("worker")
        for each in (one, two):
            await harness.rows(
                "UPDATE task_devices SET command_status = 'PENDING', tries = 0 WHERE task_id = $1", each.task.task_id
            )
            await harness.rows("UPDATE task_buckets SET pending = 200, sent = 0 WHERE task_id = $1", each.task.task_id)
    deadlocks = "SELECT deadlocks::integer AS n FROM pg_stat_database WHERE datname = current_database()"
    assert (await harness.rows(deadlocks))[0]["n"] == 0


async def test_the_clock_is_the_database_servers(harness: PostgresHarness) -> None:
    store = await PostgresStore.open(harness.url, exclusive=False)
    (row,) = await harness.rows("SELECT clock_timestamp() AS now")
    assert abs((store.database.clock() - row["now"]).total_seconds()) < 5
    await store.close()


def test_a_corrected_clock_never_goes_back() -> None:
    clock = DatabaseClock()
    first = clock()
    clock.correct(first, first + timedelta(hours=1), first)
    later = clock()
    assert later - first >= timedelta(hours=1)
    clock.correct(first, first, first)
    assert clock() == later


# The server of the tests itself


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match="no_such_setting"):
        PostgresServer.started(durable=False, settings={"no_such_setting": "1"})


def test_a_server_ends_with_the_process_that_started_it() -> None:
    script = (
        "import sys, time; from tests.servers.postgres import PostgresServer;"
        "s = PostgresServer.started(durable=False); print(s.pid, s.directory, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid, directory = process.stdout.readline().decode().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(directory)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_its_password_is_on_no_command_line(server: PostgresServer) -> None:
    password = server.url().partition(":")[2].partition(":")[2].partition("@")[0]
    assert len(password) > 20
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert password.encode() not in path.read_bytes()
        except OSError:
            continue
