"""One MongoDB database: its client, its collections, its clock, and how its errors become the store's."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar
from urllib.parse import parse_qsl

import pymongo
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.errors import ConfigurationError, ConnectionFailure, InvalidURI, OperationFailure, PyMongoError
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern

from metercast.store.errors import StoreUnavailable
from metercast.store.mongo import schema, views
from metercast.store.mongo.claim import ServerClaim
from metercast.store.mongo.clock import DatabaseClock
from metercast.store.mongo.types import Collection, Document

P = ParamSpec("P")
T = TypeVar("T")
Clock = Callable[[], datetime]

DEFAULT_CONNECTIONS = 8
_MIGRATION_SECONDS = 3600.0

# What the URL does not say. `timeoutMS` bounds each command, its retries and the choice of a server included.
_DEFAULTS: dict[str, Any] = {
    "appname": "metercast",
    "serverselectiontimeoutms": 5000,
    "connecttimeoutms": 5000,
    "sockettimeoutms": 10_000,
    "timeoutms": 10_000,
    "waitqueuetimeoutms": 10_000,
}


class Database:
    """Durable or not at all: writes are acknowledged by a majority from its journals, reads see only such writes."""

    def __init__(self, client: AsyncMongoClient[Document], name: str, clock: Clock | None) -> None:
        self.client = client
        self._server_clock = DatabaseClock()
        self.clock: Clock = clock or self._server_clock
        options: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
        self.handle = client.get_database(
            name,
            codec_options=options,
            read_preference=pymongo.ReadPreference.PRIMARY,
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )
        self.tasks: Collection = self.handle[schema.TASKS]
        self.buckets: Collection = self.handle[schema.BUCKETS]
        self.history: Collection = self.handle[schema.HISTORY]
        self.open_commands: Collection = self.handle[schema.OPEN_COMMANDS]
        self.locks: Collection = self.handle[schema.LOCKS]
        self.devices: Collection = self.handle[schema.DEVICES]
        self.counters: Collection = self.handle[schema.COUNTERS]
        self.keys: Collection = self.handle[schema.KEYS]
        self.images: Collection = self.handle[schema.IMAGES]
        self.image_chunks: Collection = self.handle[schema.IMAGE_CHUNKS]
        self.transfers: Collection = self.handle[schema.TRANSFERS]
        self._claim: ServerClaim | None = None
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        clock: Clock | None,
        exclusive: bool,
        connections: int,
        listeners: Sequence[CommandListener] = (),
    ) -> Self:
        """Raises StoreInUse, StoreTooNew or StoreUnavailable; none of them repeats what the URL holds."""
        try:
            given = {name.lower() for name, _ in parse_qsl(url.partition("?")[2])}
            options = {name: value for name, value in _DEFAULTS.items() if name not in given}
            client: AsyncMongoClient[Document] = AsyncMongoClient(
                url, maxPoolSize=connections, event_listeners=listeners, **options
            )
            name = client.get_default_database("metercast").name
        except (ConfigurationError, InvalidURI, ValueError):
            raise StoreUnavailable("the URL of the MongoDB database can't be used") from None
        opened = cls(client, name, clock)
        try:
            with translated():
                await opened._start(exclusive)
        except BaseException:
            await client.close()
            raise
        return opened

    async def _start(self, exclusive: bool) -> None:
        await self._server_clock.measure(self.client)
        if exclusive:
            claim = ServerClaim(self.client, self.handle[schema.META], self._server_clock)
            await claim.take()
            self._claim = claim
        try:
            with pymongo.timeout(_MIGRATION_SECONDS):
                await schema.prepare(self.handle, views.VIEWS)
        except BaseException:
            await self._give_up_claim()
            raise

    def check(self) -> None:
        """Raises StoreUnavailable where no call may go out now."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._claim is not None:
            self._claim.check()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._give_up_claim()
        await self.client.close()

    async def _give_up_claim(self) -> None:
        if self._claim is not None:
            await self._claim.give_up()


class OnDatabase(Protocol):
    database: Database


N = TypeVar("N", bound=OnDatabase)


def call(
    method: Callable[Concatenate[N, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[N, P], Coroutine[Any, Any, T]]:
    """A call of the contract: refused where the store may not speak, its errors those of the contract."""

    @functools.wraps(method)
    async def wrapped(self: N, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.database.check()
        with translated():
            return await method(self, *args, **kwargs)

    return wrapped


def stream(
    method: Callable[Concatenate[N, P], AsyncIterator[T]],
) -> Callable[Concatenate[N, P], AsyncIterator[T]]:
    """As `call`, for what gives one piece after the other."""

    @functools.wraps(method)
    async def wrapped(self: N, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        pieces = aiter(method(self, *args, **kwargs))
        while True:
            self.database.check()
            with translated():
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    return
            yield piece

    return wrapped


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """PyMongo's errors as StoreUnavailable. Their texts may name hosts; what they hold of a URL is not repeated.

    A cancellation that PyMongo swallowed is raised here: it uses asyncio.wait_for, which on Python 3.11 prefers a
    result that is there already to the cancellation that came with it.
    """
    task = asyncio.current_task()
    cancellations = task.cancelling() if task is not None else 0
    try:
        yield
        if task is not None and task.cancelling() > cancellations:
            raise asyncio.CancelledError
    except OperationFailure as error:
        text = (error.details or {}).get("errmsg", "") or type(error).__name__
        raise StoreUnavailable(f"MongoDB refused a command: {_short(text)}") from error
    except ConnectionFailure as error:
        raise StoreUnavailable(f"MongoDB does not answer: {_short(str(error))}") from error
    except PyMongoError as error:
        raise StoreUnavailable(f"MongoDB: {type(error).__name__}: {_short(str(error))}") from error


def _short(text: str) -> str:
    """The first of what may be many lines of a topology."""
    return text.partition(" (configured timeouts")[0].partition(", Timeout:")[0][:200]
