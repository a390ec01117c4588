"""Which framing the other side speaks, and at which address: one AARQ of the public client, then SNRM to the usual
HDLC addresses. Neither changes anything in a meter, nor counts as an attempt on a password."""

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple

from metercast.capture.frames import FrameCutter
from metercast.dlms.acse import (
    AARE,
    RLRE,
    Aare,
    Aarq,
    ApplicationContext,
    AssociationResult,
    DiagnosticSource,
    Rlrq,
)
from metercast.dlms.conformance import Conformance
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame
from metercast.dlms.hdlc_parameters import DEFAULT_PARAMETERS, HdlcParameters, decode_parameters
from metercast.dlms.initiate import InitiateRequest
from metercast.dlms.wrapper import WrapperFrame, encode_wrapper
from metercast.domain.meter import Connection, Framing
from metercast.driver.transport import Connector, Transport
from metercast.probe.association import decoded_answer
from metercast.probe.line import Trace, connect, hear
from metercast.probe.settings import ProbeSettings

EVERYTHING: Final = Conformance(
    sum(bit.value for bit in Conformance) & ~(Conformance.READ | Conformance.WRITE | Conformance.UNCONFIRMED_WRITE)
)
"""All services of logical names: only to see which of them a meter offers."""
_CALLED_NOT_RECOGNIZED: Final = range(7, 11)
SHOWN_OCTETS: Final = 60
MAX_NOTES: Final = 50


class Heard(NamedTuple):
    """What was found of the line. `answer` is the APDU that came back to the AARQ, where one did; `releases` whether
    an RLRQ was answered, None where none was sent."""

    framing: Framing
    server_sap: int
    address: HdlcAddress | None = None
    parameters: HdlcParameters | None = None
    answer: bytes | None = None
    releases: bool | None = None


