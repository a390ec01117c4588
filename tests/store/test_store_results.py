"""The results of a whole task, streamed: every device once, in order, in pieces that stay short."""

from typing import Any

import msgspec
import pytest
from tests.store.fleet import begun_bucket, create, failure, lease, retry, success
from tests.store.harness import StoreHarness

from metercast.domain.problem import NotFound
from metercast.domain.words import ErrorWord
from metercast.store.results import PIECE_OCTETS

ROWS = [["2026-05-08T00:00:00+02:00", str(1000 + number), None, "0.5"] for number in range(10_000)]


async def lines(harness: StoreHarness, task_id: str) -> list[dict[str, Any]]:
    text = b"".join([piece async for piece in harness.store.stream_results(task_id)])
    assert text.endswith(b"\n")
    return [msgspec.json.decode(line) for line in text.splitlines()]


async def test_every_device_has_its_line_in_order(harness: StoreHarness) -> None:
    ids = [f"m{(number * 37) % 120:03d}" for number in range(120)]
    await create(harness, "t", ids)
    first = await begun_bucket(harness, "t")
    results = [success(first, 0, result={"n": 1, "text": "ü\n"}), failure(first, ErrorWord.READ_WRITE_DENIED, 1)]
    await harness.store.record_results(first.lease, [*results, retry(first, 2, result=[1.5, None])])
    found = await lines(harness, "t")
    assert [each["deviceId"] for each in found] == ids
    assert [each["result"] for each in found[:4]] == [{"n": 1, "text": "ü\n"}, None, [1.5, None], None]
    assert [each["commandStatus"] for each in found[:4]] == ["SUCCESS", "FAILED", "PENDING", "SENT"]
    assert [each["error"] for each in found[:3]] == [None, "ReadWriteDenied", "Timeout"]
    assert (found[0]["how"], found[1]["how"]) == ("DONE", None)
    detail = await harness.store.get_device_command("t", ids[0])
    assert msgspec.convert(found[0]["lastUpdated"], type=type(detail.last_updated)) == detail.last_updated


async def test_a_task_of_several_buckets_without_any_result(harness: StoreHarness) -> None:
    await create(harness, "t", [f"m{number:04d}" for number in range(1300)])
    found = await lines(harness, "t")
    assert [each["deviceId"] for each in found] == [f"m{number:04d}" for number in range(1300)]
    assert {each["result"] for each in found} == {None}


async def test_ten_thousand_rows_of_each_meter_come_in_short_pieces(harness: StoreHarness) -> None:
    await create(harness, "t", [f"m{number:02d}" for number in range(24)])
    bucket = await begun_bucket(harness, "t")
    for number in range(24):
        rows = [[*row, str(number)] for row in ROWS]
        await harness.store.record_results(bucket.lease, [success(bucket, number, result={"rows": rows})])
    pieces = [piece async for piece in harness.store.stream_results("t")]
    one = len(msgspec.json.encode({"rows": [[*row, "00"] for row in ROWS]}))
    assert max(map(len, pieces)) < 2 * PIECE_OCTETS + 4 * one
    assert len(pieces) >= 3
    found = [msgspec.json.decode(line) for line in b"".join(pieces).splitlines()]
    assert [len(each["result"]["rows"]) for each in found] == [10_000] * 24
    assert [each["result"]["rows"][-1][-1] for each in found] == [str(number) for number in range(24)]
    detail = await harness.store.get_device_command("t", "m07")
    assert detail.result == found[7]["result"]


async def test_the_longest_result_that_the_engine_lets_through_is_kept(harness: StoreHarness) -> None:
    """Of short cells, which make the longest BSON."""
    await create(harness, "t", ["a", "b"])
    bucket = await begun_bucket(harness, "t")
    result = [[1, 2, 3, 4] for _ in range(1_200_000)]
    assert 11 * 1024 * 1024 < len(msgspec.json.encode(result)) < 12 * 1024 * 1024
    assert await harness.store.record_results(bucket.lease, [success(bucket, 0, result=result), success(bucket, 1)])
    assert (await harness.store.get_device_command("t", "a")).result == result
    assert [each["result"] for each in await lines(harness, "t")] == [result, None]


async def test_no_task_has_no_results(harness: StoreHarness) -> None:
    with pytest.raises(NotFound):
        _ = [piece async for piece in harness.store.stream_results("none")]


async def test_a_result_that_is_replaced_between_two_pieces(harness: StoreHarness) -> None:
    """A retry has a result, and the session after it another: a line holds one of them, never half."""
    await create(harness, "t", ["a"])
    bucket = await begun_bucket(harness, "t")
    await harness.store.record_results(bucket.lease, [retry(bucket, 0, delay_seconds=0.0, result={"part": 1})])
    assert (await lines(harness, "t"))[0]["result"] == {"part": 1}
    await harness.store.release_bucket(bucket.lease, 0.0)
    again = await lease(harness, "t")
    await harness.store.begin_attempts(again.lease, again.devices)
    await harness.store.record_results(again.lease, [success(again, 0, tries=2, result={"whole": 2})])
    assert (await lines(harness, "t"))[0]["result"] == {"whole": 2}
