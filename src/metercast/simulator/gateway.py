"""Several meters behind one address, told apart by the server SAP in the wrapper."""

import asyncio

from metercast.dlms.errors import DlmsError
from metercast.dlms.wrapper import HEADER_SIZE
from metercast.simulator.framing import Request
from metercast.simulator.line import OpenLines, TcpLine
from metercast.simulator.meter import SimulatedMeter
from metercast.simulator.outbox import Overflow
from metercast.simulator.session import MeterSession


class Gateway:
    """Serves one connection at a time; another one is closed at once, or waits for its turn.

    `closed_at_once` counts the connections that were not taken.
    """

    def __init__(self, meters: dict[int, SimulatedMeter], *, second_waits: bool) -> None:
        self.meters = meters
        self.closed_at_once = 0
        self._second_waits = second_waits
        self._serving: GatewayLine | None = None
        self._queue: list[GatewayLine] = []

    def enter(self, line: "GatewayLine") -> None:
        if self._serving is not None and self._serving.peer_has_gone():
            self._serving.abort("peer")
        if self._serving is None:
            self._serving = line
            line.serve()
        elif self._second_waits:
            self._queue.append(line)
        else:
            self.closed_at_once += 1
            line.abort()

    def leave(self, line: "GatewayLine") -> None:
        if line in self._queue:
            self._queue.remove(line)
        if line is not self._serving:
            return
        self._serving = None
        if self._queue:
            self._serving = self._queue.pop(0)
            self._serving.serve()


class GatewayLine(TcpLine):
    """A connection to a gateway: each meter that it addresses has a session of its own on it."""

    __slots__ = ("_gateway", "_served", "_sessions", "_waiting", "closed")

    def __init__(self, gateway: Gateway, lines: OpenLines) -> None:
        super().__init__(lines)
        self.closed = False
        self._gateway = gateway
        self._served = False
        self._sessions: dict[int, MeterSession] = {}
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._gateway.enter(self)

    def serve(self) -> None:
        """It is this connection's turn."""
        self._served = True
        waiting, self._waiting = self._waiting, b""
        if waiting:
            self.resume_writing()
            self.data_received(waiting)

    def data_received(self, data: bytes) -> None:
        if not self._served:
            # What comes first is kept, the rest stays with the kernel.
            self._waiting += data
            self.pause_writing()
            return
        self.take(data)

    def take(self, data: bytes) -> None:
        """What comes while it is this connection's turn."""
        try:
            requests = self._framing.feed(data)
        except DlmsError:
            self.abort()
            return
        for request in requests:
            if not self._pass_on(request):
                return

    def ended(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        for session in self._sessions.values():
            session.end(reason)
        self._sessions.clear()
        self._gateway.leave(self)

    def _pass_on(self, request: Request) -> bool:
        """False where the connection is over."""
        if self.closed:
            return False
        session = self._session_of(request.server_sap)
        if session is None:
            return True
        size = HEADER_SIZE + len(request.apdu)
        allowed = session.allowance(size)
        session.received += allowed
        try:
            if allowed == size:
                session.take(request)
        except Overflow:
            session.refused("requests faster than answers")
            self.abort()
        if session.drops_now():
            self.abort()
        return True

    def _session_of(self, server_sap: int) -> MeterSession | None:
        """None where nobody has that SAP: a gateway knows no more than that nobody answers."""
        session = self._sessions.get(server_sap)
        if session is None:
            meter = self._gateway.meters.get(server_sap)
            if meter is None or meter.is_down:
                return None
            session = meter.open_session(self, self.peer)
            self._sessions[server_sap] = session
        return session
