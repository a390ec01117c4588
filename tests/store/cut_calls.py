"""Every call that a connection can be lost in: what it needs before, and what must be stored after it."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.store.fleet import (
    LEASE,
    Spool,
    at,
    begin,
    begun_bucket,
    check_counts,
    create,
    failure,
    lease,
    meter,
    new_task,
    retry,
    streamed,
    success,
    sweep,
)
from tests.store.harness import StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.problem import Conflict, NotFound
from metercast.domain.states import IllegalTransition, TaskStatus
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Begun, LeasedBucket, LeaseLost
from metercast.store.counters import CounterName
from metercast.store.keys import Role
from metercast.store.tasks import UNSEALED_SECONDS, DeviceQuery, TaskQuery


@dataclass
class Moment:
    """What one call acts upon: a task, meters and ids of its own. `noted` is what a case keeps for its check."""

    harness: StoreHarness
    name: str
    noted: Any = None
    answers: list[Any] = field(default_factory=list)  # of the calls that got through

    @property
    def ids(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(3)]

    async def create(self, **changes: Any) -> None:
        await create(self.harness, self.name, self.ids, **changes)


Step = Callable[[Moment], Awaitable[Any]]


async def nothing(moment: Moment) -> None:
    """Needs nothing before."""


@dataclass(frozen=True)
class Case:
    """`refused`: what the repetition of a call that was carried out may raise."""

    call: Step
    check: Step
    before: Step = nothing
    refused: tuple[type[Exception], ...] = ()
    points: Callable[[], Any] = itertools.count


# What is called, what it needs, and what must be stored


async def created(m: Moment) -> None:
    await m.create()


async def leased(m: Moment) -> None:
    await m.create()
    m.noted = await lease(m.harness, m.name)


async def leased_in_order(m: Moment) -> None:
    await m.create(conflict_group=ConflictGroup.RELAY)
    m.noted = await lease(m.harness, m.name)


async def begun(m: Moment) -> None:
    await m.create(conflict_group=ConflictGroup.CLOCK)
    m.noted = await begun_bucket(m.harness, m.name)


async def guessed(m: Moment) -> None:
    await m.create()
    m.noted = await begun_bucket(m.harness, m.name)
    ends = [failure(m.noted, ErrorWord.TIMEOUT, number) for number in range(3)]
    await m.harness.store.record_results(m.noted.lease, ends)
    await m.harness.store.finalise_ended()


async def ended(m: Moment) -> None:
    await m.create()
    await m.harness.store.cancel_task(m.name)


async def stored(m: Moment, *expected: str) -> None:
    rows = await m.harness.raw_devices(m.name)
    assert [row["device_id"] for row in rows] == m.ids
    assert [row["command_status"] for row in rows] == list(expected)
    await check_counts(m.harness, m.name)


async def all_pending(m: Moment) -> None:
    await stored(m, "PENDING", "PENDING", "PENDING")
    assert any(answer.is_new for answer in m.answers) or m.noted is None
    assert m.answers[-1].task.counts.pending == 3


async def task_is(m: Moment, status: TaskStatus) -> None:
    assert (await m.harness.store.get_task(m.name)).status is status
    row = await m.harness.raw_task(m.name)
    assert row is not None
    assert row["status"] == status


async def cancelled(m: Moment) -> None:
    await task_is(m, TaskStatus.CANCELLED)
    await stored(m, "CANCELLED", "CANCELLED", "CANCELLED")


async def one_lease(m: Moment) -> None:
    """Whoever has it, it is one; and when it has run out the bucket is free."""
    given = [answer for answer in m.answers if answer is not None]
    assert len({answer.lease for answer in given}) <= 1
    assert m.name not in {each.task_id for each in await m.harness.store.due_buckets(1000)}
    m.harness.clock.advance(LEASE + 1)
    again = await lease(m.harness, m.name)
    assert len((await begin(m.harness, again)).begun) == 3
    await no_lock_stays(m, again)


async def no_lock_stays(m: Moment, bucket: LeasedBucket) -> None:
    """Once all results are in, the meters are free for whatever comes next."""
    ends = [success(bucket, number, tries=device.tries + 1) for number, device in enumerate(bucket.devices)]
    await m.harness.store.record_results(bucket.lease, ends)
    m.harness.clock.advance(1)
    after = m.name + "-after"
    await create(m.harness, after, m.ids, conflict_group=ConflictGroup.RELAY)
    assert len((await begin(m.harness, await lease(m.harness, after))).begun) == 3


async def all_sent(m: Moment) -> None:
    answer: Begun = m.answers[-1]
    assert {each.meter.device_id: each.tries for each in answer.begun} == dict.fromkeys(m.ids, 1)
    assert (answer.locked, answer.waits, answer.ended) == ([], [], [])
    await stored(m, "SENT", "SENT", "SENT")
    await no_lock_stays(m, m.noted)
    await stored(m, "SUCCESS", "SUCCESS", "SUCCESS")


def ends_of(m: Moment) -> list[Any]:
    return [success(m.noted, 0, result={"n": 1}), failure(m.noted, ErrorWord.READ_WRITE_DENIED, 1), retry(m.noted, 2)]


async def all_recorded(m: Moment) -> None:
    moved = [transition.device_id for answer in m.answers for transition in answer]
    assert len(moved) == len(set(moved)), "no transition is told twice"
    await stored(m, "SUCCESS", "FAILED", "PENDING")
    detail = await m.harness.store.get_device_command(m.name, m.ids[1])
    assert [attempt.error for attempt in detail.attempts_made] == [ErrorWord.READ_WRITE_DENIED]
    assert (await m.harness.store.get_device_command(m.name, m.ids[0])).result == {"n": 1}
    m.harness.clock.advance(60)
    await create(m.harness, m.name + "-after", m.ids)
    assert len((await begin(m.harness, await lease(m.harness, m.name + "-after"))).begun) == 3


async def keep(m: Moment) -> None:
    await m.harness.store.keep_progress(m.noted.lease, m.noted.devices[1].position, 1, {"block": 8})


async def all_kept(m: Moment) -> None:
    bucket = m.noted
    ends = [retry(bucket, number, delay_seconds=0.0) for number in range(3)]
    await m.harness.store.record_results(bucket.lease, ends)
    again = await begin(m.harness, bucket)
    assert {each.meter.device_id: each.progress for each in again.begun} == dict(
        zip(m.ids, (None, {"block": 8}, None), strict=True)
    )


async def all_refused(m: Moment) -> None:
    await stored(m, "FAILED", "FAILED", "PENDING")


async def one_corrected(m: Moment) -> None:
    await stored(m, "SUCCESS", "FAILED", "FAILED")
    assert [answer for answer in m.answers if answer is not None][1:] == []
    task = await m.harness.store.get_task(m.name)
    assert (task.status, task.counts.success) == (TaskStatus.COMPLETED, 1)
    row = await m.harness.raw_task(m.name)
    assert row is not None
    assert row["outcome"] == "PARTIAL"


async def still_held(m: Moment) -> None:
    assert [len(answer) for answer in m.answers] == [1] * len(m.answers)
    assert len((await begin(m.harness, m.noted)).begun) == 3


async def released(m: Moment) -> None:
    with pytest.raises(LeaseLost):
        await begin(m.harness, m.noted)
    assert len((await begin(m.harness, await lease(m.harness, m.name))).begun) == 3


async def call_import(m: Moment) -> None:
    task, devices = m.noted
    if await m.harness.store.begin_import(task):
        await m.harness.store.import_task_devices(task, 0, devices)
        await m.harness.store.seal_import(task)


async def exported(m: Moment) -> None:
    await begun(m)
    await m.harness.store.record_results(m.noted.lease, ends_of(m))
    (task,) = [each async for part in m.harness.store.export_tasks() for each in part if each.task_id == m.name]
    devices = [each async for part in m.harness.store.export_task_devices(m.name) for each in part]
    await m.harness.store.cancel_task(m.name)
    await m.harness.store.finalise_ended()
    await m.harness.store.retire_tasks(at(1e9), 1000)
    await sweep(m.harness)
    m.noted = task, devices


async def imported(m: Moment) -> None:
    await stored(m, "SUCCESS", "FAILED", "PENDING")
    assert m.noted[1] == [each async for part in m.harness.store.export_task_devices(m.name) for each in part]


async def swept_away(m: Moment) -> None:
    assert await m.harness.raw_task(m.name) is None
    assert await m.harness.raw_devices(m.name) == []


async def retire_and_sweep(m: Moment) -> None:
    await m.harness.store.retire_tasks(at(1e9), 1000)
    await sweep(m.harness)


async def reserve(m: Moment) -> int:
    return await m.harness.store.reserve_counters(CounterName(m.name, "f", "t"), 10)


async def no_value_twice(m: Moment) -> None:
    values = [set(range(first, first + 10)) for first in (*m.answers, await reserve(m))]
    assert sum(map(len, values)) == len(set().union(*values))


async def create_large(m: Moment) -> Any:
    spool = Spool(m.harness.create_chunk + 1, prefix=m.name)
    return await m.harness.store.create_task(new_task(m.name, bucket_size=500), spool, allow_unknown=True)


async def large_is_whole(m: Moment) -> None:
    ids = Spool(m.harness.create_chunk + 1, prefix=m.name).ids()
    assert [row["device_id"] for row in await m.harness.raw_devices(m.name)] == ids
    await check_counts(m.harness, m.name)
    m.harness.clock.advance(UNSEALED_SECONDS + 1)
    assert await sweep(m.harness) == 0


async def the_same(m: Moment) -> None:
    assert all(answer == m.answers[0] for answer in m.answers)


async def look(m: Moment) -> Any:
    store = m.harness.store
    await store.ping()
    return [
        await store.get_task(m.name),
        await store.list_tasks(TaskQuery(device_id=m.ids[0]), 10, None),
        await streamed(m.harness, m.name),
        await store.list_devices(m.name, DeviceQuery(), 2, None),
        await store.get_device_command(m.name, m.ids[0]),
        await store.error_counts(m.name),
        await store.find_devices(m.ids),
    ]


async def schedule(m: Moment) -> None:
    await m.harness.store.start_due_tasks()
    await m.harness.store.expire_due()
    await m.harness.store.finalise_ended()


async def about_to_end(m: Moment) -> None:
    await m.create(scheduled_at=m.harness.clock.now.replace(year=2027), expires_at=m.harness.clock.now)


async def to_follow_up(m: Moment) -> None:
    await m.create(follow_up_at=m.harness.clock.now)
    await m.harness.store.cancel_task(m.name)


async def follow_up_is_settled(m: Moment) -> None:
    assert (await m.harness.store.get_task(m.name)).follow_up_task_id == "looks"
    assert m.name not in {each.task_id for each in await m.harness.store.due_follow_ups(1000)}


async def expired(m: Moment) -> None:
    await stored(m, "FAILED", "FAILED", "FAILED")
    await task_is(m, TaskStatus.FAILED)


async def paused(m: Moment) -> None:
    await created(m)
    await m.harness.store.pause_task(m.name)


async def registered(m: Moment) -> None:
    await m.harness.store.put_devices([meter(each) for each in m.ids])


async def due_bucket(m: Moment) -> None:
    await m.create()
    (m.noted,) = [each.bucket_id for each in await m.harness.store.due_buckets(1000) if each.task_id == m.name]


async def found_again(m: Moment) -> None:
    assert sorted(await m.harness.store.find_devices(m.ids)) == m.ids


async def gone(m: Moment) -> None:
    assert sorted(await m.harness.store.find_devices(m.ids)) == m.ids[1:]


async def key_is_there(m: Moment) -> None:
    found = await m.harness.store.find_key(m.name.encode())
    assert found is not None
    assert found.key_id == m.name


CASES: dict[str, Case] = {
    "create_task": Case(
        lambda m: m.harness.store.create_task(new_task(m.name), m.ids, allow_unknown=False), all_pending, registered
    ),
    "create_task, large": Case(
        create_large, large_is_whole, points=lambda: itertools.chain([0], (4**power for power in range(6)))
    ),
    "look up": Case(look, the_same, begun),
    "cancel_task": Case(lambda m: m.harness.store.cancel_task(m.name), cancelled, created, (IllegalTransition,)),
    "pause_task": Case(
        lambda m: m.harness.store.pause_task(m.name),
        lambda m: task_is(m, TaskStatus.PAUSED),
        created,
        (IllegalTransition,),
    ),
    "resume_task": Case(
        lambda m: m.harness.store.resume_task(m.name),
        lambda m: task_is(m, TaskStatus.IN_PROGRESS),
        paused,
        (IllegalTransition,),
    ),
    "start, expire, finalise": Case(schedule, expired, about_to_end),
    "lease_bucket": Case(lambda m: m.harness.store.lease_bucket(m.noted, "w", LEASE), one_lease, due_bucket),
    "renew_leases": Case(lambda m: m.harness.store.renew_leases([m.noted.lease], LEASE), still_held, leased),
    "release_bucket": Case(lambda m: m.harness.store.release_bucket(m.noted.lease, 0), released, leased, (LeaseLost,)),
    "release_owner": Case(lambda m: m.harness.store.release_owner("worker"), released, leased),
    "begin_attempts": Case(lambda m: begin(m.harness, m.noted), all_sent, leased),
    "begin_attempts, in order": Case(lambda m: begin(m.harness, m.noted), all_sent, leased_in_order),
    "keep_progress": Case(keep, all_kept, begun),
    "record_results": Case(lambda m: m.harness.store.record_results(m.noted.lease, ends_of(m)), all_recorded, begun),
    "refuse_devices": Case(
        lambda m: m.harness.store.refuse_devices(
            m.noted.lease, [device.position for device in m.noted.devices[:2]], ErrorWord.UNKNOWN_DEVICE, "gone"
        ),
        all_refused,
        leased,
    ),
    "record_late_result": Case(
        lambda m: m.harness.store.record_late_result(m.name, success(m.noted, 0)), one_corrected, guessed
    ),
    "put_devices": Case(
        registered,
        found_again,
    ),
    "delete_device": Case(lambda m: m.harness.store.delete_device(m.ids[0]), gone, registered, (NotFound,)),
    "reserve_counters": Case(reserve, no_value_twice),
    "add_key": Case(
        lambda m: m.harness.store.add_key(m.name, "name", Role.ADMIN, m.name.encode()),
        key_is_there,
        refused=(Conflict,),
    ),
    "settle_follow_up": Case(
        lambda m: m.harness.store.settle_follow_up(m.name, "looks"), follow_up_is_settled, to_follow_up
    ),
    "retire and sweep": Case(retire_and_sweep, swept_away, ended),
    "import": Case(call_import, imported, exported),
}
