"""One server for a database: an advisory lock on a connection of its own, which also shows the server's time."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from metercast.store.errors import StoreInUse, StoreUnavailable
from metercast.store.postgres.clock import DatabaseClock
from metercast.store.postgres.failures import FAILURES, unavailable

_CLASS = 1296257363
# Schemas of one database are stores of their own.
_TAKE = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))"

LOOK_SECONDS = 15.0
# The session of a server that was killed goes on until its statement has ended.
TAKE_SECONDS, _TAKE_REST = 3.0, 0.1


class Guard:
    """Holds the lock for as long as it is open. Where the connection is lost, `ensure` takes it again."""

    def __init__(
        self, connect: Callable[[], Awaitable[Any]], where: str, clock: DatabaseClock, *, exclusive: bool
    ) -> None:
        self._connect = connect
        self._where = where
        self._clock = clock
        self._exclusive = exclusive
        self._connection: Any = None
        self._turn = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def open(self) -> Any:
        """The connection, for migrations, with the lock taken. Raises StoreInUse or StoreUnavailable."""
        deadline = time.monotonic() + TAKE_SECONDS
        while not await self._take():
            if time.monotonic() > deadline:
                raise StoreInUse(f"the database at {self._where} is in use by another Metercast server")
            await asyncio.sleep(_TAKE_REST)
        self._watch = asyncio.create_task(self._look_again(), name="postgres-guard")
        return self._connection

    async def ensure(self) -> None:
        """Raises StoreUnavailable while the lock is not ours."""
        if self.held:
            return
        async with self._turn:
            if not self.held and not await self._take():
                raise StoreUnavailable(f"the database at {self._where} was taken over by another Metercast server")

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        await self._drop()

    async def _take(self) -> bool:
        await self._drop()
        try:
            self._connection = await self._connect()
            await self._look()
            if not self._exclusive or await self._connection.fetchval(_TAKE, _CLASS):
                return True
        except FAILURES as error:
            await self._drop()
            raise unavailable(self._where, error) from None
        except BaseException:
            await self._drop()
            raise
        await self._drop()
        return False

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close(timeout=5.0)
        except Exception:
            connection.terminate()

    async def _look(self) -> None:
        asked = datetime.now(UTC)
        server = await self._connection.fetchval("SELECT clock_timestamp()")
        self._clock.correct(asked, server, datetime.now(UTC))

    async def _look_again(self) -> None:
        """Until cancelled. A connection that does not answer is as good as lost."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            async with self._turn:
                if not self.held:
                    with contextlib.suppress(StoreUnavailable):
                        await self._take()
                    continue
                try:
                    await self._look()
                except Exception:
                    await self._drop()
