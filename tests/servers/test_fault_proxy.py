"""The proxy that does harm does the harm that it is asked for, and no other."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from tests.servers.proxy import FaultProxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that sends back what it gets, and keeps it."""

    def __init__(self) -> None:
        self.got = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                self.got += chunk
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, FaultProxy]]:
    server = Echo()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    proxy = await asyncio.to_thread(FaultProxy, "127.0.0.1", listener.sockets[0].getsockname()[1])
    yield server, proxy
    await asyncio.to_thread(proxy.close)
    listener.close()


async def connect(proxy: FaultProxy) -> Streams:
    return await asyncio.open_connection(proxy.host, proxy.port)


async def ask(streams: Streams, message: bytes) -> bytes:
    """The answer, as far as it came before the connection ended."""
    reader, writer = streams
    answer = b""
    try:
        writer.write(message)
        await writer.drain()
        while len(answer) < len(message):
            chunk = await asyncio.wait_for(reader.read(65_536), 5)
            if not chunk:
                break
            answer += chunk
    except ConnectionError:
        pass
    return answer


async def ask_once(proxy: FaultProxy, message: bytes) -> bytes:
    """Over a connection of its own, which may be cut before it stands."""
    try:
        streams = await connect(proxy)
    except ConnectionError:
        return b""
    answer = await ask(streams, message)
    streams[1].close()
    return answer


async def test_without_a_fault_everything_passes(echo: tuple[Echo, FaultProxy]) -> None:
    _, proxy = echo
    streams = await connect(proxy)
    assert await ask(streams, b"x" * 300_000) == b"x" * 300_000
    assert proxy.cuts == 0
    streams[1].close()


async def test_cut_cuts_every_connection_and_new_ones_work(echo: tuple[Echo, FaultProxy]) -> None:
    _, proxy = echo
    both = [await connect(proxy), await connect(proxy)]
    assert [await ask(each, b"hello") for each in both] == [b"hello"] * 2
    proxy.cut()
    assert [await ask(each, b"hello") for each in both] == [b""] * 2
    assert await ask_once(proxy, b"again") == b"again"


async def test_a_request_that_never_arrives_and_an_answer_that_never_comes(echo: tuple[Echo, FaultProxy]) -> None:
    server, proxy = echo
    streams = await connect(proxy)
    proxy.cut_after(1, "up")
    assert await ask(streams, b"one") == b"one"
    assert await ask(streams, b"two") == b""
    assert (server.got, proxy.cuts) == (b"one", 1)
    streams = await connect(proxy)
    proxy.cut_after(0, "down")
    assert await ask(streams, b"three") == b""
    assert server.got == b"onethree"
    assert await ask_once(proxy, b"four") == b"four"  # once


@pytest.mark.parametrize("count", [0, 1, 4, 5])
async def test_a_cut_within_a_message(echo: tuple[Echo, FaultProxy], count: int) -> None:
    server, proxy = echo
    streams = await connect(proxy)
    proxy.cut_after(count, "down", "bytes")
    answer = await ask(streams, b"hello")
    assert (answer, server.got) == (b"hello"[:count], b"hello")
    assert proxy.cuts == (count < 5)


async def test_refused_until_healed(echo: tuple[Echo, FaultProxy]) -> None:
    _, proxy = echo
    proxy.cut_after(0, "up", refuse=True)
    assert await ask_once(proxy, b"one") == b""
    for _ in range(2):
        assert await ask_once(proxy, b"two") == b""
    proxy.heal()
    assert await ask_once(proxy, b"three") == b"three"


async def test_stalled_and_late(echo: tuple[Echo, FaultProxy]) -> None:
    server, proxy = echo
    streams = await connect(proxy)
    proxy.stall()
    answer = asyncio.create_task(ask(streams, b"hello"))
    done, _ = await asyncio.wait([answer], timeout=0.05)
    assert (done, server.got) == (set(), b"")
    proxy.heal()
    assert await answer == b"hello"
    proxy.delay(0.02)
    start = time.monotonic()
    assert await ask(streams, b"late") == b"late"
    assert time.monotonic() - start >= 0.04
    streams[1].close()


async def test_without_a_server_there_is_no_connection() -> None:
    proxy_to_nowhere = await asyncio.to_thread(FaultProxy, "127.0.0.1", 1)
    assert await ask_once(proxy_to_nowhere, b"hello") == b""
    await asyncio.to_thread(proxy_to_nowhere.close)
