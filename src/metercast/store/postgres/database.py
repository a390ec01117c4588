"""One PostgreSQL database: a pool of connections, transactions that are run again where that is safe, and the guard.

A call either happened wholly or not at all. Where the connection is lost it is made again once; a call that may have
been carried out is repeated only where its caller says that this is harmless.
"""

import asyncio
import contextlib
import random
import socket
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Self, TypeVar

import asyncpg
import msgspec

from metercast.store.errors import StoreUnavailable
from metercast.store.postgres.address import where_is
from metercast.store.postgres.clock import DatabaseClock
from metercast.store.postgres.failures import AGAIN, FAILURES, LOST, unavailable
from metercast.store.postgres.guard import Guard
from metercast.store.postgres.migrations import migrate
from metercast.store.postgres.times import decode, encode

T = TypeVar("T")
Clock = Callable[[], datetime]
Connection = Any  # asyncpg has no types
Work = Callable[[Connection, datetime], Awaitable[T]]

_TIMES_AGAIN, _TIMES_LOST = 6, 2
_MARGIN_SECONDS = 5.0


class Limits(msgspec.Struct, frozen=True):
    """`connections`: at most at a time, beside the guard's own."""

    connections: int = 8
    connect_seconds: float = 10.0
    statement_seconds: float = 30.0


class Database:
    """`call`, `rows`, `read` and `write` are the only ways in; all of them raise StoreUnavailable."""

    def __init__(self, url: str, limits: Limits, clock: Clock | None, *, exclusive: bool) -> None:
        self.where = where_is(url)
        self._url = url
        self._limits = limits
        server_clock = DatabaseClock()
        self.clock: Clock = clock or server_clock
        self._guard = Guard(self._connect, self.where, server_clock, exclusive=exclusive)
        self._pool: Any = None
        self._closed = False

    @classmethod
    async def open(cls, url: str, limits: Limits, clock: Clock | None = None, *, exclusive: bool = True) -> Self:
        """Makes or migrates the tables. Raises StoreInUse, StoreTooNew or StoreUnavailable."""
        database = cls(url, limits, clock, exclusive=exclusive)
        try:
            await database._open()
        except FAILURES as error:
            await database.close()
            raise unavailable(database.where, error) from None
        except BaseException:
            await database.close()
            raise
        return database

    async def call(self, statement: str, *arguments: Any) -> Any:
        """The first row, or None, of a statement that may be repeated; it is a transaction of its own."""
        return await self._run(lambda connection, _: connection.fetchrow(statement, *arguments), repeat=True)

    async def rows(self, statement: str, *arguments: Any) -> list[Any]:
        """As `call`, every row."""
        return await self._run(lambda connection, _: connection.fetch(statement, *arguments), repeat=True)

    async def read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work(connection)` on one consistent snapshot."""

        async def attempt(connection: Connection, _: "_Progress") -> T:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await work(connection)

        return await self._run(attempt, repeat=True)

    async def write(self, work: Work[T], *, repeat: bool = True) -> T:
        """Runs `work(connection, now)` in a durable transaction (read committed). What it raises rolls it back.

        Without `repeat` it is not run again where it may have been committed.
        """

        async def attempt(connection: Connection, progress: "_Progress") -> T:
            transaction = connection.transaction()
            await transaction.start()
            try:
                result = await work(connection, self.clock())
            except BaseException:
                await _roll_back(connection, transaction)
                raise
            progress.committing = True
            await transaction.commit()
            return result

        return await self._run(attempt, repeat=repeat)

    async def close(self) -> None:
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(self._limits.statement_seconds):
                    await pool.close()
            except FAILURES:
                pool.terminate()
        await self._guard.close()

    async def _open(self) -> None:
        first = await self._guard.open()
        if await first.fetchval("SHOW server_encoding") != "UTF8":
            raise StoreUnavailable(f"the database at {self.where} is not in UTF8: CREATE DATABASE ... ENCODING 'UTF8'")
        await migrate(first)
        self._pool = await asyncpg.create_pool(
            self._url, min_size=1, max_size=self._limits.connections, max_inactive_connection_lifetime=0.0,
            init=_prepare, reset=_leave_as_it_is, **self._options(),
        )  # fmt: skip

    async def _connect(self) -> Connection:
        connection = await asyncpg.connect(self._url, **self._options())
        await _prepare(connection)
        return connection

    def _options(self) -> dict[str, Any]:
        seconds = self._limits.statement_seconds
        return {
            "timeout": self._limits.connect_seconds,
            "command_timeout": seconds + _MARGIN_SECONDS,
            "statement_cache_size": 200,
            "max_cached_statement_lifetime": 0,
            "server_settings": {
                "application_name": "metercast",
                "timezone": "UTC",
                "jit": "off",
                "statement_timeout": f"{round(seconds * 1000)}",
                "idle_in_transaction_session_timeout": f"{round(seconds * 2000)}",
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "5",
                "tcp_keepalives_count": "3",
            },
        }

    async def _run(self, attempt: Callable[[Connection, "_Progress"], Awaitable[T]], *, repeat: bool) -> T:
        again = lost = 0
        while True:
            progress = _Progress()
            try:
                return await self._attempt(attempt, progress)
            except AGAIN as error:
                again += 1
                if again > _TIMES_AGAIN:
                    raise unavailable(self.where, error) from None
                await asyncio.sleep(random.uniform(0.2, 1.0) * 0.01 * 2**again)
            except FAILURES as error:
                lost += 1
                safe = repeat or not progress.committing
                if lost > _TIMES_LOST or not safe or isinstance(error, TimeoutError) or not isinstance(error, LOST):
                    raise unavailable(self.where, error) from None
                await asyncio.sleep(0)

    async def _attempt(self, attempt: Callable[[Connection, "_Progress"], Awaitable[T]], progress: "_Progress") -> T:
        if self._closed or self._pool is None:
            raise StoreUnavailable("the store is closed")
        if not self._guard.held:
            await self._guard.ensure()
        pool = self._pool
        connection = await pool.acquire(timeout=self._limits.connect_seconds)
        try:
            return await attempt(connection, progress)
        except FAILURES as error:
            if isinstance(error, TimeoutError) or connection.is_closed():
                connection.terminate()
            raise
        finally:
            with contextlib.suppress(*FAILURES):
                await pool.release(connection, timeout=_MARGIN_SECONDS)


class _Progress:
    """Whether what is done on a connection may have been committed."""

    __slots__ = ("committing",)

    def __init__(self) -> None:
        self.committing = False


async def _roll_back(connection: Connection, transaction: Any) -> None:
    if connection.is_closed():
        return
    try:
        await transaction.rollback()
    except Exception:
        connection.terminate()


async def _prepare(connection: Connection) -> None:
    """A lost peer is noticed, times are exact, and an answer means: it is on disk, whatever the database's setting."""
    transport = getattr(connection, "_transport", None)
    plain = None if transport is None else transport.get_extra_info("socket")
    if plain is not None and plain.family in (socket.AF_INET, socket.AF_INET6):
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                plain.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
    await connection.set_type_codec("timestamptz", schema="pg_catalog", encoder=encode, decoder=decode, format="tuple")
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
    )


async def _leave_as_it_is(connection: Connection) -> None:
    """Nothing is set on a connection that would have to be reset: one round trip less a call."""
