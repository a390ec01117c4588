"""One session on one meter: from the first octet of a connection that is for it to the last."""

from random import Random
from typing import Protocol

from metercast.dlms.acse import Mechanism
from metercast.simulator.answering import Answering
from metercast.simulator.association import ServerAssociation
from metercast.simulator.faults import DropConnection, FaultPlay
from metercast.simulator.framing import Request
from metercast.simulator.log import (
    AssociationAnswered,
    AssociationEstablished,
    AssociationReleased,
    FaultPlayed,
    Refused,
    ServiceAnswered,
    SessionClosed,
    SessionOpened,
    now,
)
from metercast.simulator.observer import Observer, Service
from metercast.simulator.opening import AssociationHolder
from metercast.simulator.outbox import Outbox
from metercast.simulator.session_faults import SessionFaults
from metercast.simulator.witness import Witness


class Line(Protocol):
    """The connection that a session runs over."""

    def write(self, octets: bytes) -> None: ...

    def framed(self, request: Request, apdu: bytes) -> bytes:
        """The answer to a request as it goes onto the line."""

    def abort(self) -> None: ...

    def peer_has_gone(self) -> bool:
        """The client has closed its side, even if the event loop has not yet said so."""


class SessionHolder(AssociationHolder, Protocol):
    """The meter, as far as a session needs it."""

    witness: Witness
    random: Random
    session_count: int

    @property
    def meter_id(self) -> str: ...

    def forget_session(self, session: "MeterSession") -> None: ...


class MeterSession(Observer):
    """Takes the frames for its meter and answers them; writes the witness."""

    __slots__ = (
        "_answering",
        "_drop_after",
        "_ended",
        "_meter",
        "_number",
        "_peer",
        "association",
        "line",
        "outbox",
        "received",
    )

    def __init__(self, meter: SessionHolder, line: Line, peer: str, play: FaultPlay) -> None:
        faults = play.open_session()
        self._meter, self.line, self._peer = meter, line, peer
        self._number = meter.session_count
        self._ended = False
        self.received = 0
        self._drop_after = min(
            (f.after_received for f in faults if isinstance(f, DropConnection) and f.after_received is not None),
            default=None,
        )
        self.association = ServerAssociation(meter, SessionFaults.of(faults, play), self)
        self._answering = Answering(self.association, faults, self, meter.spec.block_window)
        self.outbox = Outbox(faults, line.write, line.abort, self.fault_played, meter.random)

    def begin(self, concurrent: int) -> None:
        witness = self._meter.witness
        if witness.watching:
            event = SessionOpened(
                meter=self._meter.meter_id, session=self._number, peer=self._peer, concurrent=concurrent, **now()
            )
            witness.write(event)

    def allowance(self, size: int) -> int:
        """How many of the next `size` octets the line lets through; fewer: it drops behind them."""
        if self._drop_after is None:
            return size
        return max(0, min(size, self._drop_after - self.received))

    def drops_now(self) -> bool:
        """Whether as many octets came as the fault lets through."""
        if self._drop_after is not None and self.received >= self._drop_after:
            self.fault_played("drop-connection")
            return True
        return False

    def take(self, request: Request) -> None:
        """Answers one request; raises outbox.Overflow."""
        if self.outbox.mute:
            self.outbox.show("never-answer")
            return
        answers = self._answering.answers(request)
        if self.association.aborted:
            self.line.abort()
            return
        for answer in answers:
            if octets := self.line.framed(request, answer):
                self.outbox.send(octets)

    def say(self, octets: bytes) -> None:
        """What the link says beside the answers."""
        if octets and not self.outbox.mute:
            self.outbox.send(octets)

    def end(self, reason: str) -> None:
        """Once only, further calls do nothing."""
        if self._ended:
            return
        self._ended = True
        self.outbox.close()
        self.association.end()
        self._meter.forget_session(self)
        witness = self._meter.witness
        if witness.watching:
            event = SessionClosed(
                meter=self._meter.meter_id,
                session=self._number,
                reason=reason,
                received=self.received,
                sent=self.outbox.sent,
                **now(),
            )
            witness.write(event)

    # What the association tells.

    def association_answered(self, client_sap: int, mechanism: Mechanism, result: int, diagnostic: int) -> None:
        witness = self._meter.witness
        if witness.watching:
            event = AssociationAnswered(
                meter=self._meter.meter_id,
                session=self._number,
                client_sap=client_sap,
                mechanism=mechanism.name.lower(),
                result=result,
                diagnostic=diagnostic,
                **now(),
            )
            witness.write(event)

    def association_established(self, client_sap: int, mechanism: Mechanism) -> None:
        witness = self._meter.witness
        if witness.watching:
            event = AssociationEstablished(
                meter=self._meter.meter_id,
                session=self._number,
                client_sap=client_sap,
                mechanism=mechanism.name.lower(),
                **now(),
            )
            witness.write(event)

    def association_released(self) -> None:
        witness = self._meter.witness
        if witness.watching:
            witness.write(AssociationReleased(meter=self._meter.meter_id, session=self._number, **now()))

    def service_answered(self, service: Service, class_id: int, logical_name: bytes, index: int, result: int) -> None:
        witness = self._meter.witness
        if witness.watching:
            event = ServiceAnswered(
                meter=self._meter.meter_id,
                session=self._number,
                service=service,
                class_id=class_id,
                logical_name=".".join(map(str, logical_name)),
                index=index,
                result=result,
                **now(),
            )
            witness.write(event)

    def refused(self, reason: str) -> None:
        witness = self._meter.witness
        if witness.watching:
            event = Refused(meter=self._meter.meter_id, session=self._number, reason=reason, **now())
            witness.write(event)

    def fault_played(self, kind: str) -> None:
        witness = self._meter.witness
        if witness.watching:
            event = FaultPlayed(meter=self._meter.meter_id, session=self._number, fault=kind, **now())
            witness.write(event)
