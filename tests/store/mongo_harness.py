"""MongoDB under the conformance suite."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, common
from tests.servers import mongodb
from tests.servers.proxy import FaultProxy
from tests.store.harness import ManualClock, StoreHarness

from metercast.store.contract import Store
from metercast.store.mongo import MongoStore

OF_TASKS = ("tasks", "task_buckets", "task_device_history", "open_commands")

# A test that cuts connections does not wait long for a new one. The driver has no setting for how soon it looks again
# for a server that it has lost, half a second: too long for hundreds of cuts.
IMPATIENT = "serverSelectionTimeoutMS=100&connectTimeoutMS=500&timeoutMS=1500&socketTimeoutMS=1500"
LOOK_AGAIN_SECONDS = 0.02

CREATE_CHUNK = 1000  # smaller than usual: the server of the tests is slow


class MongoHarness:
    create_chunk = CREATE_CHUNK
    slowness = 5

    def __init__(self, url: str, proxy: FaultProxy | None) -> None:
        self.url = url
        self.proxy = proxy
        self.clock = ManualClock()
        self.store: Store
        self.child_arguments = "tests.store.mongo_harness:open_in_child", url
        options: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)
        self.client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url)
        self.raw = self.client.get_default_database(codec_options=options)
        self._others: list[Store] = []

    @classmethod
    async def start(cls, *, behind_proxy: bool) -> StoreHarness:
        server = mongodb.shared()
        proxy = FaultProxy(*server.address) if behind_proxy else None
        if behind_proxy:
            common.MIN_HEARTBEAT_INTERVAL = LOOK_AGAIN_SECONDS
        harness = cls(server.new_database(), proxy)
        harness.store = await harness.open(harness.store_url)
        return harness

    async def open(self, url: str, exclusive: bool = True) -> MongoStore:
        store = await MongoStore.open(url, self.clock, exclusive)
        store.create_chunk = CREATE_CHUNK
        return store

    @property
    def store_url(self) -> str:
        if self.proxy is None:
            return self.url
        address = f"{self.proxy.host}:{self.proxy.port}"
        return f"mongodb://{address}/{self.raw.name}?directConnection=true&{IMPATIENT}"

    async def reopen(self) -> None:
        await self.store.close()
        self.store = await self.open(self.store_url)

    async def another(self) -> Store | None:
        other = await self.open(self.url, exclusive=False)
        self._others.append(other)
        return other

    async def close(self) -> None:
        for store in (*self._others, self.store):
            await store.close()
        if self.proxy is not None:
            self.proxy.close()
        await self.client.drop_database(self.raw.name)
        await self.client.close()

    async def raw_task(self, task_id: str) -> dict[str, Any] | None:
        found = await self.raw.tasks.find_one({"_id": task_id})
        if found is None:
            return None
        return {
            "task_id": found["taskId"],
            "command_id": found["commandId"],
            "command_type": found["commandType"],
            "scheduled_at": exact(found, "scheduledAt"),
            "status": found["status"],
            "created_at": exact(found, "createdAt"),
            "updated_at": exact(found, "updatedAt"),
            "outcome": found["outcome"],
        }

    async def raw_devices(self, task_id: str) -> list[dict[str, Any]]:
        documents = [each async for each in self.raw.tasks.find({"taskId": task_id, "bucketed": False})]
        documents += [each async for each in self.raw.task_buckets.find({"taskId": task_id}).sort("first")]
        return [
            {
                "task_id": document["taskId"],
                "device_id": device["deviceId"],
                "command_status": device["commandStatus"],
                "error_message": device["error"],
                "last_updated": exact(device, "lastUpdated"),
            }
            for document in documents
            for device in document["devices"]
        ]

    async def raw_rows(self) -> int:
        return sum([await self.raw[name].count_documents({}) for name in OF_TASKS])


def exact(document: dict[str, Any], name: str) -> datetime:
    """The instant that is stored: the date, and what stands beside it of the same millisecond."""
    date: datetime = document[name]
    micros = document.get("micros", {}).get(name)
    if micros is not None:
        instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
        if instant - date < timedelta(milliseconds=1) and instant >= date:
            return instant
    return date


async def start(directory: Path) -> StoreHarness:
    return await MongoHarness.start(behind_proxy=False)


async def start_behind_proxy(directory: Path) -> StoreHarness:
    return await MongoHarness.start(behind_proxy=True)


async def open_in_child(address: str) -> Store:
    store = await MongoStore.open(address, exclusive=False)
    store.create_chunk = CREATE_CHUNK
    return store
