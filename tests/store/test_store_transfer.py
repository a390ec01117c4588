"""Everything from one store into another, whatever the two are: equal to the last record, resumed where it was cut."""

import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.store.fleet import begin, begun_bucket, create, failure, lease, meter, retry, success
from tests.store.harness import STORES, StoreHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.words import ErrorWord
from metercast.store.copying import CopyStore, TaskRecord
from metercast.store.counters import CounterName
from metercast.store.images import IMAGE_CHUNK, Transfer
from metercast.store.keys import Role
from metercast.store.transfer import CopyDiffers, copy_store

ODD_VALUES: dict[str, Any] = {
    "b": [1, 1.0, 1e300, -0.5, 2**53 + 1, -(2**63), 2**64 - 1, None, True, "", '\u0000 ☃ \\ "'],
    "a": {"$set": {"x.y": 1}, "": [], "é": {}},
}


@pytest.fixture(params=list(STORES))
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreHarness]:
    directory = tmp_path / "target"
    directory.mkdir()
    started = await STORES[request.param](directory)
    yield started
    await started.close()


# Each is read once and written once by all of these; every pair is in the first test.
CHAIN = pytest.mark.parametrize(
    ("harness", "target"), [("sqlite", "postgres"), ("postgres", "mongodb"), ("mongodb", "sqlite")], indirect=True
)


async def fill(source: StoreHarness) -> None:
    """A bit of everything that a store can hold."""
    store = source.store
    await store.put_devices([meter("ключ", b'{"connection":{"host":"h"}}', b"\x00\xff" * 40), meter("x" * 128)])
    await store.reserve_counters(CounterName("ключ", "fingerprint", "4D43530000000001"), 100, at_least=2**31)
    await store.add_key("key-1", "böb", Role.OPERATOR, b"\x01" * 32)
    await store.add_key("key-2", "gone", Role.ADMIN, b"\x02" * 32)
    await store.revoke_key("key-2")
    octets = random.Random(1).randbytes(IMAGE_CHUNK + 7)
    digest = hashlib.sha256(octets).hexdigest()
    await store.begin_image("firmware-1.2", digest, len(octets))
    await store.put_image_chunk(digest, 0, octets[:IMAGE_CHUNK])
    await store.put_image_chunk(digest, 1, octets[IMAGE_CHUNK:])
    await store.seal_image(digest)
    await store.note_transfers([Transfer("ключ", digest, 3, 70), Transfer("x" * 128, digest, 0, 70)])
    ids = [f"m{number:03d}" for number in range(120)]
    # Over: succeeded, failed after a retry, with results.
    await create(
        source,
        "over",
        ids[:2],
        command_params=ODD_VALUES,
        requested_by="böb",
        parent_task_id="older",
        follow_up_at=source.clock.now,
    )
    bucket = await begun_bucket(source, "over")
    await store.record_results(bucket.lease, [success(bucket, result=ODD_VALUES), retry(bucket, 1, delay_seconds=0.0)])
    source.clock.advance(1.000001)
    await begin(source, bucket)
    await store.record_results(bucket.lease, [failure(bucket, ErrorWord.TIMEOUT, 1, tries=2, detail="no answer ☃")])
    await store.record_late_result("over", success(bucket, 1, tries=2))
    await store.finalise_ended()
    # Cancelled, queued, and three buckets in the middle of their work, one with the progress of a long command.
    await create(source, "cancelled", ids[:3])
    await store.cancel_task("cancelled")
    await create(source, "queued", ids, scheduled_at=source.clock.now.replace(year=2030, microsecond=123456))
    await create(source, "running", ids)
    bucket = await begun_bucket(source, "running")
    results = [
        success(bucket),
        failure(bucket, ErrorWord.READ_WRITE_DENIED, 1),
        retry(bucket, 2, progress={"block": 7}),
    ]
    await store.record_results(bucket.lease, results)
    # An older command that a newer one has made void.
    relay: dict[str, Any] = {"conflict_group": ConflictGroup.RELAY, "command_type": "DISCONNECT"}
    await create(source, "older", ["relay"], **relay)
    older = await lease(source, "older")
    await begin(source, older)
    await store.record_results(older.lease, [retry(older, delay_seconds=3600.0)])
    source.clock.advance(1)
    await create(source, "newer", ["relay"], **relay)
    await begun_bucket(source, "newer")


