"""SQLite with other processes about: in use, locked, full, killed."""

import asyncio
import contextlib
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.store.fleet import meter, new_task
from tests.store.harness import ManualClock

from metercast.store.errors import StoreInUse, StoreUnavailable
from metercast.store.sqlite import SqliteStore
from metercast.store.sqlite.database import Database
from metercast.store.tasks import TaskQuery


@contextlib.asynccontextmanager
async def child(mode: str, path: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.sqlite_child", mode, str(path), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metercast.db"
    async with child("hold", path) as process:
        assert await line(process) == "ready"
        with pytest.raises(StoreInUse, match="another process"):
            await SqliteStore.open(path)
        process.kill()
        await process.wait()
    store = await SqliteStore.open(path)  # the kernel gave the lock back
    await store.close()


async def test_a_locked_database_is_an_error_and_not_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "metercast.db"
    store = SqliteStore(await Database.open(path, ManualClock(), busy_seconds=0.05))
    await store.put_devices([meter("before")])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.put_devices([meter("meanwhile")])
    assert await store.count_devices() == 1
    other.execute("COMMIT")
    other.close()
    assert await store.put_devices([meter("meanwhile")]) == 1
    await store.close()


async def test_calls_that_wait_together_fail_or_succeed_each_for_itself(tmp_path: Path) -> None:
    """They share a transaction; what one raises rolls back that one."""
    store = await SqliteStore.open(tmp_path / "metercast.db")
    await store.put_devices([meter("m")])
    calls = [store.create_task(new_task(f"t{n}"), ["m" if n % 2 else "?"], allow_unknown=False) for n in range(20)]
    ends = await asyncio.gather(*calls, *(store.delete_device("none") for _ in range(5)), return_exceptions=True)
    assert [isinstance(end, BaseException) for end in ends] == [n % 2 == 0 for n in range(20)] + [True] * 5
    found = {task.task_id for task in (await store.list_tasks(TaskQuery(), 100, None)).items}
    assert found == {f"t{n}" for n in range(1, 20, 2)}
    await store.close()


async def test_a_full_disk_is_an_error_and_not_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "metercast.db"
    async with child("fill", path) as process:
        out, err = await process.communicate()
    lines = out.decode().splitlines()
    assert process.returncode == 0, err.decode()
    assert [each.split()[0] for each in lines] == ["full", "full", "end"]
    store = await SqliteStore.open(path)
    assert await store.count_devices() == int(lines[-1].split()[1])
    assert (await store.get_task("t")).counts.total == 1
    await store.close()


async def test_a_full_database_rolls_back_whole(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "metercast.db")
    await store.put_devices([meter("m")])

    def limit(pages: int) -> None:
        store.database._writer_connection.execute(f"PRAGMA max_page_count = {pages}")

    limit(1)  # as small as what is there already
    with pytest.raises(StoreUnavailable, match="full"):
        await store.create_task(new_task("t"), [f"x{n}" for n in range(5000)], allow_unknown=True)
    assert await store.count_devices() == 1
    limit(1_000_000)
    created = await store.create_task(new_task("t"), [f"x{n}" for n in range(5000)], allow_unknown=True)
    assert created.is_new
    assert created.task.counts.pending == 5000
    await store.close()
