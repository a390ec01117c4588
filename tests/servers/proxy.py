"""A TCP proxy that does harm: cuts connections now or after so many bytes, refuses, stalls, delays."""

import asyncio
import concurrent.futures
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Direction = Literal["up", "down"]
Unit = Literal["chunks", "bytes"]

_WAIT_SECONDS = 10.0
_AT_ONCE = struct.pack("ii", 1, 0)  # close sends RST


class FaultProxy:
    """Stands between clients and one server, on a thread and a loop of its own. Any thread may call it.

    `up` is from client to server. A chunk is what arrives at once: about one message of a protocol of requests and
    answers.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._links: set[_Link] = set()
        self._refuses = False
        self._passes = asyncio.Event()
        self._delay = 0.0
        self._limit: _Limit | None = None
        self._cuts = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._listener: asyncio.Server = self._run(self._listen())

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def port(self) -> int:
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    @property
    def cuts(self) -> int:
        """How often it has cut."""
        return self._cuts

    def cut(self) -> None:
        """All connections, now."""
        self._call(self._cut)

    def cut_after(self, count: int, direction: Direction, unit: Unit = "chunks", *, refuse: bool = False) -> None:
        """Lets `count` more pass in this direction, over all connections, and cuts all of them before the next.

        Once; with `refuse` new connections are refused from then on.
        """

        def set_limit() -> None:
            self._limit = _Limit(count, direction, unit, refuse)

        self._call(set_limit)

    def refuse(self) -> None:
        """New connections are cut at once."""

        def set_refuses() -> None:
            self._refuses = True

        self._call(set_refuses)

    def stall(self) -> None:
        """Connections stay open, and nothing passes."""
        self._call(self._passes.clear)

    def delay(self, seconds: float) -> None:
        """Each chunk passes so much later."""

        def set_delay() -> None:
            self._delay = seconds

        self._call(set_delay)

    def heal(self) -> None:
        """No fault from now on; what is cut stays cut."""

        def reset() -> None:
            self._refuses, self._delay, self._limit = False, 0.0, None
            self._passes.set()

        self._call(reset)

    def close(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WAIT_SECONDS)
        self._loop.close()

    def _call(self, work: Callable[[], object]) -> None:
        async def call() -> None:
            work()

        self._run(call())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        done: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(_WAIT_SECONDS)

    # On the proxy's loop

    async def _listen(self) -> asyncio.Server:
        self._passes.set()
        return await asyncio.start_server(self._accept, self.host, 0)

    async def _close(self) -> None:
        self._listener.close()
        self._passes.set()
        self._delay = 0.0
        self._refuses = True
        self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=_WAIT_SECONDS / 2)  # they end by the cut

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            _reset(writer)
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._server)
        except OSError:
            _reset(writer)
            return
        link = _Link(writer, server_writer)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, server_writer, "up"))
                group.create_task(self._pass(server_reader, writer, "down"))
        except* (OSError, _Cut):
            pass
        finally:
            link.reset()
            self._links.discard(link)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        while chunk := await reader.read(65_536):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._passes.wait()
            limit = self._limit
            rest = b""
            if limit is not None and limit.direction == direction:
                chunk, rest = limit.take(chunk)
            if chunk:
                writer.write(chunk)
                await writer.drain()
            if rest and limit is not None and limit is self._limit:
                if limit.unit == "bytes" and chunk:
                    await asyncio.sleep(0.001)  # a reset throws away what the other side has not read yet
                self._limit = None
                self._refuses = self._refuses or limit.refuse
                self._cut()
                raise _Cut
        raise _Cut  # where one side ends the connection it ends for both

    def _cut(self) -> None:
        self._cuts += 1
        for link in self._links:
            link.reset()


class _Cut(Exception):
    """This connection is over."""


class _Link:
    """One client's connection and the one to the server."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer)


class _Limit:
    """What may still pass before all is cut."""

    def __init__(self, count: int, direction: Direction, unit: Unit, refuse: bool) -> None:
        self.direction = direction
        self.unit = unit
        self.refuse = refuse
        self._left = count

    def take(self, chunk: bytes) -> tuple[bytes, bytes]:
        """What of `chunk` passes, and what does not."""
        if self.unit == "chunks":
            self._left -= 1
            return (chunk, b"") if self._left >= 0 else (b"", chunk)
        passing, rest = chunk[: self._left], chunk[self._left :]
        self._left -= len(passing)
        return passing, rest


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
