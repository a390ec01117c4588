"""Empty databases to measure on, of either kind, gone when the benchmark ends.

PostgreSQL is a server of this benchmark's own, with fsync, at its defaults but for memory and the distance of
checkpoints, which are as an operator of a fleet would set them. Nothing of it is switched off.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import asyncpg
from tests.servers.postgres import PostgresServer

from bench.raw import Raw
from bench.raw_postgres import RawPostgres
from bench.raw_sqlite import RawSqlite
from metercast.databases import open_store, sqlite_path
from metercast.store.contract import Store

POSTGRES_SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "maintenance_work_mem": "256MB",
}


class Databases(Protocol):
    """`name` is that of the kind. URLs may hold a password: they stay out of what is printed."""

    name: str

    async def create(self, name: str) -> str:
        """The URL of a new, empty database."""
        ...

    async def drop(self, url: str) -> None: ...

    async def open_raw(self, url: str) -> Raw:
        """A connection of the raw side to a database that a store has migrated."""
        ...


class SqliteFiles:
    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def create(self, name: str) -> str:
        return f"sqlite:///{self._folder / name}.db"

    async def drop(self, url: str) -> None:
        path = sqlite_path(url)
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()

    async def open_raw(self, url: str) -> Raw:
        return RawSqlite(sqlite_path(url))


class PostgresDatabases:
    name = "PostgreSQL"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    async def create(self, name: str) -> str:
        await self._execute(f'CREATE DATABASE "{name}"')
        return self._server.url(name)

    async def drop(self, url: str) -> None:
        await self._execute(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')
        await self._execute("CHECKPOINT")

    async def open_raw(self, url: str) -> Raw:
        return await RawPostgres.open(url)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server.url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def sqlite_files() -> Iterator[Databases]:
    with tempfile.TemporaryDirectory(prefix="metercast-bench-") as name:
        yield SqliteFiles(Path(name))


@contextmanager
def postgres_databases() -> Iterator[Databases]:
    server = PostgresServer.started(durable=True, settings=POSTGRES_SETTINGS)
    try:
        yield PostgresDatabases(server)
    finally:
        server.delete()


KINDS: tuple[Callable[[], AbstractContextManager[Databases]], ...] = (sqlite_files, postgres_databases)


async def open_migrated(databases: Databases, name: str) -> tuple[str, Store]:
    """A new database with the store on it."""
    url = await databases.create(name)
    return url, await open_store(url)


async def open_raw(databases: Databases, name: str) -> Raw:
    """A new database with the tables of the store, and the raw side on it."""
    url, store = await open_migrated(databases, name)
    await store.close()
    await asyncio.sleep(0)
    return await databases.open_raw(url)
