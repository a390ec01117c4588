"""Transports for tests: played from a list, recorded, or tampered with on the way."""

import asyncio
from collections.abc import Callable, Sequence

from metercast.domain.meter import Connection, Meter, MeterRecord
from metercast.driver.errors import PeerClosed
from metercast.driver.transport import Connector, Transport

PLAIN_METER = Meter("meter-1", MeterRecord(connection=Connection(host="127.0.0.1")), {})


class PlayedTransport:
    """Gives one chunk for each write and keeps what was written; then the peer closes, or stays silent."""

    def __init__(self, chunks: Sequence[bytes], silent: bool = False) -> None:
        self._chunks = list(chunks)
        self._silent = silent
        self._due = 0
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[bytes] | None = None
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self._due += 1

    async def read(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        if self._due and self._chunks:
            self._due -= 1
            return self._chunks.pop(0)
        if not self._silent:
            raise PeerClosed("the meter closed the connection")
        self._waiter = asyncio.get_running_loop().create_future()
        return await self._waiter

    def nudge(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(b"")

    def interrupt(self, error: Exception) -> None:
        self._failure = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    async def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        """Like a real one, it is not closed yet."""

    async def gone(self) -> None:
        self.closed = True


class Played:
    """A connector of played transports, one for each session; OSError when none is left.

    Like the one session that a meter has, it takes no second connection before the first is closed.
    """

    def __init__(self, *sessions: Sequence[bytes], silent: bool = False) -> None:
        self._sessions = list(sessions)
        self._silent = silent
        self.transports: list[PlayedTransport] = []

    async def connect(self, meter: Meter) -> Transport:
        assert all(transport.closed for transport in self.transports)
        if not self._sessions:
            raise ConnectionRefusedError(111, "refused")
        transport = PlayedTransport(self._sessions.pop(0), self._silent)
        self.transports.append(transport)
        return transport


class Tampered:
    """A connector whose transports change what is read: `change` gets each chunk and its number, from 1.

    `connections` is how many there were.
    """

    def __init__(self, connector: Connector, change: Callable[[bytes, int], bytes]) -> None:
        self._connector = connector
        self._change = change
        self.read: list[bytes] = []
        self.connections = 0

    async def connect(self, meter: Meter) -> Transport:
        self.connections += 1
        return _TamperedTransport(await self._connector.connect(meter), self._change, self.read)


class _TamperedTransport:
    def __init__(self, transport: Transport, change: Callable[[bytes, int], bytes], read: list[bytes]) -> None:
        self._transport = transport
        self._change = change
        self._read = read
        self.write = transport.write
        self.nudge = transport.nudge
        self.interrupt = transport.interrupt
        self.close = transport.close
        self.abort = transport.abort
        self.gone = transport.gone

    async def read(self) -> bytes:
        data = await self._transport.read()
        self._read.append(data)
        return self._change(data, len(self._read))


class Failing:
    """A connector that can't connect."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.asked = 0
        self.cancelled = 0

    async def connect(self, meter: Meter) -> Transport:
        self.asked += 1
        if self._error is not None:
            raise self._error
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError


def framed(*apdus: str, server: int = 1, client: int = 16) -> list[bytes]:
    """One wrapper frame for each APDU in hex."""
    frames = []
    for text in apdus:
        apdu = bytes.fromhex(text)
        header = b"".join(each.to_bytes(2, "big") for each in (1, server, client, len(apdu)))
        frames.append(header + apdu)
    return frames
