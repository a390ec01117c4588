"""MongoDB with trouble about: the server killed and started again, a process of ours that ends between two writes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers import mongodb
from tests.servers.mongodb import MongoServer
from tests.servers.process import NotStarted
from tests.servers.proxy import FaultProxy
from tests.store.fleet import (
    at,
    begun_bucket,
    check_counts,
    create,
    failure,
    lease,
    meter,
    new_task,
    retry,
    status_of,
    success,
    sweep,
)
from tests.store.harness import ManualClock
from tests.store.mongo_harness import MongoHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.outcome import How
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.words import ErrorWord
from metercast.store.attempts import LeasedBucket, LeaseLost, Result
from metercast.store.contract import Store
from metercast.store.errors import StoreUnavailable
from metercast.store.mongo import MongoStore
from metercast.store.tasks import UNSEALED_SECONDS, TaskQuery

# The server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    """One of its own, which may be killed."""
    started = MongoServer.started(tmp_path)
    yield started
    started.delete()


async def test_what_was_answered_outlives_the_servers_kill(server: MongoServer) -> None:
    clock = ManualClock()
    url = server.new_database().replace(mongodb.PATIENT, "timeoutMS=5000")
    store = await MongoStore.open(url, clock)
    ids = [f"m{number:02d}" for number in range(20)]
    await store.put_devices([meter(each) for each in ids])
    await store.create_task(new_task("t"), ids, allow_unknown=False)
    (due,) = await store.due_buckets(10)
    bucket = await store.lease_bucket(due.bucket_id, "w", 600)
    assert bucket is not None
    for number in range(0, 20, 5):
        begun = await store.begin_attempts(bucket.lease, bucket.devices[number : number + 5])
        assert len(begun.begun) == 5
        server.kill()
        with pytest.raises(StoreUnavailable):
            await store.ping()
        server.start()
        results = [success(bucket, each) for each in range(number, number + 5)]
        assert len(await again(lambda given=results: store.record_results(bucket.lease, given))) == 5  # type: ignore[misc]
        server.kill()
        server.start()
        counts = (await again(lambda: store.get_task("t"))).counts
        assert (counts.success, counts.pending, counts.sent) == (number + 5, 15 - number, 0)
    assert [task.outcome for task in await again(store.finalise_ended)] == ["SUCCEEDED"]
    await store.close()


async def again(call: Callable[[], Awaitable[Any]]) -> Any:
    """Until the driver has found the server again."""
    for _ in range(100):
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(0.05)
    raise AssertionError("the store does not come back")


PARENT = """
import sys, time
from pathlib import Path
from tests.servers.mongodb import MongoServer
print(MongoServer.started(Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 30
    while runs(pid):
        assert time.monotonic() < deadline, "the server outlives its parent"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = MongoServer.started(tmp_path)
    other = MongoServer(tmp_path)
    other.port = running.port
    with pytest.raises(NotStarted, match="ddress already in use"):
        other.start()
    other.delete()
    running.delete()
    monkeypatch.setattr(mongodb, "_PROGRAM", tmp_path / "none")
    with pytest.raises(NotStarted, match="make test"):
        MongoServer.started(tmp_path)


def test_the_users_own_server_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongodb, "_shared", None)
    monkeypatch.setenv(mongodb.URL_VARIABLE, "mongodb://me:secret@db.example:27018/?replicaSet=rs")
    taken = mongodb.shared()
    assert taken.address == ("db.example", 27018)
    assert taken.url("x") == "mongodb://me:secret@db.example:27018/x?replicaSet=rs"
    assert taken.new_database() != taken.new_database()


# A process of ours: its connections are cut before its n-th message and never come back. Another takes over.


IDS = [f"m{number:03d}" for number in range(12)]  # in two buckets
GROUP: dict[str, Any] = {"conflict_group": ConflictGroup.RELAY, "bucket_size": 8}


class Moment:
    """`doomed` is the store of the process that ends; `noted` is what was prepared for its call."""

    def __init__(self, mongo: MongoHarness, doomed: Store) -> None:
        self.mongo = mongo
        self.doomed = doomed
        self.noted: Any = None


Step = Callable[[Moment], Awaitable[Any]]


async def nothing(moment: Moment) -> None:
    await moment.mongo.store.put_devices([meter(each) for each in IDS])


async def created(moment: Moment) -> None:
    await create(moment.mongo, "t", IDS, expires_at=at(1000), **GROUP)


async def leased(moment: Moment) -> None:
    """An older command of the group waits for its retry on every meter."""
    await create(moment.mongo, "older", IDS[:50], expires_at=at(1000), **GROUP)
    bucket = await begun_bucket(moment.mongo, "older")
    await moment.mongo.store.record_results(
        bucket.lease, [retry(bucket, n, delay_seconds=900.0) for n in range(len(bucket.devices))]
    )
    await moment.mongo.store.release_bucket(bucket.lease, 900)
    moment.mongo.clock.advance(1)
    await created(moment)
    moment.noted = await lease(moment.mongo, "t", "doomed")


async def begun(moment: Moment) -> None:
    await created(moment)
    moment.noted = await begun_bucket(moment.mongo, "t", "doomed")


async def half_way(moment: Moment) -> None:
    """One of the two buckets has some SENT, some to wait and some that ended."""
    await created(moment)
    bucket = await lease(moment.mongo, "t", "doomed")
    await moment.mongo.store.begin_attempts(bucket.lease, bucket.devices[:5])
    await moment.mongo.store.record_results(
        bucket.lease, [success(bucket), failure(bucket, ErrorWord.TIMEOUT, 1), retry(bucket, 2)]
    )


async def expired(moment: Moment) -> None:
    await half_way(moment)
    moment.mongo.clock.advance(1000)


async def ended(moment: Moment) -> None:
    """Every device has ended, the first by a guess; the task is not final yet."""
    await created(moment)
    for number in range(2):
        bucket = await begun_bucket(moment.mongo, "t", "doomed")
        word = ErrorWord.TIMEOUT if number == 0 else ErrorWord.TYPE_UNMATCHED
        results = [failure(bucket, word, n) for n in range(len(bucket.devices))]
        await moment.mongo.store.record_results(bucket.lease, results)
        moment.noted = moment.noted or bucket


async def final(moment: Moment) -> None:
    await ended(moment)
    await moment.mongo.store.finalise_ended()


async def retired(moment: Moment) -> None:
    await final(moment)
    moment.mongo.clock.advance(1)
    await moment.mongo.store.retire_tasks(moment.mongo.clock.now, 10)


def ends_of(bucket: LeasedBucket) -> list[Result]:
    """A result of every kind, with all that is kept beside it."""
    results = [success(bucket, n, result={"n": n}) for n in range(len(bucket.devices))]
    results[0] = failure(bucket, ErrorWord.TIMEOUT)
    results[1] = retry(bucket, 1, progress={"block": 1})
    return results


CALLS: dict[str, tuple[Step, Step]] = {
    "create": (nothing, lambda m: m.doomed.create_task(new_task("t", **GROUP), IDS, allow_unknown=False)),
    "create small": (nothing, lambda m: m.doomed.create_task(new_task("t", **GROUP), IDS[:6], allow_unknown=False)),
    "begin": (leased, lambda m: m.doomed.begin_attempts(m.noted.lease, m.noted.devices)),
    "record": (begun, lambda m: m.doomed.record_results(m.noted.lease, ends_of(m.noted))),
    "cancel": (half_way, lambda m: m.doomed.cancel_task("t")),
    "expire": (expired, lambda m: m.doomed.expire_due()),
    "finalise": (ended, lambda m: m.doomed.finalise_ended()),
    "late": (final, lambda m: m.doomed.record_late_result("t", success(m.noted, result=7))),
    "sweep": (retired, lambda m: m.doomed.sweep_unsealed(50)),
}
MOST_WRITES = 100


@pytest.fixture
async def mongo() -> AsyncIterator[MongoHarness]:
    started = await MongoHarness.start(behind_proxy=True)
    assert isinstance(started, MongoHarness)
    yield started
    assert started.proxy is not None
    started.proxy.heal()
    await started.close()


@pytest.mark.parametrize("name", list(CALLS))
async def test_a_process_that_ends_before_any_of_its_messages_leaves_what_another_can_end(
    mongo: MongoHarness, name: str
) -> None:
    proxy = mongo.proxy
    assert proxy is not None
    await mongo.store.close()
    mongo.store = await MongoStore.open(mongo.url, mongo.clock)  # the survivor, past the proxy
    before, call = CALLS[name]
    for messages in range(MOST_WRITES):
        moment = Moment(mongo, await MongoStore.open(mongo.store_url, mongo.clock, exclusive=False))
        await before(moment)
        cuts = proxy.cuts
        proxy.cut_after(messages, "up", refuse=True)
        was_cut = await dies(call(moment), proxy, cuts)
        await moment.doomed.close()
        proxy.heal()
        await take_over(mongo, name)
        if not was_cut:
            break
    assert was_cut is False
    assert messages > 2


async def dies(call: Awaitable[Any], proxy: FaultProxy, cuts: int) -> bool:
    """Whether the call was cut. It ends there: its process lives no longer than its connections."""
    running = asyncio.ensure_future(call)
    while not running.done() and proxy.cuts == cuts:
        await asyncio.wait([running], timeout=0.002)
    if proxy.cuts == cuts:
        await running
        return False
    while not running.done():  # also with what it would still do about it
        running.cancel()
        await asyncio.wait([running], timeout=0.002)
    await asyncio.gather(running, return_exceptions=True)
    return True


async def take_over(mongo: MongoHarness, name: str) -> None:
    """What sweeps do by themselves, then the work that is left, then the end of all of it."""
    store = mongo.store
    mongo.clock.advance(UNSEALED_SECONDS + 1)
    await store.release_owner("doomed")
    await store.finalise_ended()
    await sweep(mongo)
    ids = {task.task_id for task in (await store.list_tasks(TaskQuery(), 10, None)).items}
    if name == "cancel" and (await store.get_task("t")).status is TaskStatus.CANCELLED:
        assert {row["command_status"] for row in await mongo.raw_devices("t")} <= {
            "CANCELLED", "SENT", "SUCCESS", "FAILED"
        }  # fmt: skip
    if name == "begin":
        await check_order(mongo)
    await check_counts(mongo, *ids)
    await work_to_the_end(mongo)
    await check_counts(mongo, *ids)
    if name in ("begin", "record"):
        await check_locks(mongo)
    assert await mongo.raw.open_commands.count_documents({}) == 0
    assert await mongo.raw.task_buckets.count_documents({"dueAt": {"$exists": True}}) == 0
    mongo.clock.advance(1)
    await store.retire_tasks(mongo.clock.now, 10)
    await sweep(mongo)
    assert await mongo.raw_rows() == 0
    mongo.clock.now = at(0)


async def check_locks(mongo: MongoHarness) -> None:
    """What is left of them belongs to dead leases: every meter is free."""
    await create(mongo, "after", IDS, bucket_size=8)
    for _ in range(2):
        bucket = await begun_bucket(mongo, "after")
        await mongo.store.record_results(bucket.lease, [success(bucket, n) for n in range(len(bucket.devices))])
    assert [task.task_id for task in await mongo.store.finalise_ended()] == ["after"]


async def check_order(mongo: MongoHarness) -> None:
    """Where the newer command is SENT, the older one of that meter never begins again."""
    newer = {row["device_id"]: row["command_status"] for row in await mongo.raw_devices("t")}
    mongo.clock.advance(900)
    older = await lease(mongo, "older", "doomed")
    begun = {each.meter.device_id for each in (await mongo.store.begin_attempts(older.lease, older.devices)).begun}
    assert not {name for name in begun if newer[name] == "SENT"}
    await mongo.store.release_owner("doomed")


async def work_to_the_end(mongo: MongoHarness) -> None:
    store = mongo.store
    for _ in range(20):
        await store.start_due_tasks()
        await store.finalise_ended()
        due = await store.due_buckets(100)
        if not due and all(task.outcome for task in (await store.list_tasks(TaskQuery(), 10, None)).items):
            return
        for each in due:
            bucket = await store.lease_bucket(each.bucket_id, "survivor", 600.0)
            assert bucket is not None
            sent = [device for device in bucket.devices if device.status is DeviceStatus.SENT]
            lost = [
                Result(d.position, d.device_id, d.tries, DeviceStatus.FAILED, 1, 0, ErrorWord.OUTCOME_UNKNOWN, "lost")
                for d in sent
            ]
            assert len(await store.record_results(bucket.lease, lost)) == len(lost)
            begun = await store.begin_attempts(bucket.lease, bucket.devices)
            done = [
                Result(each.position, each.meter.device_id, each.tries, DeviceStatus.SUCCESS, 1, how=How.DONE)
                for each in begun.begun
            ]
            assert len(await store.record_results(bucket.lease, done)) == len(done)
            await store.release_bucket(bucket.lease, 0.0)
        mongo.clock.advance(100)
        await store.expire_due()
    raise AssertionError("the work does not end")


async def test_a_session_end_that_was_cut_does_not_count(mongo: MongoHarness) -> None:
    """Its history is written before the device: what stands there of an attempt that is still SENT has not been."""
    proxy = mongo.proxy
    assert proxy is not None
    direct = await mongo.another()
    assert direct is not None
    for messages in range(MOST_WRITES):
        task_id = f"t{messages}"
        await direct.put_devices([meter("m")])
        await direct.create_task(new_task(task_id), ["m"], allow_unknown=False)
        (due,) = [each for each in await direct.due_buckets(10) if each.task_id == task_id]
        bucket = await direct.lease_bucket(due.bucket_id, "doomed", 60)
        assert bucket is not None
        await direct.begin_attempts(bucket.lease, bucket.devices)
        doomed = await MongoStore.open(mongo.store_url, mongo.clock, exclusive=False)
        cuts = proxy.cuts
        proxy.cut_after(messages, "up", refuse=True)
        result = failure(bucket, ErrorWord.TIMEOUT, detail="cut")
        try:
            await doomed.record_results(bucket.lease, [result])
        except StoreUnavailable:
            assert proxy.cuts > cuts
        was_cut = proxy.cuts > cuts
        await doomed.close()
        proxy.heal()
        mongo.clock.advance(60)
        found = await direct.get_device_command(task_id, "m")
        if found.command_status is DeviceStatus.SENT:
            assert [each.error for each in found.attempts_made] == [None]
            again = await direct.lease_bucket(due.bucket_id, "next", 60)
            assert again is not None
            await direct.record_results(again.lease, [success(again)])
            found = await direct.get_device_command(task_id, "m")
            assert [each.error for each in found.attempts_made] == [None]
            assert await status_of(mongo, task_id, "m") == ("SUCCESS", None)
        else:
            assert [(each.error, each.error_detail) for each in found.attempts_made] == [(ErrorWord.TIMEOUT, "cut")]
        if not was_cut:
            return
    raise AssertionError("never whole")


async def test_a_worker_that_wakes_up_after_its_lock_was_taken_over_begins_nothing(mongo: MongoHarness) -> None:
    """Nobody took its bucket, but another took the meter. By its own clock, which is late, its lease still lives."""
    await create(mongo, "sleeper", ["m", "x"])
    await create(mongo, "other", ["m"])
    bucket = await lease(mongo, "sleeper", "sleeper")
    lock = {"bucket": bucket.lease.bucket_id, "epoch": bucket.lease.epoch, "attempt": 1}
    await mongo.raw.meter_locks.insert_one({"_id": "m", **lock})  # it fell asleep with it
    mongo.clock.advance(60)
    await begun_bucket(mongo, "other", "other")
    late = ManualClock()
    late.advance(59)
    sleeper = await MongoStore.open(mongo.url, late, exclusive=False)
    for devices in (bucket.devices, bucket.devices[1:]):
        with pytest.raises(LeaseLost):
            await sleeper.begin_attempts(bucket.lease, devices)
    assert await sleeper.renew_leases([bucket.lease], 60) == []
    assert await status_of(mongo, "sleeper", "m") == ("PENDING", None)
    await sleeper.close()
