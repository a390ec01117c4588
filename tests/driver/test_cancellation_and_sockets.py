"""Sockets: closed on every way out, and never read further than we can hold."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
from tests.driver.support import QUICK, driver, execute, meter_of
from tests.driver.test_sessions_with_played_bytes import AARE, CLOCK, RLRE
from tests.driver.transports import framed

from metercast.domain.meter import Connection, Meter, MeterRecord
from metercast.domain.outcome import Phase
from metercast.domain.words import ErrorWord
from metercast.driver.errors import PeerClosed, TimedOut
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import MAX_BUFFERED, TcpConnector, TcpTransport
from metercast.simulator import faults
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

PATIENT = Timeouts(progress=60.0, release=60.0)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A peer on a real socket, served by a coroutine."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.connections = 0
        self.closed = asyncio.Event()

    async def __aenter__(self) -> "Peer":
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            self.closed.set()

    @property
    def meter(self) -> Meter:
        return Meter("meter-1", MeterRecord(connection=Connection(host="127.0.0.1", port=self.port)), {})


def open_sockets() -> int:
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return count


@pytest.mark.parametrize("answered", range(4))
async def test_cancelling_closes_the_socket(answered: int) -> None:
    """While an answer to AARQ, GET or RLRQ is awaited, and at the very end."""
    answers = framed(AARE, CLOCK, RLRE)[:answered]
    asked = asyncio.Event()
    gone: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for frame in answers:
            await reader.read(1000)
            writer.write(frame)
        if answered < 3:
            await reader.read(1000)
        asked.set()
        gone.set_result(await reader.read())

    async with Peer(answer) as peer:
        session = asyncio.create_task(execute(peer.meter, by=driver(timeouts=PATIENT)))
        await asked.wait()
        session.cancel()
        ended = await asyncio.gather(session, return_exceptions=True)
        assert answered == 3 or isinstance(ended[0], asyncio.CancelledError)
        assert await asyncio.wait_for(gone, 5) == b""


async def test_cancelling_while_it_connects_leaves_nothing() -> None:
    before = open_sockets()
    # A full backlog: the kernel leaves further connections unanswered.
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, start_serving=False)
    port = listener.sockets[0].getsockname()[1]
    listener.sockets[0]._sock.listen(0)  # type: ignore[attr-defined]
    meter = Meter("meter-1", MeterRecord(connection=Connection(host="127.0.0.1", port=port)), {})
    by = driver(timeouts=Timeouts(connect=0.2))
    sessions = [asyncio.create_task(execute(meter, by=by)) for _ in range(8)]
    await asyncio.sleep(0)
    for session in sessions[:4]:
        session.cancel()
    ends = await asyncio.gather(*sessions, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends[:4])
    assert all(not isinstance(end, BaseException) for end in ends[4:])
    listener.close()
    await listener.wait_closed()
    await asyncio.sleep(0)
    assert open_sockets() <= before


async def test_sessions_leave_no_sockets_behind() -> None:
    async with Simulator(Population.mixed(12)) as simulator:
        documents = list(simulator.device_records())
        await simulator.set_faults("meter-0003", (faults.NeverAnswer(),))
        await simulator.set_faults("meter-0004", (faults.Garbage(),))
        await simulator.set_faults("meter-0005", (faults.RefuseConnections(),))
        before = open_sockets()
        await asyncio.gather(*(execute(meter_of(document)) for document in documents))
        for _ in range(3):
            await asyncio.sleep(0)
        assert open_sockets() <= before + 2  # what the simulator still closes on its side


async def test_a_trickle_of_octets_ends_with_the_session() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        header = bytes.fromhex("0001000100100400")
        for octet in header + bytes(0x400):
            writer.write(bytes((octet,)))
            await writer.drain()
            await asyncio.sleep(0.01)

    async with Peer(trickle) as peer:
        timeouts = Timeouts(progress=0.2, session=0.5)
        outcome = await execute(peer.meter, by=driver(timeouts=timeouts))
        assert (outcome.error, outcome.phase) == (ErrorWord.TIMEOUT, Phase.ASSOCIATING)
        assert outcome.detail is not None
        assert "the session took longer than 0.5 s" in outcome.detail
        await peer.closed.wait()


async def test_a_peer_that_closes_at_once() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with Peer(close) as peer:
        outcome = await execute(peer.meter)
        assert outcome.error is ErrorWord.CONNECTION_LOST


async def test_a_flood_is_not_read_further_than_we_can_hold() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < 64 * 1024 * 1024:
            writer.write(bytes(65536))
            sent += 65536
            await writer.drain()

    async with Peer(flood) as peer:
        transport = await TcpConnector().connect(peer.meter)
        assert isinstance(transport, TcpTransport)
        while not transport._paused:  # noqa: ASYNC110 - the transport tells nobody else
            await asyncio.sleep(0.01)
        held = transport._size
        await asyncio.sleep(0.1)
        assert transport._size == held <= MAX_BUFFERED + 1024 * 1024
        stood = sent
        assert stood < 32 * 1024 * 1024
        while len(await transport.read()) and sent == stood:
            pass  # reading goes on once what is held was taken
        transport.abort()
        await peer.closed.wait()


async def test_what_came_before_the_end_is_read_first() -> None:
    async def farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"farewell")
        await writer.drain()

    async with Peer(farewell) as peer:
        transport = await TcpConnector().connect(peer.meter)
        await peer.closed.wait()
        octets = b""
        while len(octets) < 8:
            octets += await transport.read()
        assert octets == b"farewell"
        with pytest.raises(PeerClosed):
            await transport.read()
        transport.write(b"too late")
        await transport.close()
        transport.abort()


async def test_an_interrupt_ends_the_read_that_waits_and_all_later_ones() -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with Peer(hold) as peer:
        transport = await TcpConnector().connect(peer.meter)
        waiting = asyncio.create_task(transport.read())
        await asyncio.sleep(0)
        transport.interrupt(TimedOut("enough"))
        with pytest.raises(TimedOut, match="enough"):
            await waiting
        with pytest.raises(TimedOut, match="enough"):
            await transport.read()
        transport.abort()
        await peer.closed.wait()


async def test_names_are_resolved_and_unknown_ones_are_unreachable() -> None:
    meter = Meter("meter-1", MeterRecord(connection=Connection(host="no-such-host.invalid")), {})
    outcome = await execute(meter, by=driver(timeouts=QUICK))
    assert (outcome.error, outcome.phase) == (ErrorWord.UNREACHABLE, Phase.BEFORE_ASSOCIATION)
    meter = Meter("meter-1", MeterRecord(connection=Connection(host="a..b")), {})
    assert (await execute(meter)).error is ErrorWord.UNREACHABLE
