"""MongoDB: the documents that people integrate with, what guards them, and what a transition costs."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import bson
import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import WriteError
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
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
    streamed,
    success,
)
from tests.store.harness import EPOCH
from tests.store.mongo_harness import MongoHarness

from metercast.domain.command import ConflictGroup
from metercast.domain.states import DeviceStatus
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Result
from metercast.store.errors import StoreInUse, StoreTooNew, StoreUnavailable
from metercast.store.mongo import MongoStore, claim, schema, views
from metercast.store.mongo.database import Database
from metercast.store.tasks import MAX_BUCKET

Document = dict[str, Any]


@pytest.fixture
async def mongo() -> AsyncIterator[MongoHarness]:
    started = await MongoHarness.start(behind_proxy=False)
    assert isinstance(started, MongoHarness)
    yield started
    await started.close()


async def one(mongo: MongoHarness, task_id: str) -> Document:
    stored = await mongo.raw.tasks.find_one({"_id": task_id})
    assert stored is not None
    return stored


# Documents


FIXED = ["taskId", "commandId", "commandType", "scheduledAt", "status", "createdAt", "updatedAt", "devices"]


async def test_a_task_of_one_bucket_is_the_document_of_the_design(mongo: MongoHarness) -> None:
    await create(mongo, "task-7890", ["meter-001", "meter-002"], command_type="SET_TOU", register=True)
    mongo.clock.advance(60)
    bucket = await begun_bucket(mongo, "task-7890")
    mongo.clock.advance(5)
    await mongo.store.record_results(bucket.lease, [failure(bucket, ErrorWord.TIMEOUT, 1)])
    (stored,) = [each async for each in mongo.raw.tasks.find()]
    assert list(stored)[:9] == ["_id", *FIXED]
    assert stored["_id"] == "task-7890"
    assert {name: stored[name] for name in FIXED[:-1]} == {
        "taskId": "task-7890",
        "commandId": "681dce4358cba50614cee672",
        "commandType": "SET_TOU",
        "scheduledAt": EPOCH,
        "status": "IN_PROGRESS",
        "createdAt": EPOCH,
        "updatedAt": EPOCH,
    }
    fixed = ("deviceId", "commandStatus", "error", "lastUpdated")
    assert [list(each)[:4] for each in stored["devices"]] == [list(fixed)] * 2
    assert [tuple(each[name] for name in fixed) for each in stored["devices"]] == [
        ("meter-001", "SENT", None, at(60)),
        ("meter-002", "FAILED", "Timeout", at(65)),
    ]
    assert stored["counts"] == {"total": 2, "pending": 0, "sent": 1, "success": 0, "failed": 1, "cancelled": 0}
    assert await mongo.raw.task_buckets.count_documents({}) == 0


async def test_a_larger_task_is_a_header_and_its_buckets(mongo: MongoHarness) -> None:
    ids = [f"m{number:03d}" for number in range(120)]
    await create(mongo, "t", ids)
    header = await mongo.raw.tasks.find_one({"_id": "t"})
    assert header is not None
    assert (header["bucketed"], header["counts"], "devices" in header) == (True, {"total": 120}, False)
    buckets = [each async for each in mongo.raw.task_buckets.find().sort("first")]
    assert [(each["_id"], each["taskId"], each["first"]) for each in buckets] == [
        ("t/0", "t", 0),
        ("t/50", "t", 50),
        ("t/100", "t", 100),
    ]
    assert [device["deviceId"] for each in buckets for device in each["devices"]] == ids
    assert {(each["commandId"], each["commandType"]) for each in buckets} == {
        ("681dce4358cba50614cee672", "READ_CLOCK")
    }
    small = await mongo.store.create_task(new_task("s"), ids[:50], allow_unknown=False)
    assert small.is_new
    one = await mongo.raw.tasks.find_one({"_id": "s"})
    assert one is not None
    assert [list(each) for each in one["devices"]] == [list(each) for each in buckets[0]["devices"]]


@pytest.mark.parametrize("count", [2, 120])
async def test_what_ended_is_in_the_documents(mongo: MongoHarness, count: int) -> None:
    await create(mongo, "t", [f"m{number:03d}" for number in range(count)])
    for _ in range(-(-count // 50)):
        bucket = await begun_bucket(mongo, "t")
        await mongo.store.record_results(bucket.lease, [success(bucket, n) for n in range(len(bucket.devices))])
    mongo.clock.advance(1)
    await mongo.store.finalise_ended()
    header = await mongo.raw.tasks.find_one({"_id": "t"})
    assert header is not None
    assert (header["status"], header["outcome"], header["updatedAt"]) == ("COMPLETED", "SUCCEEDED", at(1))
    assert header["counts"] == {
        "total": count, "pending": 0, "sent": 0, "success": count, "failed": 0, "cancelled": 0
    }  # fmt: skip
    assert "dueAt" not in header
    assert await mongo.raw.task_buckets.count_documents({"dueAt": {"$exists": True}}) == 0


async def test_a_date_keeps_its_microseconds_beside_it(mongo: MongoHarness) -> None:
    due = at(3600) + timedelta(microseconds=123_456)
    await create(mongo, "t", ["m"], scheduled_at=due)
    stored = await mongo.raw.tasks.find_one({"scheduledAt": {"$gte": at(3600), "$lt": at(3601)}})
    assert stored is not None
    assert stored["scheduledAt"] == at(3600) + timedelta(milliseconds=123)
    assert stored["micros"] == {"scheduledAt": round(due.timestamp() * 1_000_000)}
    assert (await mongo.store.get_task("t")).scheduled_at == due
    # The date decides: whoever sets it alone is believed.
    await mongo.raw.tasks.update_one({"_id": "t"}, {"$set": {"scheduledAt": at(7200)}})
    assert (await mongo.store.get_task("t")).scheduled_at == at(7200)


async def test_a_long_explanation_is_whole_and_its_document_small(mongo: MongoHarness) -> None:
    await create(mongo, "t", ["a", "b"])
    bucket = await begun_bucket(mongo, "t")
    detail = "ü" * 100_000
    await mongo.store.record_results(
        bucket.lease, [failure(bucket, ErrorWord.TIMEOUT, detail=detail), retry(bucket, 1, detail=detail)]
    )
    assert len(bson.encode(await one(mongo, "t"))) < 5000
    assert {each.error_detail for each in await streamed(mongo, "t")} == {detail}
    assert (await mongo.store.get_device_command("t", "a")).error_detail == detail


async def test_the_largest_bucket_is_far_from_the_limit(mongo: MongoHarness) -> None:
    """5,000 devices with the longest ids, each with the longest explanation that stays in it and all there can be."""
    mongo.clock.now += timedelta(microseconds=1)
    ids = [f"{number:04d}" + "\U0001f50c" * 124 for number in range(20)]
    await create(mongo, "t", ids)
    bucket = await begun_bucket(mongo, "t")
    everything: Document = {"result": 1, "progress": 1, "verify_first": True, "association_failures": 1, "how": "DONE"}
    await mongo.store.record_results(
        bucket.lease, [retry(bucket, n, detail="x" * 2000, **everything) for n in range(20)]
    )
    devices = (await one(mongo, "t"))["devices"]
    assert all(len(each["errorDetail"].encode()) >= 1000 and len(each["micros"]) == 3 for each in devices)
    assert len(bson.encode({"devices": devices})) / 20 * MAX_BUCKET < 16 * 1024 * 1024 * 0.8


# Indexes, validators, revisions


async def keys_of(mongo: MongoHarness, collection: str) -> dict[tuple[str, ...], Document]:
    indexes = await mongo.raw[collection].index_information()
    return {tuple(name for name, _ in each["key"]): dict(each) for each in indexes.values()}


async def test_the_fixed_indexes(mongo: MongoHarness) -> None:
    tasks = await keys_of(mongo, "tasks")
    assert tasks["taskId",]["unique"]
    assert {("commandId",), ("devices.deviceId",), ("createdAt", "taskId")} <= tasks.keys()
    buckets = await keys_of(mongo, "task_buckets")
    assert buckets["taskId", "first"]["unique"]
    assert {("commandId",), ("devices.deviceId",)} <= buckets.keys()


async def test_no_index_on_what_every_transition_changes_in_a_device(mongo: MongoHarness) -> None:
    for collection in ("tasks", "task_buckets"):
        of_devices = [
            key for key in await keys_of(mongo, collection) if any(name.startswith("devices.") for name in key)
        ]
        assert of_devices == [("devices.deviceId",)]


BROKEN: dict[str, Document] = {
    "status": {"status": "DONE"},
    "date": {"scheduledAt": "2026-05-08T02:00:00Z"},
    "device status": {"devices.0.commandStatus": "BEGUN"},
    "error word": {"devices.0.error": "no idea"},
    "device date": {"devices.0.lastUpdated": 7},
    "count": {"counts.pending": -1},
    "outcome": {"outcome": "FINE"},
}


@pytest.mark.parametrize("what", list(BROKEN))
async def test_the_validator_refuses_what_is_no_task(mongo: MongoHarness, what: str) -> None:
    await create(mongo, "t", ["m"])
    before = await mongo.raw.tasks.find_one({"_id": "t"})
    with pytest.raises(WriteError, match="validation"):
        await mongo.raw.tasks.update_one({"_id": "t"}, {"$set": BROKEN[what]})
    assert await mongo.raw.tasks.find_one({"_id": "t"}) == before


async def test_the_validator_refuses_what_is_no_bucket(mongo: MongoHarness) -> None:
    await create(mongo, "t", [f"m{number}" for number in range(60)])
    with pytest.raises(WriteError, match="validation"):
        await mongo.raw.task_buckets.update_one({"_id": "t/0"}, {"$set": {"devices.3.commandStatus": None}})
    with pytest.raises(WriteError, match="validation"):
        await mongo.raw.task_buckets.insert_one({"_id": "x/0", "taskId": "x"})


async def test_opening_again_changes_nothing_and_mends_what_is_missing(mongo: MongoHarness) -> None:
    await create(mongo, "t", ["m"])
    before = await keys_of(mongo, "tasks")
    # As where the first start was cut: some of it is there, and the revision is not.
    await mongo.raw.tasks.drop_index("commandId_1")
    await mongo.raw.drop_collection("failures_by_error")
    await mongo.raw.metercast.delete_one({"_id": "schema"})
    await mongo.reopen()
    assert await keys_of(mongo, "tasks") == before
    assert set(views.VIEWS) <= set(await mongo.raw.list_collection_names())
    assert (await mongo.store.get_task("t")).counts.total == 1


async def test_a_database_of_a_newer_version_is_refused_untouched(mongo: MongoHarness) -> None:
    await mongo.store.close()
    newer = {"_id": "schema", "revision": schema.REVISION + 1}
    await mongo.raw.metercast.replace_one({"_id": "schema"}, newer)
    for _ in range(2):  # the claim is given back
        with pytest.raises(StoreTooNew):
            await MongoStore.open(mongo.url, mongo.clock)
    assert await mongo.raw.metercast.find_one({"_id": "schema"}) == newer


# One server a database


async def test_one_server_a_database(mongo: MongoHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "CLAIM_SECONDS", 0.6)
    await mongo.reopen()
    with pytest.raises(StoreInUse):
        await MongoStore.open(mongo.url)
    await mongo.store.ping()
    await mongo.reopen()


async def test_a_dead_servers_claim_ends(mongo: MongoHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "CLAIM_SECONDS", 0.6)
    dead = {"owner": "dead", "until": at(1e8)}
    await mongo.store.close()
    await mongo.raw.metercast.replace_one({"_id": "server"}, dead, upsert=True)
    with pytest.raises(StoreInUse):
        await MongoStore.open(mongo.url)
    await mongo.raw.metercast.update_one({"_id": "server"}, {"$set": {"until": at(-1e8)}})
    await mongo.reopen()
    await mongo.store.ping()


async def test_a_server_that_lost_its_claim_writes_nothing(
    mongo: MongoHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "CLAIM_SECONDS", 0.6)
    await mongo.reopen()
    await mongo.raw.metercast.update_one({"_id": "server"}, {"$set": {"owner": "another", "until": at(1e8)}})
    refused = await refusal(mongo)
    assert "claim" in refused.detail
    assert await mongo.raw.devices.count_documents({"_id": "later"}) == 0
    await mongo.raw.metercast.update_one({"_id": "server"}, {"$set": {"until": at(-1e8)}})
    await recovery(mongo)
    assert await mongo.store.put_devices([meter("later")]) == 1


async def refusal(mongo: MongoHarness) -> StoreUnavailable:
    for number in range(10_000):
        try:
            await mongo.store.put_devices([meter(f"m{number}")])
        except StoreUnavailable as error:
            return error
    raise AssertionError("no claim is looked at")


async def recovery(mongo: MongoHarness) -> None:
    for _ in range(1000):
        try:
            return await mongo.store.ping()
        except StoreUnavailable:
            await asyncio.sleep(0.01)
    raise AssertionError("the claim is not taken again")


async def test_what_a_url_holds_is_not_repeated() -> None:
    for url in (
        "mongodb://metercast:hunter2@127.0.0.1:1/x?timeoutMS=50",
        "mongodb://metercast:hunter2@127.0.0.1:port/x",
        "mongodb://metercast:hunter2@",
    ):
        with pytest.raises(StoreUnavailable) as caught:
            await MongoStore.open(url)
        assert "hunter2" not in repr(caught.value) + str(caught.value.__cause__)


async def test_a_closed_store_says_so(mongo: MongoHarness) -> None:
    store = await MongoStore.open(mongo.url, mongo.clock, exclusive=False)
    await store.close()
    await store.close()
    for call in (store.ping(), store.start_due_tasks()):
        with pytest.raises(StoreUnavailable):
            await call


# Views


async def rows(mongo: MongoHarness, view: str, *sort: str) -> list[Document]:
    found = mongo.raw[view].find({}, {"_id": 0})
    return [each async for each in (found.sort([(name, 1) for name in sort]) if sort else found)]


async def some_history(mongo: MongoHarness) -> None:
    """`done` is over, `large` is open and has a bucket with one of each; `gone` is retired."""
    await create(mongo, "gone", ["a"], command_type="SET_TOU")
    await mongo.store.cancel_task("gone")
    mongo.clock.advance(1)
    await mongo.store.retire_tasks(mongo.clock.now, 10)
    await create(mongo, "done", ["a", "b"], command_type="SET_TOU", command_id="up")
    bucket = await begun_bucket(mongo, "done")
    mongo.clock.advance(4)
    await mongo.store.record_results(bucket.lease, [success(bucket), failure(bucket, ErrorWord.TIMEOUT, 1)])
    mongo.clock.advance(1)
    await mongo.store.finalise_ended()
    await create(mongo, "large", [f"m{number:02d}" for number in range(60)], command_type="SET_TOU")
    bucket = await lease(mongo, "large")
    await mongo.store.begin_attempts(bucket.lease, bucket.devices[:3])
    mongo.clock.advance(2)
    await mongo.store.record_results(bucket.lease, [success(bucket), failure(bucket, ErrorWord.METER_BUSY, 1)])


async def test_a_row_for_each_device_command(mongo: MongoHarness) -> None:
    await some_history(mongo)
    found = await rows(mongo, "device_commands", "taskId", "deviceId")
    assert [(each["taskId"], each["deviceId"]) for each in found] == [
        ("done", "a"), ("done", "b"), *(("large", f"m{number:02d}") for number in range(60))
    ]  # fmt: skip
    assert found[1] == {
        "taskId": "done",
        "commandId": "up",
        "commandType": "SET_TOU",
        "scheduledAt": at(1),
        "taskStatus": "COMPLETED",
        "deviceId": "b",
        "commandStatus": "FAILED",
        "error": "Timeout",
        "errorDetail": "detail",
        "lastUpdated": at(5),
        "sentAt": at(1),
        "attempts": 1,
    }
    assert [(each["commandStatus"], each["taskStatus"]) for each in found[2:6]] == [
        (status, "IN_PROGRESS") for status in ("SUCCESS", "FAILED", "SENT", "PENDING")
    ]


async def test_the_views_answer_as_those_in_sql(mongo: MongoHarness) -> None:
    await some_history(mongo)
    assert await rows(mongo, "task_success_rate") == [
        {
            "commandType": "SET_TOU", "day": "2026-05-08", "tasks": 2, "devices": 62, "pending": 57, "sent": 1,
            "success": 2, "failed": 2, "cancelled": 0, "successRate": 0.5,
        }
    ]  # fmt: skip
    assert await rows(mongo, "failures_by_error", "error") == [
        {"commandType": "SET_TOU", "day": "2026-05-08", "error": word, "devices": 1, "tasks": 1}
        for word in ("MeterBusy", "Timeout")
    ]
    assert await rows(mongo, "time_to_completion") == [
        {
            "taskId": "done", "commandId": "up", "commandType": "SET_TOU", "day": "2026-05-08", "status": "COMPLETED",
            "outcome": "PARTIAL", "devices": 2, "scheduledAt": at(1), "endedAt": at(6), "seconds": 5.0,
        }
    ]  # fmt: skip
    assert await rows(mongo, "slowest_gateways") == [
        {"channel": "gateway-1", "sessions": 2, "meters": 2, "averageSeconds": 3.0, "longestSeconds": 4.0}
    ]


async def test_a_rate_of_nothing_is_null(mongo: MongoHarness) -> None:
    await create(mongo, "t", ["a"])
    assert [(each["devices"], each["successRate"]) for each in await rows(mongo, "task_success_rate")] == [(1, None)]


@pytest.mark.parametrize("view", list(views.VIEWS))
async def test_each_pipeline_is_its_view(mongo: MongoHarness, view: str) -> None:
    await some_history(mongo)
    source, pipeline = views.VIEWS[view]
    cursor = await mongo.raw[source].aggregate(pipeline)
    assert sorted(map(repr, [each async for each in cursor])) == sorted(map(repr, await rows(mongo, view)))


# What a transition costs


class Sent(CommandListener):
    """The commands that a client sent, and how large its writes were."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.written = 0
        self.commands: list[Document] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.commands.append(dict(event.command))
        self.names[f"{event.command_name} {event.command.get(event.command_name)}"] += 1
        if event.command_name in ("insert", "update", "delete"):
            self.written += len(bson.encode({name: event.command[name] for name in event.command if name[0] != "$"}))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.mark.parametrize(
    ("count", "group", "ends"),
    [
        (500, ConflictGroup.NONE, "well"),
        (500, ConflictGroup.RELAY, "in every way"),
        (1000, ConflictGroup.NONE, "well"),
        (1000, ConflictGroup.RELAY, "in every way"),
    ],
)
async def test_a_thousand_transitions_are_at_most_ten_commands(
    mongo: MongoHarness, count: int, group: ConflictGroup, ends: str
) -> None:
    """A bucket of 500 devices: 500 begin and 500 end, whatever else is written of them."""
    sent = Sent()
    store = MongoStore(await Database.open(mongo.url, mongo.clock, False, 8, [sent]))
    await create(mongo, "t", [f"meter-{number:06d}" for number in range(count)], conflict_group=group, bucket_size=500)
    bucket = await lease(mongo, "t")
    sent.names.clear()
    sent.written = 0
    begun = await store.begin_attempts(bucket.lease, bucket.devices)
    assert len(begun.begun) == 500
    results: list[Result] = [success(bucket, n) for n in range(500)]
    if ends == "in every way":
        results[:100] = [success(bucket, n, result={"value": n}) for n in range(100)]
        results[100:200] = [failure(bucket, ErrorWord.TYPE_UNMATCHED, n) for n in range(100, 200)]
        results[200:300] = [retry(bucket, n) for n in range(200, 300)]
    assert len(await store.record_results(bucket.lease, results)) == 500
    assert sent.names.total() <= 10, sent.names
    stored = await mongo.raw.tasks.find_one({"_id": "t"}) if count == 500 else None
    stored = stored or await mongo.raw.task_buckets.find_one({"_id": "t/0"})
    assert stored is not None
    a_device = len(bson.encode({"devices": stored["devices"]})) / 500
    if ends == "well":
        assert sent.written / 1000 < 3 * a_device, (sent.written, a_device)
    await check_counts(mongo, "t")
    await store.close()