class FramingSearch:
    """Opens few connections, one after the other, each closed before the next."""

    def __init__(self, settings: ProbeSettings, connector: Connector, trace: Trace | None = None) -> None:
        self._settings = settings
        self._connector = connector
        self._trace = trace
        self._connections = 0
        self._is_foreign = False
        self.notes: list[str] = []

    async def find(self) -> Heard | None:
        """None where nothing here speaks DLMS. Raises OSError where nothing can be connected to at all."""
        settings = self._settings
        first, *others = settings.servers
        found: Heard | None = None
        if settings.framing != "hdlc":
            found = await self._as_wrapper([first])
            if found is not None and others and _is_elsewhere(found.answer):
                self._say(f"wrapper, server {first}: not known there")
                found = await self._as_wrapper(others) or found
        if found is None and settings.framing != "wrapper":
            found = await self._as_hdlc()
        if found is None and settings.framing != "hdlc" and others and not self._is_foreign:
            found = await self._as_wrapper(others)
        return found

    async def _as_wrapper(self, servers: list[int]) -> Heard | None:
        """Asks each server address in turn; one that is silent is asked for an RLRE as well."""
        transport = await self._connect(Framing.WRAPPER)
        try:
            for server in servers:
                for name, apdu in (("AARQ", public_aarq()), ("RLRQ", Rlrq(0).encode())):
                    transport.write(encode_wrapper(self._settings.client_sap, server, apdu))
                    heard, closed = await hear(transport, self._settings.timeout, _is_frame)
                    found = self._wrapper_in(heard, server, name)
                    if found is not None and _is_elsewhere(found.answer) and server != servers[-1]:
                        break  # this server is not known there; the next may be
                    if found is not None:
                        return await self._released(transport, found)
                    if heard or closed:
                        self._not_dlms(f"wrapper, server {server}", heard)
                        return None
                else:
                    self._say(f"wrapper, server {server}: silent")
        finally:
            await _end(transport)
        return None

    def _wrapper_in(self, heard: bytes, server: int, asked: str) -> Heard | None:
        for frame in FrameCutter().feed(heard):
            if isinstance(frame, HdlcFrame):
                self._say("HDLC frames came back to the wrapper's")
                return None
            if not isinstance(frame, WrapperFrame) or not frame.apdu:
                continue
            if asked == "RLRQ":
                self._say(f"wrapper, server {server}: silent to an AARQ, answers an RLRQ")
                return Heard(Framing.WRAPPER, server, releases=frame.apdu[0] == RLRE)
            if frame.source != server:
                self._say(f"wrapper: the answer comes from server {frame.source}, not from {server}")
            return Heard(Framing.WRAPPER, frame.source, answer=frame.apdu)
        return None

    async def _released(self, transport: Transport, found: Heard) -> Heard:
        """No association is left open: a meter may take one at a time."""
        if found.answer is None or found.answer[0] != AARE:
            return found
        transport.write(encode_wrapper(self._settings.client_sap, found.server_sap, Rlrq(0).encode()))
        heard, _ = await hear(transport, self._settings.link_timeout, _is_frame)
        answers = [each for each in FrameCutter().feed(heard) if isinstance(each, WrapperFrame)]
        return found._replace(releases=any(each.apdu[:1] == bytes([RLRE]) for each in answers))

    async def _as_hdlc(self) -> Heard | None:
        transport = await self._connect(Framing.HDLC)
        here = HdlcAddress(self._settings.client_sap & 0x7F).encode()
        try:
            for address in self._addresses():
                there = address.encode()
                transport.write(HdlcFrame(there, here, FrameKind.SET_NORMAL_RESPONSE_MODE).encode())
                heard, closed = await hear(transport, self._settings.link_timeout, _has_answer)
                for frame in FrameCutter().feed(heard):
                    if isinstance(frame, HdlcFrame) and frame.kind is not FrameKind.SET_NORMAL_RESPONSE_MODE:
                        return await self._hdlc_in(transport, address, frame)
                if closed or heard:
                    self._not_dlms(f"HDLC, {_named(address)}", heard)
                if closed:
                    return None
            self._say("HDLC: silent at " + ", ".join(map(_named, self._addresses())))
        finally:
            await _end(transport)
        return None

    async def _hdlc_in(self, transport: Transport, asked: HdlcAddress, frame: HdlcFrame) -> Heard | None:
        try:
            address = HdlcAddress.decode(frame.source)
        except DecodeError:
            self._say(f"HDLC: an answer from the address {frame.source.hex()}")
            return None
        if address != asked:
            self._say(f"HDLC: the answer comes from {_named(address)}, not from {_named(asked)}")
        if frame.kind is not FrameKind.UNNUMBERED_ACKNOWLEDGE:
            self._say(f"HDLC, {_named(address)}: answers SNRM with {frame.kind.name.lower().replace('_', ' ')}")
            return Heard(Framing.HDLC, address.upper, address)
        try:
            parameters = decode_parameters(frame.info)
        except DecodeError as error:
            self._say(f"HDLC, {_named(address)}: {error}")
            parameters = DEFAULT_PARAMETERS
        transport.write(HdlcFrame(frame.source, frame.destination, FrameKind.DISCONNECT).encode())
        await hear(transport, self._settings.link_timeout, _is_frame)
        return Heard(Framing.HDLC, address.upper, address, parameters)

    def _addresses(self) -> Iterator[HdlcAddress]:
        """Short ones first; those that do not fit their length are left out."""
        settings = self._settings
        for size in (1, 2, 4) if settings.address_size is None else (settings.address_size,):
            for server in settings.servers[:1]:
                for physical in (0,) if size == 1 else settings.physical_devices:
                    address = HdlcAddress(server, physical, size)
                    try:
                        address.encode()
                    except EncodeError:
                        continue
                    yield address

    async def _connect(self, framing: Framing) -> Transport:
        settings = self._settings
        if self._connections:
            await asyncio.sleep(settings.delay)
        self._connections += 1
        connection = Connection(host=settings.host, port=settings.port, framing=framing)
        transport = await connect(self._connector, connection, settings.timeout)
        return transport if self._trace is None else self._trace.listen_plain(transport)

    def _not_dlms(self, what: str, heard: bytes) -> None:
        self._is_foreign = self._is_foreign or bool(heard)
        self._say(f"{what}: {_told(heard)}")

    def _say(self, note: str) -> None:
        if note not in self.notes and len(self.notes) < MAX_NOTES:
            self.notes.append(note)


def public_aarq() -> bytes:
    """Without authentication, asking for everything."""
    request = InitiateRequest(conformance=EVERYTHING, client_max_receive_pdu_size=0xFFFF)
    return Aarq(application_context=ApplicationContext.LN, user_information=request.encode()).encode()


def _is_frame(heard: bytes) -> bool:
    return any(isinstance(each, WrapperFrame | HdlcFrame) for each in FrameCutter().feed(heard))


def _has_answer(heard: bytes) -> bool:
    """Of HDLC: a converter may send back what went out before the meter answers."""
    frames = [each for each in FrameCutter().feed(heard) if isinstance(each, HdlcFrame)]
    return any(frame.kind is not FrameKind.SET_NORMAL_RESPONSE_MODE for frame in frames)


def _is_elsewhere(answer: bytes | None) -> bool:
    """The AARE says that it is the server's address that is wrong."""
    aare = decoded_answer(answer)
    return (
        isinstance(aare, Aare)
        and aare.result != AssociationResult.ACCEPTED
        and aare.diagnostic_source == DiagnosticSource.SERVICE_USER
        and aare.diagnostic in _CALLED_NOT_RECOGNIZED
    )


async def _end(transport: Transport) -> None:
    transport.abort()
    await transport.gone()


def _named(address: HdlcAddress) -> str:
    return f"{address.upper}" if address.size == 1 else f"{address.upper}/{address.lower} in {address.size} octets"


def _told(heard: bytes) -> str:
    """As much of it as shows what it is."""
    if not heard:
        return "the connection was closed"
    first = heard[:SHOWN_OCTETS].partition(b"\r\n")[0]
    shown = repr(first.decode("ascii")) if first and first.isascii() and first.decode().isprintable() else first.hex()
    return f"no DLMS: {shown}"
