"""One connection of a probe: octets out, octets back, within its patience."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from metercast.dlms.errors import DlmsError
from metercast.dlms.link import Link
from metercast.dlms.settings import AssociationSettings
from metercast.domain.meter import Connection, Meter, MeterRecord
from metercast.driver.errors import PeerClosed, TransportError
from metercast.driver.transport import Connector, Transport

MAX_HEARD: Final = 64 * 1024
_CLOSE_SECONDS: Final = 2.0
_POLLS: Final = 3
_LONGEST: Final = 30  # times the patience for a silence: a long answer on a slow line


class NoAnswer(TransportError):
    """The meter was silent for as long as a probe waits."""


class Trace(Protocol):
    """Where a probe is written down; see metercast.trace."""

    def listen(
        self, transport: Transport, link: Link, twin: Link, settings: AssociationSettings
    ) -> tuple[Transport, Link]: ...

    def listen_plain(self, transport: Transport) -> Transport:
        """For octets that are known to hold no secret."""
        ...


async def connect(connector: Connector, connection: Connection, seconds: float) -> Transport:
    """Raises OSError, which a TimeoutError is as well."""
    meter = Meter("probe", MeterRecord(connection=connection), {})
    async with asyncio.timeout(seconds):
        return await connector.connect(meter)


async def hear(transport: Transport, seconds: float, enough: Callable[[bytes], bool]) -> tuple[bytes, bool]:
    """(what came, whether the other side closed): until it is enough, or for so long nothing more came."""
    heard = b""
    try:
        while not enough(heard) and len(heard) < MAX_HEARD:
            async with asyncio.timeout(seconds):
                heard += await transport.read()
    except TimeoutError:
        return heard, False
    except PeerClosed:
        return heard, True
    return heard, False


class Line:
    """Speaks APDUs over a link. Raises NoAnswer, PeerClosed and what the link raises."""

    def __init__(self, transport: Transport, link: Link, seconds: float, frame_delay: float = 0.0) -> None:
        self._transport = transport
        self._link = link
        self._seconds = seconds
        self._frame_delay = frame_delay
        self._inbox: list[bytes] = []

    async def open(self) -> None:
        octets = self._link.open()
        if octets:
            await self._write(octets)
        longest = self._seconds * _POLLS
        try:
            async with asyncio.timeout(longest):
                while not self._link.is_open:
                    await self._read()
        except TimeoutError:
            raise NoAnswer(f"the link did not open in {longest:g} s") from None

    async def exchange(self, apdu: bytes) -> bytes:
        """The APDU that comes next."""
        await self.send(apdu)
        return await self.receive()

    async def send(self, apdu: bytes) -> None:
        await self._write(self._link.send(apdu))

    async def listen(self) -> None:
        """More is to come without a further question."""
        octets = self._link.listen()
        if octets:
            await self._write(octets)

    async def receive(self) -> bytes:
        """What comes for others, or comes back as an echo, does not prolong the wait for ever."""
        longest = self._seconds * _LONGEST
        try:
            async with asyncio.timeout(longest):
                while not self._inbox:
                    await self._read()
        except TimeoutError:
            raise NoAnswer(f"no whole answer in {longest:g} s") from None
        return self._inbox.pop(0)

    async def close(self) -> None:
        """The link's end and the connection's, in short time and without error."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                octets = self._link.close()
                if octets:
                    await self._write(octets)
                while not self._link.is_closed:
                    await self._read()
                await self._transport.close()
        except (TimeoutError, TransportError, DlmsError):
            pass
        finally:
            self._transport.abort()
            await self._transport.gone()

    async def _read(self) -> None:
        """What comes next; HDLC asks for it again after a silence."""
        for _ in range(_POLLS):
            try:
                async with asyncio.timeout(self._seconds / _POLLS):
                    data = await self._transport.read()
            except TimeoutError:
                self._inbox += self._link.unblock()
                again = self._link.take_outgoing() or self._link.poll()
                if again:
                    await self._write(again)
                if self._inbox:
                    return
                continue
            self._inbox += self._link.receive(data)
            outgoing = self._link.take_outgoing()
            if outgoing:
                await self._write(outgoing)
            return
        raise NoAnswer(f"no answer for {self._seconds:g} s")

    async def _write(self, octets: bytes) -> None:
        if self._frame_delay:
            await asyncio.sleep(self._frame_delay)
        self._transport.write(octets)
