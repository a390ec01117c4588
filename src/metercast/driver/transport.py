"""Byte transports to meters. A `Connector` gives the driver one per session; TCP is the one there is."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, cast

from metercast.domain.meter import Meter
from metercast.driver.errors import PeerClosed

MAX_BUFFERED = 256 * 1024


class Transport(Protocol):
    """A full-duplex byte stream. One reader at a time."""

    def write(self, data: bytes) -> None:
        """Hands all of `data` to the transport. What the peer is gone for is told by the next read."""
        ...

    async def read(self) -> bytes:
        """At least one octet; none where it was nudged. Raises PeerClosed at the end, or what `interrupt` was given."""
        ...

    def nudge(self) -> None:
        """Lets the read that waits give no octets; without one it does nothing."""
        ...

    def interrupt(self, error: Exception) -> None:
        """Lets the read that waits, or else the next one, raise `error`; so does every later one."""
        ...

    async def close(self) -> None:
        """Sends what is left and closes; returns when it is closed, or raises what `interrupt` was given."""
        ...

    def abort(self) -> None:
        """Begins to close at once; what is unsent is lost. May be called again."""
        ...

    async def gone(self) -> None:
        """After `abort` or `close`: returns when nothing is open any longer."""
        ...


class Connector(Protocol):
    """Where transports come from: a dial out, later a dial-in, a wake-up, a serial line."""

    def connect(self, meter: Meter) -> Coroutine[Any, Any, Transport]:
        """Raises OSError. Cancelling it leaves nothing open; the driver cancels it at its connect timeout."""
        ...


class TcpConnector:
    """Dials the host and port of the meter's record."""

    async def connect(self, meter: Meter) -> Transport:
        connection = meter.record.connection
        loop = asyncio.get_running_loop()
        _, transport = await loop.create_connection(lambda: TcpTransport(loop), connection.host, connection.port)
        return transport


class TcpTransport(asyncio.Protocol):
    """The asyncio side of one TCP connection. Reading pauses while MAX_BUFFERED octets are not taken."""

    __slots__ = ("_chunks", "_closed", "_failure", "_loop", "_paused", "_size", "_transport", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._waiter: asyncio.Future[bytes] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._failure: Exception | None = None

    @property
    def ends(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """(our address and port, the meter's); None once it is closed."""
        if self._transport is None:
            return None
        here, there = (self._transport.get_extra_info(name) for name in ("sockname", "peername"))
        return (here[0], here[1]), (there[0], there[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(data)
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > MAX_BUFFERED and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._fail(PeerClosed("the meter closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(PeerClosed(f"the connection broke: {exc}" if exc else "the connection is closed"))
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def read(self) -> bytes:
        if self._chunks:
            return self._take()
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _take(self) -> bytes:
        data = b"".join(self._chunks) if len(self._chunks) > 1 else self._chunks[0]
        self._chunks.clear()
        self._size = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def nudge(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(b"")

    def interrupt(self, error: Exception) -> None:
        self._failure = error
        self._chunks.clear()
        self._wake(self._waiter, error)
        self._wake(self._closed, error)

    async def close(self) -> None:
        if self._transport is None:
            return
        self._closed = self._loop.create_future()
        self._transport.close()
        await self._closed

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def gone(self) -> None:
        if self._transport is not None:
            self._closed = self._loop.create_future()
            await self._closed

    def _fail(self, error: Exception) -> None:
        """The first failure stays."""
        if self._failure is None:
            self._failure = error
            self._wake(self._waiter, error)

    @staticmethod
    def _wake(waiter: "asyncio.Future[bytes] | asyncio.Future[None] | None", error: Exception) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
