"""A store of each kind under the engine's suite, on fresh storage."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from metercast.store.contract import Store

Clock = Callable[[], datetime]

KINDS = ("sqlite", "postgres", "mongodb")


@asynccontextmanager
async def opened(kind: str, folder: Path, clock: Clock) -> AsyncIterator[Store]:
    """A store with this clock; its storage is gone afterwards."""
    if kind == "sqlite":
        from metercast.store.sqlite import SqliteStore

        sqlite = await SqliteStore.open(folder / "engine.db", clock)
        yield sqlite
        await sqlite.close()
    elif kind == "postgres":
        from tests.store.postgres_harness import drop_database, new_database

        from metercast.store.postgres import PostgresStore

        url = await new_database()
        postgres = await PostgresStore.open(url, clock, connections=4)
        yield postgres
        await postgres.close()
        await drop_database(url)
    else:
        from tests.servers.mongodb import shared

        from metercast.store.mongo import MongoStore

        mongo = await MongoStore.open(shared().new_database(), clock)
        yield mongo
        await mongo.close()
