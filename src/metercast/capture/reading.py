"""A whole capture: every frame on every TCP connection, in the order in which they became whole."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from metercast.capture.dialogue import Dialogue
from metercast.capture.files import CaptureError, Packet, Readable, read_packets
from metercast.capture.packets import Endpoint, NotCaptured, Segment, segment_in
from metercast.capture.streams import Stream
from metercast.dlms.deciphering import Keys
from metercast.dlms.describe import Description, unreadable

MAX_CONNECTIONS: Final = 4096
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Said(NamedTuple):
    """One frame, or what could not be read, and when its last octets were captured.

    `source` and `destination` are None for what concerns the whole file.
    """

    nanoseconds: int
    source: Endpoint | None
    destination: Endpoint | None
    frame: Description

    @property
    def time(self) -> str:
        """UTC, to the microsecond."""
        try:
            moment = _EPOCH + timedelta(microseconds=self.nanoseconds // 1000)
        except OverflowError:
            return "no time"
        return moment.isoformat(sep=" ", timespec="microseconds").removesuffix("+00:00")

    def as_dict(self) -> dict[str, Any]:
        """For JSON: time, source and destination, and the tree of the frame."""
        ends = {"source": self.source, "destination": self.destination}
        return {
            "time": self.time.replace(" ", "T") + "Z" if self.time[:1].isdigit() else None,
            **{name: None if end is None else str(end) for name, end in ends.items()},
            "frame": self.frame.as_dict(),
        }


class _Connection:
    def __init__(self, keys: Sequence[Keys]) -> None:
        self.dialogue = Dialogue(keys)
        self.streams: dict[tuple[Endpoint, Endpoint], Stream] = {}


class CaptureReader:
    """Reads packet after packet; holds a bounded number of connections, the least used goes first."""

    def __init__(self, keys: Sequence[Keys] = ()) -> None:
        self._keys = keys
        self._connections: dict[frozenset[Endpoint], _Connection] = {}

    def read(self, file: Readable) -> Iterator[Said]:
        """Everything said in the capture. Nothing raises: where the file is cut or wrong, the last one says so.

        CaptureError only where it is no capture at all.
        """
        packets = read_packets(file)
        last = 0
        try:
            for packet in packets:
                last = packet.nanoseconds
                yield from self._take(packet)
        except CaptureError as error:
            yield from self._end_all(last)
            yield Said(last, None, None, unreadable(str(error)))
            return
        yield from self._end_all(last)

    def _take(self, packet: Packet) -> Iterator[Said]:
        try:
            segment = segment_in(packet.link_type, packet.octets)
        except NotCaptured as error:
            yield Said(packet.nanoseconds, None, None, unreadable(str(error)))
            return
        if segment is None:
            return
        ends = frozenset((segment.source, segment.destination))
        connection = self._connections.pop(ends, None)
        way = (segment.source, segment.destination)
        if connection is not None:
            stream = connection.streams.get(way)
            if stream is not None and stream.begins_anew(segment.sequence, segment.flags):
                yield from self._end(connection, packet.nanoseconds)
                connection = None
        if connection is None:
            if len(self._connections) >= MAX_CONNECTIONS:
                oldest = next(iter(self._connections))
                yield from self._end(self._connections.pop(oldest), packet.nanoseconds)
            connection = _Connection(self._keys)
        self._connections[ends] = connection  # the last used stands last
        yield from self._feed(connection, segment, packet.nanoseconds)

    @staticmethod
    def _feed(connection: _Connection, segment: Segment, nanoseconds: int) -> Iterator[Said]:
        way = (segment.source, segment.destination)
        stream = connection.streams.setdefault(way, Stream())
        for octets, missing in stream.feed(segment.sequence, segment.flags, segment.payload):
            frames = connection.dialogue.missing(way, missing) if missing else []
            for frame in frames + connection.dialogue.feed(way, octets):
                yield Said(nanoseconds, *way, frame)

    @staticmethod
    def _end(connection: _Connection, nanoseconds: int) -> Iterator[Said]:
        for way, stream in connection.streams.items():
            for octets, missing in stream.flush():
                frames = connection.dialogue.missing(way, missing) if missing else []
                for frame in frames + connection.dialogue.feed(way, octets):
                    yield Said(nanoseconds, *way, frame)
            for frame in connection.dialogue.flush(way):
                yield Said(nanoseconds, *way, frame)

    def _end_all(self, nanoseconds: int) -> Iterator[Said]:
        for connection in self._connections.values():
            yield from self._end(connection, nanoseconds)
        self._connections.clear()
