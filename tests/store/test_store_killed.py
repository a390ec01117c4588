"""A process on a store is killed between any two writes: nothing that it was told is lost, and the work can end."""

import asyncio
import random
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from datetime import UTC, datetime

from tests.store.child import COUNTER
from tests.store.fleet import counted, streamed, sweep
from tests.store.harness import StoreHarness

from metercast.domain.outcome import How
from metercast.domain.states import DeviceStatus
from metercast.domain.task import Task
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Result
from metercast.store.tasks import UNSEALED_SECONDS, TaskQuery

KILLS = 8


class Acknowledged:
    """What the children were told is stored."""

    def __init__(self) -> None:
        self.created: dict[str, list[str]] = {}
        self.sizes: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.final: dict[tuple[str, str], str] = {}  # device commands that ended, and how
        self.outcomes: dict[str, tuple[str, str]] = {}
        self.reserved: list[int] = []
        self.retired = 0  # at most
        self.over: dict[str, Task] = {}

    def hear(self, line: str) -> None:
        what, *words = line.split()
        if what == "created":
            self.created[words[0]] = words[1:]
            self.sizes[words[0]] = len(words) - 1
        elif what == "large":
            self.sizes[words[0]] = int(words[1])
        elif what == "cancelled":
            self.cancelled.add(words[0])
        elif what == "ended":
            self.outcomes[words[0]] = words[1], words[2]
        elif what == "recorded":
            for each in words[1:]:
                device_id, _, status = each.partition("=")
                assert (words[0], device_id) not in self.final, "ended twice"
                self.final[words[0], device_id] = status
        elif what == "retiring":
            self.retired += 1
        elif what == "reserved":
            self.reserved.append(int(words[0]))


async def run_and_kill(harness: StoreHarness, seed: str, lines_heard: int, rest: float) -> list[str]:
    """The lines of a child that is killed after some of them and a rest in seconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.child", *harness.child_arguments, seed, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(60):
            for _ in range(lines_heard):
                line = await process.stdout.readline()
                if not line:
                    break
                lines.append(line.decode())
        await asyncio.sleep(rest)
    finally:
        if process.returncode is None:
            process.kill()
        out, err = await process.communicate()
    assert process.returncode == -9, err.decode()
    lines += [line for line in out.decode().splitlines(keepends=True) if line.endswith("\n")]
    assert lines[0] == "ready\n", err.decode()
    return lines[1:]


async def tasks_of(harness: StoreHarness) -> dict[str, Task]:
    page = await harness.store.list_tasks(TaskQuery(), 10_000, None)
    assert page.next_cursor is None
    return {task.task_id: task for task in page.items}


async def check(harness: StoreHarness, told: Acknowledged) -> None:
    """What was told holds; what is there is whole. Retired tasks are gone, and were over."""
    tasks = await tasks_of(harness)
    assert len(told.sizes.keys() - tasks.keys()) <= told.retired, "lost"
    for task_id in told.sizes.keys() & tasks.keys():
        assert tasks[task_id].counts.total == told.sizes[task_id]
    for task_id, task in tasks.items():
        if task == told.over.get(task_id):
            continue  # as it was when it was looked at
        if task.outcome is not None:
            told.over[task_id] = task
        rows = await harness.raw_devices(task_id)
        assert task.counts == counted(rows)
        if task_id in told.created:
            assert [row["device_id"] for row in rows] == told.created[task_id]
        if task_id in told.cancelled:
            assert task.status == "CANCELLED"
        if task_id in told.outcomes:
            assert (task.status, task.outcome) == told.outcomes[task_id]
        if task.counts.total < 100:
            assert [each.device_id for each in await streamed(harness, task_id)] == [row["device_id"] for row in rows]
            for row in rows:
                status = told.final.get((task_id, row["device_id"]))
                assert status is None or row["command_status"] == status
    assert sorted(set(told.reserved)) == told.reserved, "a counter went back, or was given twice"


async def work_to_the_end(harness: StoreHarness) -> None:
    """No lease, lock or order of what died holds anything back for ever."""
    store = harness.store
    await store.release_owner("child")
    for _ in range(200):
        await store.start_due_tasks()
        await store.finalise_ended()
        due = await store.due_buckets(1000)
        if not due:
            break
        for each in due:
            bucket = await store.lease_bucket(each.bucket_id, "parent", 600.0)
            assert bucket is not None
            left = [device for device in bucket.devices if device.status is DeviceStatus.SENT]
            failed = [Result(d.position, d.device_id, d.tries, DeviceStatus.PENDING, d.used) for d in left]
            await store.record_results(bucket.lease, failed)
            unknown = [d.position for d in bucket.devices if d.status is DeviceStatus.PENDING and d.channel is None]
            await store.refuse_devices(bucket.lease, unknown, ErrorWord.UNKNOWN_DEVICE, "not registered")
            begun = await store.begin_attempts(bucket.lease, bucket.devices)
            ends = [
                Result(d.position, d.meter.device_id, d.tries, DeviceStatus.SUCCESS, 1, how=How.DONE)
                for d in begun.begun
            ]
            assert len(await store.record_results(bucket.lease, ends)) == len(ends)
            await store.release_bucket(bucket.lease, 0.0)
    assert await store.due_buckets(1000) == []
    assert all(task.outcome is not None for task in (await tasks_of(harness)).values())


async def test_killed_between_any_two_writes(harness: StoreHarness) -> None:
    moments = random.Random(11)
    told = Acknowledged()
    heard: Counter[str] = Counter()
    for number in range(KILLS):
        await harness.store.close()
        if number % 4 == 1:  # within the chunks of a large task
            lines = await run_and_kill(harness, f"large{number}", 1, 0.05 + moments.random() * 0.5)
        else:
            lines = await run_and_kill(harness, f"k{number}", moments.randrange(1, 40), moments.random() * 0.02)
        for line in lines:
            told.hear(line)
            heard[line.split()[0]] += 1
        harness.clock.now = datetime.now(UTC)
        await harness.reopen()
        await check(harness, told)
    assert min(heard[each] for each in ("created", "begun", "recorded", "ended", "cancelled", "reserved")) > 0, heard
    assert await harness.store.reserve_counters(COUNTER, 1) > max(told.reserved)
    harness.clock.advance(UNSEALED_SECONDS + 1)
    await sweep(harness)
    await work_to_the_end(harness)
    await check(harness, told)
    # Nothing hangs about that belongs to no task.
    tasks = await tasks_of(harness)
    harness.clock.advance(1)
    assert await harness.store.retire_tasks(harness.clock.now, 10_000) == len(tasks)
    await sweep(harness)
    assert await harness.raw_rows() == 0
