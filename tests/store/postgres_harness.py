"""PostgreSQL under the conformance suite: one server for each process of tests, a database of its own for each test."""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import FaultProxy
from tests.store.harness import ManualClock, StoreHarness

from metercast.store.contract import Store
from metercast.store.postgres import PostgresStore
from metercast.store.postgres.times import decode, encode
from metercast.store.tasks import CREATE_CHUNK

OWN_SERVER = "METERCAST_TEST_POSTGRES_URL"
CONNECTIONS = 4


TASK_COLUMNS = "task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, outcome"
DEVICE_COLUMNS = "task_id, device_id, command_status, error_message, last_updated"
TABLES = ("tasks", "task_buckets", "task_devices", "task_device_attempts", "task_device_results", "open_commands")


class PostgresHarness:
    """`url` is the database's own; the store's connections may go through a proxy."""

    create_chunk = CREATE_CHUNK
    slowness = 1

    def __init__(self, url: str, proxy: FaultProxy | None, clock: ManualClock) -> None:
        self.url = url
        self.proxy = proxy
        self.clock = clock
        self.store: Store
        self.child_arguments = "tests.store.postgres_harness:open_in_child", self._store_url

    @classmethod
    async def start(cls, *, proxied: bool = False) -> "PostgresHarness":
        url = await new_database()
        parts = urlsplit(url)
        proxy = FaultProxy(parts.hostname or "", parts.port or 5432) if proxied else None
        harness = cls(url, proxy, ManualClock())
        harness.store = await harness._open()
        return harness

    async def reopen(self) -> None:
        await self.store.close()
        self.store = await self._open()

    async def another(self) -> Store | None:
        return await PostgresStore.open(self._store_url, self.clock, connections=CONNECTIONS, exclusive=False)

    async def close(self) -> None:
        await self.store.close()
        if self.proxy is not None:
            self.proxy.close()
        await drop_database(self.url)

    @property
    def _store_url(self) -> str:
        if self.proxy is None:
            return self.url
        parts = urlsplit(self.url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@{self.proxy.host}:{self.proxy.port}"))

    async def _open(self) -> PostgresStore:
        return await PostgresStore.open(
            self._store_url, self.clock, connections=CONNECTIONS, connect_seconds=5.0, statement_seconds=20.0
        )

    async def raw_task(self, task_id: str) -> dict[str, Any] | None:
        rows = await self.rows(f"SELECT {TASK_COLUMNS} FROM tasks WHERE task_id = $1", task_id)
        return rows[0] if rows else None

    async def raw_devices(self, task_id: str) -> list[dict[str, Any]]:
        return await self.rows(f"SELECT {DEVICE_COLUMNS} FROM task_devices WHERE task_id = $1 ORDER BY id", task_id)

    async def raw_rows(self) -> int:
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)
        (row,) = await self.rows(f"SELECT {counts.replace(', ', ' + ')} AS n")
        return int(row["n"])

    async def rows(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        connection = await asyncpg.connect(self.url)
        await connection.set_type_codec(
            "timestamptz", schema="pg_catalog", encoder=encode, decoder=decode, format="tuple"
        )
        try:
            return [dict(row) for row in await connection.fetch(statement, *parameters)]
        finally:
            await connection.close()


async def start(directory: Path) -> StoreHarness:
    return await PostgresHarness.start()


async def start_behind_proxy(directory: Path) -> StoreHarness:
    return await PostgresHarness.start(proxied=True)


async def open_in_child(address: str) -> Store:
    return await PostgresStore.open(address, connections=CONNECTIONS)


class _Servers:
    """The server of this process, and the migrated database that each test's is a copy of."""

    url: str | None = None
    template: str | None = None


def server_url() -> str:
    """A database of the server for tests that leave the server alone."""
    if _Servers.url is None:
        _Servers.url = os.environ.get(OWN_SERVER) or PostgresServer.started(durable=False).url()
    return _Servers.url


async def new_database(*, migrated: bool = True) -> str:
    """The URL of a new database."""
    url = server_url()
    if migrated and _Servers.template is None:
        template = await _create(url, "template0")
        await (await PostgresStore.open(template)).close()
        _Servers.template = template
    return await _create(url, _name(_Servers.template) if migrated and _Servers.template else "template0")


async def drop_database(url: str) -> None:
    connection = await asyncpg.connect(server_url())
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{_name(url)}" WITH (FORCE)')
    finally:
        await connection.close()


async def _create(url: str, template: str) -> str:
    name = f"metercast_test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(url)
    try:
        for left in reversed(range(50)):
            try:
                await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")
                break
            except asyncpg.ObjectInUseError:  # a session with the template is about to end
                if not left:
                    raise
                await asyncio.sleep(0.1)
    finally:
        await connection.close()
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _name(url: str) -> str:
    return urlsplit(url).path[1:]
