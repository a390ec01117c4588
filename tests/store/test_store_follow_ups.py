"""What is to be followed up: due from its time on, once its task is over, until it is settled; and kept so long."""

from datetime import timedelta

from tests.store.fleet import begun_bucket, create, success
from tests.store.harness import StoreHarness

from metercast.domain.task import Task
from metercast.store.tasks import TaskQuery


async def due(harness: StoreHarness, limit: int = 100) -> list[str]:
    return [each.task_id for each in await harness.store.due_follow_ups(limit)]


async def over(harness: StoreHarness, task_id: str, *, minutes: float | None, devices: int = 1) -> Task:
    """A task that has just ended, to be followed up in so many minutes."""
    at = None if minutes is None else harness.clock.now + timedelta(minutes=minutes, microseconds=7)
    await create(harness, task_id, [f"m{number:03d}" for number in range(devices)], follow_up_at=at)
    await harness.store.cancel_task(task_id)
    return await harness.store.get_task(task_id)


async def test_it_is_due_from_its_time_on_once_the_task_is_over(harness: StoreHarness) -> None:
    at = harness.clock.now + timedelta(minutes=10)
    await create(harness, "t", ["a"], follow_up_at=at)
    assert (await harness.store.get_task("t")).follow_up_at == at
    bucket = await begun_bucket(harness, "t")
    harness.clock.advance(599)
    await harness.store.renew_leases([bucket.lease], 3600)
    assert await due(harness) == []
    harness.clock.advance(1)
    assert await due(harness) == [], "its devices are open"
    again = await harness.store.lease_bucket(bucket.lease.bucket_id, "worker", 60)
    assert again is not None
    await harness.store.record_results(again.lease, [success(again)])
    await harness.store.finalise_ended()
    assert await due(harness) == ["t"]
    (found,) = await harness.store.due_follow_ups(10)
    assert found == await harness.store.get_task("t")


async def test_the_longest_due_come_first_and_no_more_than_asked_for(harness: StoreHarness) -> None:
    for task_id, minutes in (("late", 3), ("first", 1), ("second", 2), ("never", None), ("far", 60)):
        await over(harness, task_id, minutes=minutes)
    harness.clock.advance(200)
    assert await due(harness) == ["first", "second", "late"]
    assert await due(harness, 2) == ["first", "second"]


async def test_once_settled_it_is_not_due_again(harness: StoreHarness) -> None:
    linked, bare = await over(harness, "linked", minutes=1), await over(harness, "bare", minutes=1, devices=120)
    harness.clock.advance(61)
    for _ in range(2):
        await harness.store.settle_follow_up("linked", "child")
        await harness.store.settle_follow_up("bare", None)
    await harness.store.settle_follow_up("linked", "another")
    await harness.store.settle_follow_up("no such task", "child")
    assert await due(harness) == []
    found = await harness.store.get_task("linked")
    assert (found.follow_up_at, found.follow_up_task_id) == (linked.follow_up_at, "child")
    assert found.updated_at == linked.updated_at, "a follow-up is no change of the task"
    found = await harness.store.get_task("bare")
    assert (found.follow_up_at, found.follow_up_task_id) == (None, None)
    assert bare.follow_up_at is not None
    listed = {each.task_id: each for each in (await harness.store.list_tasks(TaskQuery(), 10, None)).items}
    assert listed["linked"].follow_up_task_id == "child"


async def test_what_is_to_be_followed_up_is_not_retired(harness: StoreHarness) -> None:
    for task_id, minutes in (("waits", 60), ("settled", 1), ("bare", 1), ("none", None)):
        await over(harness, task_id, minutes=minutes)
    await harness.store.settle_follow_up("settled", "child")
    await harness.store.settle_follow_up("bare", None)
    harness.clock.advance(7200)
    assert await harness.store.count_ended(harness.clock.now) == 3
    assert await harness.store.retire_tasks(harness.clock.now, 10) == 3
    assert [each.task_id for each in (await harness.store.list_tasks(TaskQuery(), 10, None)).items] == ["waits"]
    await harness.store.settle_follow_up("waits", None)
    assert await harness.store.retire_tasks(harness.clock.now, 10) == 1
