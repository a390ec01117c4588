"""TCP connections to simulated meters, one protocol object each."""

import asyncio
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from metercast.dlms.errors import DlmsError
from metercast.dlms.hdlc import HdlcAddress
from metercast.dlms.hdlc_parameters import HdlcParameters
from metercast.simulator.framing import Framing, HdlcFraming, Request, WrapperFraming
from metercast.simulator.meter import SimulatedMeter
from metercast.simulator.outbox import Overflow
from metercast.simulator.session import MeterSession
from metercast.simulator.spec import MeterSpec

_TCP_ESTABLISHED = 1


class OpenLines:
    """The connections of a simulator, as long as they last."""

    def __init__(self) -> None:
        self._lines: set[TcpLine] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, line: "TcpLine") -> None:
        self._lines.add(line)
        self._empty.clear()

    def discard(self, line: "TcpLine") -> None:
        self._lines.discard(line)
        if not self._lines:
            self._empty.set()

    async def close(self, seconds: float) -> None:
        """Aborts all and waits, at most so long, until their transports are closed."""
        for line in list(self._lines):
            line.abort("end")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()


class TcpLine(asyncio.Protocol, ABC):
    """What every connection has: a transport, and no more data read than the client takes answers."""

    __slots__ = ("_framing", "_lines", "peer", "transport")

    def __init__(self, lines: OpenLines) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer = ""
        self._lines = lines
        self._framing: Framing = WrapperFraming()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if name else ""
        self._lines.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._lines.discard(self)
        self.ended("peer")

    @abstractmethod
    def ended(self, reason: str) -> None:
        """The sessions of this connection end; harmless if they have."""

    def write(self, octets: bytes) -> None:
        if self.transport is not None:
            self.transport.write(octets)

    def framed(self, request: Request, apdu: bytes) -> bytes:
        return self._framing.answer(request, apdu)

    def abort(self, reason: str = "meter") -> None:
        self.ended(reason)
        if self.transport is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def peer_has_gone(self) -> bool:
        """The client has closed its side: the kernel knows it before the event loop says so (Linux)."""
        if self.transport is None or self.transport.is_closing():
            return True
        if not sys.platform.startswith("linux"):
            return False
        sock = self.transport.get_extra_info("socket")
        with suppress(OSError, ValueError):
            return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED)
        return True


class MeterLine(TcpLine):
    """A connection to the one meter that listens there: session and connection are the same."""

    __slots__ = ("_meter", "_session")

    def __init__(self, meter: SimulatedMeter, lines: OpenLines) -> None:
        super().__init__(lines)
        self._meter = meter
        self._session: MeterSession | None = None
        if meter.spec.hdlc is not None:
            self._framing = hdlc_framing(meter.spec, self._link_ended)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._session = self._meter.open_session(self, self.peer)

    def data_received(self, data: bytes) -> None:
        session = self._session
        if session is None:
            return
        allowed = session.allowance(len(data))
        session.received += allowed
        self._take(session, data[:allowed] if allowed < len(data) else data)
        if session.drops_now():
            self.abort()

    def ended(self, reason: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end(reason)

    def _take(self, session: MeterSession, data: bytes) -> None:
        try:
            requests = self._framing.feed(data)
        except DlmsError as exc:
            session.refused(str(exc))
            self.abort()
            return
        try:
            for request in requests:
                if self._session is None:
                    return
                session.take(request)
            session.say(self._framing.outgoing())
        except Overflow:
            session.refused("requests faster than answers")
            self.abort()

    def _link_ended(self) -> None:
        if self._session is not None:
            self._session.association.end(released=True)


def hdlc_framing(spec: MeterSpec, ended: Callable[[], None]) -> HdlcFraming:
    """Of a meter that speaks HDLC."""
    hdlc = spec.hdlc
    assert hdlc is not None
    address = HdlcAddress(spec.server_sap, hdlc.physical_device, hdlc.address_size)
    return HdlcFraming(address, HdlcParameters(hdlc.max_info, hdlc.max_info, hdlc.window, hdlc.window), ended)


LineFactory = Callable[[], asyncio.Protocol]
