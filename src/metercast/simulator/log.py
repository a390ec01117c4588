"""The witness: NDJSON of every session and service of the simulated meters.

Each line is one event with the meter, the number of the session on that meter (from 1), monotonic and wall time in
seconds. `concurrent` of an opened session counts the sessions open on that physical meter, itself included: above 1
means that two were open at once.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import msgspec

FLUSH_SECONDS = 0.1
FLUSH_EVENTS = 2000


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", omit_defaults=True):
    """`monotonic` is of the machine's monotonic clock, `wall` is seconds since 1970 UTC."""

    meter: str
    session: int
    monotonic: float
    wall: float


class SessionOpened(Event, frozen=True, tag="opened"):
    peer: str
    concurrent: int


class SessionClosed(Event, frozen=True, tag="closed"):
    """`reason`: peer (it closed), meter (a fault or bad octets), end (the simulator stops)."""

    reason: str
    received: int
    sent: int


class AssociationAnswered(Event, frozen=True, tag="association"):
    """An AARE: ACSE result and diagnostic. `authenticated` comes with its own event where pass 4 completes."""

    client_sap: int
    mechanism: str
    result: int
    diagnostic: int


class AssociationEstablished(Event, frozen=True, tag="established"):
    """The association is complete: after the AARE, with HLS after pass 4."""

    client_sap: int
    mechanism: str


class AssociationReleased(Event, frozen=True, tag="released"):
    pass


class ServiceAnswered(Event, frozen=True, tag="service"):
    """One GET, SET or ACTION with its result code (catalogue 2.8); a transfer in blocks is one event."""

    service: Literal["get", "set", "action"]
    class_id: int
    logical_name: str
    index: int
    result: int


class ActionExecuted(Event, frozen=True, tag="executed"):
    """A method ran with effect. `count` is how often this method ran on this meter, this time included."""

    class_id: int
    logical_name: str
    index: int
    count: int


class Refused(Event, frozen=True, tag="refused"):
    """Octets or an APDU that the meter does not accept, in its own words."""

    reason: str


class FaultPlayed(Event, frozen=True, tag="fault"):
    fault: str


AnyEvent = (
    SessionOpened
    | SessionClosed
    | AssociationAnswered
    | AssociationEstablished
    | AssociationReleased
    | ServiceAnswered
    | ActionExecuted
    | Refused
    | FaultPlayed
)

_decoder = msgspec.json.Decoder(AnyEvent)


def now() -> dict[str, float]:
    """The time fields of an event that happens now."""
    return {"monotonic": time.monotonic(), "wall": time.time()}


class SessionLog:
    """Appends events to a file; they are in the file 100 ms later, at `flush` or at `close`.

    Without a running event loop every event is written at once.
    """

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    def write(self, event: AnyEvent) -> None:
        self._buffer += self._encoder.encode(event)
        self._buffer += b"\n"
        self._waiting += 1
        if self._waiting >= FLUSH_EVENTS:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._buffer:
            view = memoryview(bytes(self._buffer))
            self._buffer.clear()
            self._waiting = 0
            while view:
                view = view[self._file.write(view) or 0 :]

    def close(self) -> None:
        self.flush()
        self._file.close()


def read_log(path: Path) -> Iterator[AnyEvent]:
    """The events of a log, oldest first; a last line that is cut off is left out."""
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            yield _decoder.decode(line)


def overlapping_sessions(events: Iterator[AnyEvent] | list[AnyEvent]) -> list[SessionOpened]:
    """The sessions that opened on a meter while another was open: empty if each meter had one at a time."""
    return [event for event in events if isinstance(event, SessionOpened) and event.concurrent > 1]


def executions(events: Iterator[AnyEvent] | list[AnyEvent]) -> dict[tuple[str, int, str, int], int]:
    """How often each method ran, by (meter, class id, logical name, method index)."""
    counts: dict[tuple[str, int, str, int], int] = {}
    for event in events:
        if isinstance(event, ActionExecuted):
            key = (event.meter, event.class_id, event.logical_name, event.index)
            counts[key] = counts.get(key, 0) + 1
    return counts