async def test_one_update_a_call_moves_them_all(mongo: MongoHarness) -> None:
    sent = Sent()
    store = MongoStore(await Database.open(mongo.url, mongo.clock, False, 8, [sent]))
    await create(mongo, "t", [f"m{number}" for number in range(50)])
    bucket = await lease(mongo, "t")
    sent.names.clear()
    await store.begin_attempts(bucket.lease, bucket.devices)
    assert sent.names["update tasks"] == 1
    await store.record_results(bucket.lease, [success(bucket, n) for n in range(50)])
    assert sent.names["update tasks"] == 2
    await store.close()


async def test_live_counts_need_only_the_index(mongo: MongoHarness) -> None:
    """A task of 2,000 buckets has 300 MB of them: what is summed is in the index that is used."""
    await create(mongo, "t", [f"m{number}" for number in range(120)])
    sent = Sent()
    store = MongoStore(await Database.open(mongo.url, mongo.clock, False, 8, [sent]))
    sent.commands.clear()
    await store.get_task("t")
    (counted,) = [each for each in sent.commands if "aggregate" in each]
    indexed = {name for name, _ in (await mongo.raw.task_buckets.index_information())[counted["hint"]]["key"]}
    used = set(re.findall(r"(?:\$|')((?:counts\.\w+)|taskId)'", repr(counted["pipeline"])))
    assert used == {"taskId", *(f"counts.{name}" for name in ("pending", "sent", "success", "failed", "cancelled"))}
    assert used <= indexed
    await store.close()


async def test_a_client_that_knows_nothing_of_us_reads_it(mongo: MongoHarness) -> None:
    await create(mongo, "t", ["a", "b"])
    client: AsyncMongoClient[Document] = AsyncMongoClient(mongo.url)
    tasks = client.get_default_database().tasks
    assert (await tasks.find_one({"devices.deviceId": "b"}, {"_id": 1})) == {"_id": "t"}
    assert (await tasks.find_one({"commandId": "681dce4358cba50614cee672"}, {"_id": 1})) == {"_id": "t"}
    pending = await tasks.find_one({"taskId": "t"}, {"devices": {"$elemMatch": {"deviceId": "b"}}})
    assert pending is not None
    assert pending["devices"][0]["commandStatus"] == DeviceStatus.PENDING
    await client.close()
