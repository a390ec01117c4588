"""Cuts one direction of a line into frames. Which framing it is shows by itself; what is no frame is passed over."""

from typing import Final, NamedTuple

from metercast.dlms.errors import DecodeError
from metercast.dlms.hdlc import FLAG, MAX_FRAME, HdlcFrame, decode_frame
from metercast.dlms.wrapper import HEADER, HEADER_SIZE, WrapperFrame

_WRAPPER_START: Final = b"\x00\x01"
_HDLC_FORMAT: Final = 0xA0
_SHORTEST_HDLC: Final = 7
MAX_NOISE: Final = 64 * 1024
MAX_ADDRESSES: Final = 1024
# What an APDU may begin with (catalogue 1.16): a header in front of anything else is none.
_SERVICES: Final = frozenset(range(0xC0, 0xC8))
_WITH_LENGTH: Final = frozenset({0x60, 0x61, 0x62, 0x63} | set(range(0xC8, 0xD8)))
_APDU_TAGS: Final = _SERVICES | _WITH_LENGTH | {0x0E, 0x0F, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDF, 0xE0, 0xE6, 0xE7}
_MAX_FORM: Final = 6


class PassedOver(NamedTuple):
    """Octets that are no frame, and why."""

    octets: bytes
    reason: str


Found = WrapperFrame | HdlcFrame | PassedOver


class FrameCutter:
    """Holds one unfinished frame at most, and a bounded piece of what is none. Once a whole frame was found, the
    others are of its kind."""

    def __init__(self) -> None:
        self._rest = b""
        self._noise = b""
        self._reason = ""
        self._kind: type[WrapperFrame] | type[HdlcFrame] | None = None
        self._is_aligned = True  # the rest begins where a frame is due
        self._addresses: set[tuple[int, int]] = set()

    def feed(self, octets: bytes) -> list[Found]:
        """What became whole, and what was passed over, in order."""
        return self._cut(self._rest + octets, is_end=False)

    def flush(self) -> list[Found]:
        """Nothing more comes, or what comes does not follow: what is not whole is passed over."""
        found = self._cut(self._rest, is_end=True)
        self._end_noise(found)
        self._is_aligned = False
        return found

    def _cut(self, buffer: bytes, *, is_end: bool) -> list[Found]:
        found: list[Found] = []
        at = behind = 0  # behind: where the last frame ended
        while at < len(buffer):
            frame, size, why = self._frame_at(buffer, at)
            if frame is not None:
                self._noise += buffer[behind:at]
                self._end_noise(found)
                found.append(frame)
                self._learn(frame)
                at = behind = at + size
            elif size and not is_end:
                break
            else:
                self._reason = self._reason or why
                self._is_aligned = False
                at = self._next_start(buffer, at + 1)
        self._noise += buffer[behind:at]
        if len(self._noise) > MAX_NOISE:
            self._end_noise(found)
        self._rest = buffer[at:]
        return found

    def _learn(self, frame: WrapperFrame | HdlcFrame) -> None:
        self._kind = type(frame)
        self._is_aligned = True
        if isinstance(frame, WrapperFrame) and len(self._addresses) < MAX_ADDRESSES:
            self._addresses.add((frame.source, frame.destination))

    def _end_noise(self, found: list[Found]) -> None:
        """Flags alone fill the time between HDLC frames."""
        if self._noise.strip(b"\x7e"):
            found.append(PassedOver(self._noise, self._reason or "no frame"))
        self._noise, self._reason = b"", ""

    def _frame_at(self, buffer: bytes, at: int) -> tuple[WrapperFrame | HdlcFrame | None, int, str]:
        """(frame, its octets, ""), (None, octets that are there of one that may become whole, why it is none yet),
        or (None, 0, why there is none)."""
        if buffer[at] == FLAG and self._kind is not WrapperFrame:
            return self._hdlc_at(buffer, at)
        start = buffer[at : at + 2]
        if start == _WRAPPER_START[: len(start)] and self._kind is not HdlcFrame:
            return self._wrapper_at(buffer, at)
        return None, 0, ""

    def _wrapper_at(self, buffer: bytes, at: int) -> tuple[WrapperFrame | None, int, str]:
        there = len(buffer) - at
        if there < HEADER_SIZE:
            return None, there, f"a wrapper frame that is cut: {there} octets of its header"
        _, source, destination, length = HEADER.unpack_from(buffer, at)
        end = at + HEADER_SIZE + length
        apdu = buffer[at + HEADER_SIZE : end]
        if apdu and apdu[0] not in _APDU_TAGS:
            return None, 0, ""
        if not self._is_aligned and not (self._knows(source, destination) and _could_be(apdu, length)):
            return None, 0, ""
        if end > len(buffer):
            return None, there, f"a wrapper frame that is cut: {there - HEADER_SIZE} of {length} octets"
        return WrapperFrame(source, destination, apdu), HEADER_SIZE + length, ""

    def _knows(self, source: int, destination: int) -> bool:
        """In the midst of other octets 0001 is often no beginning: the addresses tell, where some are known."""
        return not self._addresses or (source, destination) in self._addresses

    @staticmethod
    def _hdlc_at(buffer: bytes, at: int) -> tuple[HdlcFrame | None, int, str]:
        """The flag that ends a frame may begin the next one: it is left."""
        start = at + 1
        there = len(buffer) - at
        if there < 3:
            return None, there, "an HDLC frame that is cut"
        length = (buffer[start] & 0x07) << 8 | buffer[start + 1]
        if buffer[start] & 0xF0 != _HDLC_FORMAT or not _SHORTEST_HDLC <= length <= MAX_FRAME:
            return None, 0, ""
        end = start + length
        if end >= len(buffer):
            return None, there, f"an HDLC frame that is cut: {there - 1} of {length} octets"
        if buffer[end] != FLAG:
            return None, 0, "an HDLC frame without a flag behind it"
        try:
            return decode_frame(buffer[start:end]), length + 1, ""
        except DecodeError as error:
            return None, 0, str(error)

    def _next_start(self, buffer: bytes, at: int) -> int:
        """Where the next frame could begin."""
        starts = []
        if self._kind is not WrapperFrame:
            starts.append(buffer.find(FLAG, at))
        if self._kind is not HdlcFrame:
            starts.append(buffer.find(_WRAPPER_START, at))
            if len(buffer) > at and buffer.endswith(b"\0"):
                starts.append(len(buffer) - 1)
        return min((start for start in starts if start >= 0), default=len(buffer))


def _could_be(beginning: bytes, length: int) -> bool:
    """Whether an APDU of `length` octets may begin so."""
    if not length or len(beginning) < min(2, length):
        return length > 0
    tag, second = beginning[0], beginning[1] if length > 1 else 0
    if tag in _SERVICES:
        return 1 <= second <= _MAX_FORM
    if tag in _WITH_LENGTH:
        return second == length - 2 if second < 0x80 else 0x81 <= second <= 0x84
    return True
