"""The store of one PostgreSQL database: each noun in a file of its own, over one pool."""

from collections.abc import Callable
from datetime import datetime
from typing import Self

from metercast.store.postgres.attempts import PostgresAttempts
from metercast.store.postgres.copying import PostgresCopying
from metercast.store.postgres.counters import PostgresCounters
from metercast.store.postgres.database import Database, Limits
from metercast.store.postgres.devices import PostgresDevices
from metercast.store.postgres.images import PostgresImages
from metercast.store.postgres.keys import PostgresKeys
from metercast.store.postgres.leases import PostgresLeases
from metercast.store.postgres.tasks import PostgresTasks


class PostgresStore(
    PostgresTasks,
    PostgresLeases,
    PostgresAttempts,
    PostgresDevices,
    PostgresCounters,
    PostgresKeys,
    PostgresImages,
    PostgresCopying,
):
    """Implements store.contract.Store."""

    @classmethod
    async def open(
        cls,
        url: str,
        clock: Callable[[], datetime] | None = None,
        *,
        connections: int = 8,
        connect_seconds: float = 10.0,
        statement_seconds: float = 30.0,
        exclusive: bool = True,
    ) -> Self:
        """Makes or migrates the tables and takes the database for this server, unless not `exclusive`.

        The clock is the database server's unless one is given. Raises StoreInUse, StoreTooNew or StoreUnavailable.
        """
        limits = Limits(connections, connect_seconds, statement_seconds)
        return cls(await Database.open(url, limits, clock, exclusive=exclusive))

    async def ping(self) -> None:
        await self.database.call("SELECT 1")

    async def close(self) -> None:
        await self.database.close()
