"""SQLite under the conformance suite."""

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.servers.proxy import FaultProxy
from tests.store.harness import ManualClock, StoreHarness

from metercast.store.contract import Store
from metercast.store.sqlite import SqliteStore
from metercast.store.tasks import CREATE_CHUNK

TASK_COLUMNS = "task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, outcome"
DEVICE_COLUMNS = "task_id, device_id, command_status, error_message, last_updated"
TABLES = ("tasks", "task_buckets", "task_devices", "task_device_attempts", "task_device_results", "open_commands")


class SqliteHarness:
    proxy: FaultProxy | None = None
    create_chunk = CREATE_CHUNK
    slowness = 1

    def __init__(self, directory: Path, clock: ManualClock, store: SqliteStore) -> None:
        self.path = directory / "metercast.db"
        self.clock = clock
        self.store: Store = store
        self.child_arguments = "tests.store.sqlite_harness:open_in_child", str(self.path)

    @classmethod
    async def start(cls, directory: Path) -> "SqliteHarness":
        clock = ManualClock()
        return cls(directory, clock, await SqliteStore.open(directory / "metercast.db", clock))

    async def reopen(self) -> None:
        await self.store.close()
        self.store = await SqliteStore.open(self.path, self.clock)

    async def another(self) -> Store | None:
        return None

    async def close(self) -> None:
        await self.store.close()

    async def raw_task(self, task_id: str) -> dict[str, Any] | None:
        rows = self._rows(f"SELECT {TASK_COLUMNS} FROM tasks WHERE task_id = ?", task_id)
        return rows[0] if rows else None

    async def raw_devices(self, task_id: str) -> list[dict[str, Any]]:
        return self._rows(f"SELECT {DEVICE_COLUMNS} FROM task_devices WHERE task_id = ? ORDER BY id", task_id)

    async def raw_rows(self) -> int:
        return sum(int(self._rows(f"SELECT count(*) AS n FROM {table}")[0]["n"]) for table in TABLES)

    def _rows(self, statement: str, *parameters: str) -> list[dict[str, Any]]:
        connection = sqlite3.connect(self.path)
        try:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute(statement, parameters)]
        finally:
            connection.close()
        times = ("scheduled_at", "created_at", "updated_at", "last_updated")
        return [{k: datetime.fromisoformat(v) if k in times else v for k, v in row.items()} for row in rows]


async def start(directory: Path) -> StoreHarness:
    return await SqliteHarness.start(directory)


async def open_in_child(address: str) -> Store:
    return await SqliteStore.open(Path(address))
