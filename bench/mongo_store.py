"""The store on MongoDB: operations and bytes, not times, for the test server is no yardstick for a MongoDB.

A task moves PENDING -> SENT -> SUCCESS, a bucket a batch. Counted is every command that the client sends for it, reads
too; not the leasing, nor what goes by time: the server's claim and clock. Bytes are those of the write commands, as
BSON, with those of the meters' locks; beside them stands the size of the document.
"""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import bson
import uvloop
from pymongo import AsyncMongoClient, monitoring
from tests.servers.mongodb import MongoServer

from bench.figure import Figure
from bench.fleet import Names, new_task, writes
from bench.moves import lease_all, store_moves
from metercast.databases import open_store
from metercast.store.mongo import schema
from metercast.store.tasks import DEFAULT_BUCKET

SMALL, LARGE = DEFAULT_BUCKET, 4 * DEFAULT_BUCKET
OPERATIONS = 10.0
_WRITES = frozenset({"insert", "update", "delete", "findAndModify", "bulkWrite"})


class Commands(monitoring.CommandListener):
    """What the clients of this process send to one database while `counts`."""

    def __init__(self) -> None:
        self.counts = False
        self.names: Counter[str] = Counter()
        self.bytes = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command = event.command
        collection = str(command.get("collection", command.get(event.command_name)))
        if not self.counts or event.database_name == "admin" or collection == schema.META:
            return
        self.names[f"{event.command_name} {collection}"] += 1
        if event.command_name in _WRITES:
            self.bytes += len(bson.encode(_plain(command)))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    def take(self) -> tuple[Counter[str], int]:
        taken = self.names, self.bytes
        self.names, self.bytes = Counter(), 0
        return taken


def _plain(command: Any) -> dict[str, Any]:
    """Without what belongs to the session and not to the write."""
    return {name: value for name, value in command.items() if name not in ("lsid", "$clusterTime", "$db")}


async def figures(url: str, commands: Commands) -> list[Figure]:
    names = Names(LARGE)
    store = await open_store(url)
    for start in range(0, LARGE, 1000):
        await store.put_devices(writes(names[start : start + 1000]))
    counted = []
    for task_id, count in (("small", SMALL), ("large", LARGE)):
        await store.create_task(new_task(task_id), Names(count), allow_unknown=False)
        leased = await lease_all(store)
        commands.counts = True
        await store_moves(store, leased, lanes=1)
        commands.counts = False
        counted.append((count, *commands.take()))
        assert (await store.get_task(task_id)).counts.success == count
    await store.close()
    size = await _document_size(url)
    return [each for count, sent, size_of_writes in counted for each in _figures(count, sent, size_of_writes, size)]


def _figures(count: int, sent: Counter[str], written: int, document: int) -> list[Figure]:
    transitions = 2 * count
    per_thousand = sent.total() * 1000 / transitions
    detail = ", ".join(f"{number * 1000 / transitions:g} {name}" for name, number in sorted(sent.items()))
    name = f"MongoDB, a task of {count:,} devices"
    return [
        Figure(f"{name}: operations per 1,000 transitions", per_thousand, bar=OPERATIONS, detail=detail),
        Figure(
            f"{name}: bytes written per transition",
            written / transitions,
            "bytes",
            detail=f"locks included; the document of {DEFAULT_BUCKET} devices has {document:,} bytes, which is"
            f" {document / DEFAULT_BUCKET:.0f} a device",
        ),
    ]


async def _document_size(url: str) -> int:
    """Of the small task: exactly one document."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url)
    document = await client.get_default_database()["tasks"].find_one({"_id": "small"})
    await client.close()
    assert document is not None
    return len(bson.encode(document))


def run() -> list[Figure]:
    commands = Commands()
    monitoring.register(commands)
    with tempfile.TemporaryDirectory(prefix="metercast-bench-") as name:
        server = MongoServer.started(Path(name))
        try:
            return uvloop.run(figures(server.new_database(), commands))
        finally:
            server.delete()
