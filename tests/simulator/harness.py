"""A meter without sockets: APDUs in, APDUs out, with a true time that the test moves."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.simulator.raw_client import AARQ_NONE

from metercast.simulator import MeterSpec, Population, SimulatedMeter
from metercast.simulator.association import ServerAssociation
from metercast.simulator.faults import FaultPlay
from metercast.simulator.log import AnyEvent
from metercast.simulator.observer import Observer
from metercast.simulator.session_faults import SessionFaults
from metercast.simulator.witness import Witness

Clock = Callable[[], float]


class TrueTime:
    """2026-06-01T12:00:00Z until moved."""

    def __init__(self) -> None:
        self.now = 1_780_315_200.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """One meter and one connection to it; `refusals` are the meter's own words."""

    def __init__(self, spec: MeterSpec, true_time: TrueTime | None = None) -> None:
        self.true_time = true_time or TrueTime()
        self.meter = SimulatedMeter(spec, Witness(keep=True), self.true_time)
        self.client_sap = 1
        self.association = self.connect()

    @property
    def events(self) -> list[AnyEvent]:
        return self.meter.witness.events

    def connect(self, observer: Observer | None = None) -> ServerAssociation:
        """A new connection takes the place of the old one."""
        play = FaultPlay(self.meter.faults)
        faults = SessionFaults.of(play.open_session(), play)
        self.association = ServerAssociation(self.meter, faults, observer or Observer())
        return self.association

    def ask(self, apdu: bytes | str) -> str:
        """The answer in lower-case hex, empty where the meter is silent."""
        octets = bytes.fromhex(apdu) if isinstance(apdu, str) else apdu
        answer = self.association.receive(self.client_sap, self.meter.spec.server_sap, octets)
        return (answer or b"").hex()


def spec_of(security: str = "none", **changes: Any) -> MeterSpec:
    """The first meter of a population of one kind, with an exact clock, changed as told."""
    spec = Population.build(1, security=security, clock_offset=0.0).meters[0]  # type: ignore[arg-type]
    return replace(spec, **changes)


def associated(**changes: Any) -> Bench:
    """Without authentication, as the management client."""
    bench = Bench(spec_of(**changes))
    assert "a203020100" in bench.ask(AARQ_NONE)
    return bench