async def everything(store: CopyStore) -> list[bytes]:
    """All that a store exports, as text."""
    found: list[Any] = [records async for records in store.export_meters()]
    found += [records async for records in store.export_counters()]
    found += await store.export_keys()
    found += await store.list_images()
    for image in await store.list_images():
        found += [await store.read_image_chunk(image.sha256, number) for number in range(image.chunks)]
    found += [records async for records in store.export_transfers()]
    async for tasks in store.export_tasks():
        for task in tasks:
            found += [task, *[records async for records in store.export_task_devices(task.task_id)]]
    return [msgspec.json.encode(each, order="deterministic") for each in found]


async def test_the_copy_is_equal_and_goes_on(harness: StoreHarness, target: StoreHarness) -> None:
    await fill(harness)
    copied = await copy_store(harness.store, target.store)
    assert (copied.meters, copied.counters, copied.keys, copied.tasks, copied.skipped) == (123, 1, 2, 6, 0)
    assert copied.images == 1
    assert copied.devices == 2 + 3 + 120 + 120 + 1 + 1
    assert b"".join(await everything(target.store)) == b"".join(await everything(harness.store))
    # The work goes on there: what was SENT is found, what is open is due, what is void is void.
    target.clock.now = harness.clock.now
    assert len([each for each in await target.store.due_buckets(100) if each.task_id == "running"]) == 3
    older = await lease(target, "older")
    assert [each.status.value for each in (await lease(target, "newer")).devices] == ["SENT"]
    ended = await target.store.begin_attempts(older.lease, older.devices)
    assert ended.begun == []
    detail = await target.store.get_device_command("over", "m000")
    assert msgspec.json.encode(detail.result) == msgspec.json.encode(
        (await harness.store.get_device_command("over", "m000")).result
    )
    # Counters never go back.
    name = CounterName("ключ", "fingerprint", "4D43530000000001")
    assert await target.store.reserve_counters(name, 1) == 2**31 + 100


async def test_values_come_back_as_they_were_stored(harness: StoreHarness) -> None:
    await fill(harness)
    assert (await harness.store.get_task("over")).command_params == ODD_VALUES
    assert (await harness.store.get_device_command("over", "m000")).result == ODD_VALUES


@CHAIN
async def test_a_repeated_copy_skips_what_is_there(harness: StoreHarness, target: StoreHarness) -> None:
    await fill(harness)
    first = await copy_store(harness.store, target.store)
    again = await copy_store(harness.store, target.store)
    assert (again.tasks, again.skipped, again.checksum) == (6, 6, first.checksum)


class Cut(Exception):
    """The copy ends here."""


class Cutting:
    """A target that is cut at its n-th write of devices, before it or after; each time it gets one write further."""

    def __init__(self, store: CopyStore, number: int, *, after: bool) -> None:
        self._store = store
        self._left = number
        self._after = after

    async def import_task_devices(self, task: TaskRecord, first: int, devices: Any) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Cut
        await self._store.import_task_devices(task, first, devices)
        if self._left == 0:
            raise Cut

    async def seal_import(self, task: TaskRecord) -> None:
        if self._left == 0:
            raise Cut
        await self._store.seal_import(task)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@CHAIN
@pytest.mark.parametrize("after", [False, True])
async def test_a_copy_that_was_cut_is_resumed(harness: StoreHarness, target: StoreHarness, after: bool) -> None:
    await fill(harness)
    cuts = 0
    while True:
        cutting: Any = Cutting(target.store, 4, after=after)
        try:
            copied = await copy_store(harness.store, cutting)
        except Cut:
            cuts += 1
            # What was not finished is not seen.
            seen = [task async for tasks in target.store.export_tasks() for task in tasks]
            assert [(await target.store.get_task(each.task_id)).counts.total for each in seen] == [
                t.total for t in seen
            ]
        else:
            break
    assert cuts >= 1
    assert copied.tasks == 6
    assert b"".join(await everything(target.store)) == b"".join(await everything(harness.store))


@CHAIN
async def test_a_target_that_holds_something_else_is_told(harness: StoreHarness, target: StoreHarness) -> None:
    await fill(harness)
    await target.store.put_devices([meter("another")])
    with pytest.raises(CopyDiffers, match="meters: the source holds 123, the target 124"):
        await copy_store(harness.store, target.store)
    await target.store.delete_device("another")
    await create(target, "running", ["m000"])
    await target.store.cancel_task("running")
    with pytest.raises(CopyDiffers, match="task running: the target holds another one"):
        await copy_store(harness.store, target.store)
