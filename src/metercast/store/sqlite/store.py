"""The store of one SQLite file: each noun in a file of its own, over one database."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from metercast.store.sqlite.attempts import SqliteAttempts
from metercast.store.sqlite.counters import SqliteCounters
from metercast.store.sqlite.creation import SqliteCreation
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.devices import SqliteDevices
from metercast.store.sqlite.exporting import SqliteExporting
from metercast.store.sqlite.images import SqliteImages
from metercast.store.sqlite.importing import SqliteImporting
from metercast.store.sqlite.keys import SqliteKeys
from metercast.store.sqlite.leases import SqliteLeases
from metercast.store.sqlite.queries import SqliteQueries
from metercast.store.sqlite.streaming import SqliteStreaming
from metercast.store.sqlite.sweeping import SqliteSweeping
from metercast.store.sqlite.tasks import SqliteTasks


class SqliteStore(
    SqliteCreation,
    SqliteTasks,
    SqliteQueries,
    SqliteStreaming,
    SqliteSweeping,
    SqliteLeases,
    SqliteAttempts,
    SqliteDevices,
    SqliteCounters,
    SqliteKeys,
    SqliteImages,
    SqliteExporting,
    SqliteImporting,
):
    """Implements store.contract.Store."""

    @classmethod
    async def open(cls, path: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Self:
        """Creates or migrates the file and takes its lock. Raises StoreInUse, StoreTooNew or StoreUnavailable."""
        return cls(await Database.open(path, clock))

    async def ping(self) -> None:
        await self.database.read(lambda connection: connection.execute("SELECT 1").fetchone())

    async def close(self) -> None:
        await self.database.close()
