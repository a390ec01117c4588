"""Looking up and paging, under writes; cursors; streams."""

import base64

import pytest
from tests.store.fleet import at, begin, begun_bucket, create, failure, lease, parsed, retry, streamed, success
from tests.store.harness import StoreHarness

from metercast.domain.problem import InvalidField, NotFound
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.words import ErrorWord
from metercast.store.pages import encode_cursor
from metercast.store.tasks import DeviceQuery, TaskQuery


async def test_tasks_come_newest_first_and_pages_stay_put_under_writes(harness: StoreHarness) -> None:
    for number in range(10):
        await create(harness, f"t{number}", ["m"])
        harness.clock.advance(number % 2)  # pairs share their time
    expected = [task.task_id for task in (await harness.store.list_tasks(TaskQuery(), 100, None)).items]
    assert len(expected) == 10
    assert expected[0] == "t9" or expected[1] == "t9"
    seen: list[str] = []
    cursor = None
    for number in range(100):
        page = await harness.store.list_tasks(TaskQuery(), 3, cursor)
        seen += [task.task_id for task in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        harness.clock.advance(1)
        await create(harness, f"new{number}", ["m"])
        await harness.store.pause_task("t0") if number == 0 else await harness.store.cancel_task(f"t{number}")
        await harness.reopen()
    assert seen == expected


async def test_tasks_by_what_is_asked(harness: StoreHarness) -> None:
    await create(harness, "one", ["a", "b"], command_id="up-1", command_type="SET_TOU")
    harness.clock.advance(1)
    await create(harness, "two", ["b", "c"], command_id="up-2", command_type="SET_TOU", scheduled_at=at(100))
    harness.clock.advance(1)
    await create(harness, "three", ["c"], command_id="up-2")
    await harness.store.cancel_task("three")
    cases: list[tuple[TaskQuery, list[str]]] = [
        (TaskQuery(), ["three", "two", "one"]),
        (TaskQuery(command_id="up-2"), ["three", "two"]),
        (TaskQuery(command_id="up"), []),
        (TaskQuery(device_id="b"), ["two", "one"]),
        (TaskQuery(device_id="%"), []),
        (TaskQuery(status=TaskStatus.QUEUED), ["two"]),
        (TaskQuery(status=TaskStatus.CANCELLED, device_id="c"), ["three"]),
        (TaskQuery(command_type="SET_TOU"), ["two", "one"]),
        (TaskQuery(created_from=at(1)), ["three", "two"]),
        (TaskQuery(created_to=at(1)), ["one"]),
        (TaskQuery(created_from=at(1), created_to=at(2)), ["two"]),
    ]
    for query, expected in cases:
        page = await harness.store.list_tasks(query, 10, None)
        assert ([task.task_id for task in page.items], page.next_cursor) == (expected, None), query


async def test_devices_come_in_the_order_of_the_task_and_stay_put_under_writes(harness: StoreHarness) -> None:
    ids = [f"m{(number * 37) % 120:03d}" for number in range(120)]
    await create(harness, "t", ids)
    seen: list[str] = []
    cursor = None
    while True:
        page = await harness.store.list_devices("t", DeviceQuery(), 7, cursor)
        seen += [device.device_id for device in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        if len(seen) % 3 == 0 and (due := await harness.store.due_buckets(10)):
            bucket = await harness.store.lease_bucket(due[0].bucket_id, "w", 600)
            assert bucket is not None
            await begin(harness, bucket)
    assert seen == ids
    last = await harness.store.list_devices("t", DeviceQuery(), 120, None)
    assert last.next_cursor is None


async def test_devices_by_what_is_asked(harness: StoreHarness) -> None:
    await create(harness, "t", ["a", "b", "c", "d"])
    bucket = await lease(harness, "t")
    await harness.store.begin_attempts(bucket.lease, bucket.devices[:3])
    harness.clock.advance(10)
    await harness.store.record_results(
        bucket.lease, [success(bucket), failure(bucket, ErrorWord.TIMEOUT, 1), retry(bucket, 2)]
    )
    cases: list[tuple[DeviceQuery, list[str]]] = [
        (DeviceQuery(), ["a", "b", "c", "d"]),
        (DeviceQuery(status=DeviceStatus.PENDING), ["c", "d"]),
        (DeviceQuery(error=ErrorWord.TIMEOUT), ["b", "c"]),
        (DeviceQuery(error=ErrorWord.TIMEOUT, status=DeviceStatus.FAILED), ["b"]),
        (DeviceQuery(updated_since=at(10)), ["a", "b", "c"]),
        (DeviceQuery(updated_since=at(10.000001)), []),
    ]
    for query, expected in cases:
        page = await harness.store.list_devices("t", query, 10, None)
        assert [device.device_id for device in page.items] == expected, query
        first = await harness.store.list_devices("t", query, 1, None)
        assert [device.device_id for device in first.items] == expected[:1]
        assert (first.next_cursor is not None) == (len(expected) > 1)


BAD_CURSORS = ["", "x", "é", "💥", "AAAA", "bm90IGpzb24", "W10", "=" * 5, "A" * 10_000]


@pytest.mark.parametrize("cursor", BAD_CURSORS)
async def test_rubbish_is_no_cursor(harness: StoreHarness, cursor: str) -> None:
    await create(harness, "t", ["a"])
    for call in (
        harness.store.list_tasks(TaskQuery(), 10, cursor),
        harness.store.list_devices("t", DeviceQuery(), 10, cursor),
        harness.store.list_registered(None, 10, cursor),
    ):
        with pytest.raises(InvalidField) as caught:
            await call
        assert caught.value.path == "cursor"
        assert len(caught.value.detail) < 200


async def test_the_cursor_of_another_query_is_refused(harness: StoreHarness) -> None:
    for number in range(3):
        await create(harness, f"t{number}", ["a", "b", "c"])
    tasks = (await harness.store.list_tasks(TaskQuery(), 1, None)).next_cursor
    devices = (await harness.store.list_devices("t0", DeviceQuery(), 1, None)).next_cursor
    meters = (await harness.store.list_registered(None, 1, None)).next_cursor
    assert tasks
    assert devices
    assert meters
    for call in (
        harness.store.list_tasks(TaskQuery(device_id="a"), 1, tasks),
        harness.store.list_tasks(TaskQuery(), 1, devices),
        harness.store.list_devices("t1", DeviceQuery(), 1, devices),
        harness.store.list_devices("t0", DeviceQuery(status=DeviceStatus.SENT), 1, devices),
        harness.store.list_devices("t0", DeviceQuery(), 1, meters),
        harness.store.list_registered("a", 1, meters),
        harness.store.list_registered(None, 1, tasks),
    ):
        with pytest.raises(InvalidField, match="cursor"):
            await call


async def test_a_forged_position_is_no_traceback(harness: StoreHarness) -> None:
    await create(harness, "t", ["a"])
    for position in (2**70, -1, "1", None, 1.5):
        with pytest.raises(InvalidField):
            await harness.store.list_devices("t", DeviceQuery(), 1, encode_cursor(["t", DeviceQuery()], [position]))
    cursor = base64.urlsafe_b64encode(b'["", [[]]]').decode()
    with pytest.raises(InvalidField):
        await harness.store.list_tasks(TaskQuery(), 1, cursor)


async def test_a_stream_holds_every_device_once_in_order(harness: StoreHarness) -> None:
    ids = [f"m{(number * 37) % 120:03d}" for number in range(120)]
    await create(harness, "t", ids)
    pieces: list[bytes] = []
    async for piece in harness.store.stream_devices("t"):
        if not pieces:
            await begun_bucket(harness, "t")
        pieces.append(piece)
    assert [each.device_id for each in parsed(pieces)] == ids


async def test_a_bucket_of_a_stream_is_one_consistent_read(harness: StoreHarness) -> None:
    """A batch is begun as one write: a reader sees all of it or nothing."""
    await create(harness, "t", [f"m{number:02d}" for number in range(50)])
    stream = harness.store.stream_devices("t")
    bucket = await begun_bucket(harness, "t")
    assert {each.command_status for each in parsed([piece async for piece in stream])} == {DeviceStatus.SENT}
    await harness.store.record_results(bucket.lease, [success(bucket, n) for n in range(50)])
    assert {each.command_status for each in await streamed(harness, "t")} == {DeviceStatus.SUCCESS}


async def test_streams_and_pages_of_no_task_are_not_found(harness: StoreHarness) -> None:
    with pytest.raises(NotFound):
        _ = [part async for part in harness.store.stream_devices("none")]
    with pytest.raises(NotFound):
        await harness.store.list_devices("none", DeviceQuery(), 10, None)
