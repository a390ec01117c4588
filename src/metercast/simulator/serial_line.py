"""Several HDLC meters on one serial line behind a TCP converter: each hears all and answers what is for it."""

import asyncio
from collections.abc import Sequence
from typing import Final

from metercast.simulator.framing import HdlcFraming, Request
from metercast.simulator.gateway import Gateway, GatewayLine
from metercast.simulator.line import OpenLines, hdlc_framing
from metercast.simulator.meter import SimulatedMeter
from metercast.simulator.outbox import Overflow
from metercast.simulator.session import MeterSession
from metercast.simulator.spec import GatewaySpec

CONNECTED: Final = b"\r\nCONNECT 9600\r\n"


class SerialLine(GatewayLine):
    """A connection to the converter. What comes while the modem is asleep is lost."""

    __slots__ = ("_asleep", "_heard", "_stations", "_waking")

    def __init__(self, gateway: Gateway, meters: Sequence[SimulatedMeter], lines: OpenLines, spec: GatewaySpec) -> None:
        super().__init__(gateway, lines)
        self._stations = [_Station(meter, self) for meter in meters]
        self._asleep = spec if spec.wake_up else None
        self._waking: asyncio.TimerHandle | None = None
        self._heard = b""

    def take(self, data: bytes) -> None:
        if self._asleep is not None:
            self._listen(data, self._asleep)
            return
        for station in self._stations:
            if not self.closed:
                station.take(data)

    def ended(self, reason: str) -> None:
        if self._waking is not None:
            self._waking.cancel()
        for station in self._stations:
            station.end(reason)
        super().ended(reason)

    def _listen(self, data: bytes, modem: GatewaySpec) -> None:
        self._heard = (self._heard + data)[-len(modem.wake_up) :] if self._waking is None else b""
        if self._heard == modem.wake_up:
            self._waking = asyncio.get_running_loop().call_later(modem.wake_up_seconds, self._wake)

    def _wake(self) -> None:
        self._asleep = None
        self.write(CONNECTED)


class _Station:
    """One meter on the line: its link, and a session while that is open. Implements session.Line."""

    def __init__(self, meter: SimulatedMeter, line: SerialLine) -> None:
        self._meter, self._line = meter, line
        self._framing: HdlcFraming = hdlc_framing(meter.spec, self._link_ended)
        self._session: MeterSession | None = None

    def take(self, data: bytes) -> None:
        requests = self._framing.feed(data)
        if self._session is None and self._framing.is_open:
            self._session = self._meter.open_session(self, self._line.peer)
        session = self._session
        if session is None or not self._framing.is_open:
            self._line.write(self._framing.outgoing())
            self.end("link")
            return
        session.received += len(data)
        try:
            for request in requests:
                session.take(request)
            session.say(self._framing.outgoing())
        except Overflow:
            session.refused("requests faster than answers")
            self._line.abort()

    def end(self, reason: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end(reason)

    def _link_ended(self) -> None:
        if self._session is not None:
            self._session.association.end(released=True)

    # What a session needs of its line.

    def write(self, octets: bytes) -> None:
        self._line.write(octets)

    def framed(self, request: Request, apdu: bytes) -> bytes:
        return self._framing.answer(request, apdu)

    def abort(self) -> None:
        self._line.abort()

    def peer_has_gone(self) -> bool:
        return self._line.peer_has_gone()
