"""The store in one MongoDB database: each noun in a file of its own."""

from collections.abc import Callable
from datetime import datetime
from typing import Self

from metercast.store.mongo.attempts import MongoAttempts
from metercast.store.mongo.copying import MongoCopying
from metercast.store.mongo.counters import MongoCounters
from metercast.store.mongo.creation import MongoCreation
from metercast.store.mongo.database import DEFAULT_CONNECTIONS, Database, call
from metercast.store.mongo.devices import MongoDevices
from metercast.store.mongo.images import MongoImages
from metercast.store.mongo.keys import MongoKeys
from metercast.store.mongo.late import MongoLateResults
from metercast.store.mongo.leases import MongoLeases
from metercast.store.mongo.queries import MongoQueries
from metercast.store.mongo.streaming import MongoStreaming
from metercast.store.mongo.sweeping import MongoSweeping
from metercast.store.mongo.tasks import MongoTasks


class MongoStore(
    MongoCreation,
    MongoTasks,
    MongoQueries,
    MongoStreaming,
    MongoSweeping,
    MongoLeases,
    MongoAttempts,
    MongoLateResults,
    MongoDevices,
    MongoCounters,
    MongoKeys,
    MongoImages,
    MongoCopying,
):
    """Implements store.contract.Store. Needs MongoDB 6.0 or newer; a single server, a replica set, or a sharded
    cluster. No transaction is used: each call says what its order of writes leaves where it is cut, and what mends it.
    """

    @classmethod
    async def open(
        cls,
        url: str,
        clock: Callable[[], datetime] | None = None,
        exclusive: bool = True,
        connections: int = DEFAULT_CONNECTIONS,
    ) -> Self:
        """Makes or migrates the database that `url` names. Without a clock it is the server's.

        `exclusive` claims it for this process, after the end of a dead one's claim, up to fifteen seconds. Raises
        StoreInUse, StoreTooNew or StoreUnavailable.
        """
        return cls(await Database.open(url, clock, exclusive, connections))

    @call
    async def ping(self) -> None:
        await self.database.client.admin.command("ping")

    async def close(self) -> None:
        await self.database.close()
