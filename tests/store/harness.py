"""What the conformance suite needs of a store under test. A new store adds a harness here, not a test file."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from metercast.store.contract import Store
from metercast.store.sqlite import SqliteStore

EPOCH = datetime(2026, 5, 8, 2, 0, tzinfo=UTC)


class ManualClock:
    """The store's clock, advanced by hand."""

    def __init__(self) -> None:
        self.now = EPOCH

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class StoreHarness(Protocol):
    """A store on fresh storage, its clock, a restart, and a look at what is really stored."""

    store: Store
    clock: ManualClock

    async def reopen(self) -> None:
        """Closes the store and opens it again on the same storage."""
        ...

    async def close(self) -> None: ...

    async def raw_task(self, task_id: str) -> dict[str, Any] | None:
        """task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, outcome."""
        ...

    async def raw_devices(self, task_id: str) -> list[dict[str, Any]]:
        """task_id, device_id, command_status, error_message, last_updated; in the task's order."""
        ...


TASK_COLUMNS = "task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, outcome"
DEVICE_COLUMNS = "task_id, device_id, command_status, error_message, last_updated"


class SqliteHarness:
    def __init__(self, directory: Path, clock: ManualClock, store: SqliteStore) -> None:
        self.path = directory / "metercast.db"
        self.clock = clock
        self.store: Store = store

    @classmethod
    async def start(cls, directory: Path) -> StoreHarness:
        clock = ManualClock()
        return cls(directory, clock, await SqliteStore.open(directory / "metercast.db", clock))

    async def reopen(self) -> None:
        await self.store.close()
        self.store = await SqliteStore.open(self.path, self.clock)

    async def close(self) -> None:
        await self.store.close()

    async def raw_task(self, task_id: str) -> dict[str, Any] | None:
        rows = self._rows(f"SELECT {TASK_COLUMNS} FROM tasks WHERE task_id = ?", task_id)
        return rows[0] if rows else None

    async def raw_devices(self, task_id: str) -> list[dict[str, Any]]:
        return self._rows(f"SELECT {DEVICE_COLUMNS} FROM task_devices WHERE task_id = ? ORDER BY id", task_id)

    def _rows(self, statement: str, parameter: str) -> list[dict[str, Any]]:
        connection = sqlite3.connect(self.path)
        try:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute(statement, (parameter,))]
        finally:
            connection.close()
        times = ("scheduled_at", "created_at", "updated_at", "last_updated")
        return [{k: datetime.fromisoformat(v) if k in times else v for k, v in row.items()} for row in rows]


async def _start_sqlite(directory: Path) -> StoreHarness:
    return await SqliteHarness.start(directory)


STORES: dict[str, Callable[[Path], Any]] = {"sqlite": _start_sqlite}


def statuses(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {row["device_id"]: row["command_status"] for row in rows}
