"""HDLC frames of type 3 (IEC 62056-46, ISO/IEC 13239; catalogue 4.2): addresses, control fields, checks, octets."""

from enum import IntEnum
from typing import Final, NamedTuple, Self

from metercast.dlms.errors import DecodeError, EncodeError

FLAG: Final = 0x7E
MAX_FRAME: Final = 0x07FF  # octets between the flags
_FORMAT: Final = 0xA0
_SEGMENTED: Final = 0x08
_SHORTEST: Final = 7  # format, two addresses, control, check
_POLL_FINAL: Final = 0x10


def _crc_table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        value = octet
        for _ in range(8):
            value = value >> 1 ^ 0x8408 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_CRC: Final = _crc_table()


def frame_check(octets: bytes) -> bytes:
    """The two octets of HCS or FCS, low one first: CRC-16/X.25."""
    table, crc = _CRC, 0xFFFF
    for octet in octets:
        crc = crc >> 8 ^ table[(crc ^ octet) & 0xFF]
    return (crc ^ 0xFFFF).to_bytes(2, "little")


class FrameKind(IntEnum):
    """The control field without poll/final bit and numbers."""

    INFORMATION = 0x00
    RECEIVE_READY = 0x01
    RECEIVE_NOT_READY = 0x05
    REJECT = 0x09
    UNNUMBERED_INFORMATION = 0x03
    DISCONNECTED_MODE = 0x0F
    DISCONNECT = 0x43
    UNNUMBERED_ACKNOWLEDGE = 0x63
    SET_NORMAL_RESPONSE_MODE = 0x83
    FRAME_REJECT = 0x87


_UNNUMBERED = frozenset(kind for kind in FrameKind if kind & 3 == 3)


class HdlcAddress(NamedTuple):
    """A server's address: `upper` is the logical device's SAP, `lower` the physical device; 1, 2 or 4 octets long."""

    upper: int
    lower: int = 0
    size: int = 1

    def encode(self) -> bytes:
        """Raises EncodeError where a part does not fit."""
        if self.size == 1 and not self.lower and 0 <= self.upper < 1 << 7:
            return bytes([self.upper << 1 | 1])
        if self.size == 2 and 0 <= self.upper < 1 << 7 and 0 <= self.lower < 1 << 7:
            return bytes([self.upper << 1, self.lower << 1 | 1])
        if self.size == 4 and 0 <= self.upper < 1 << 14 and 0 <= self.lower < 1 << 14:
            upper, lower = self.upper, self.lower
            return bytes([upper >> 7 << 1, (upper & 0x7F) << 1, lower >> 7 << 1, (lower & 0x7F) << 1 | 1])
        raise EncodeError(f"the HDLC address {self.upper}/{self.lower} does not fit {self.size} octets")

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Raises DecodeError at a length that no address has."""
        parts = [octet >> 1 for octet in octets]
        if len(parts) == 1:
            return cls(parts[0])
        if len(parts) == 2:
            return cls(parts[0], parts[1], 2)
        if len(parts) == 4:
            return cls(parts[0] << 7 | parts[1], parts[2] << 7 | parts[3], 4)
        raise DecodeError(f"an HDLC address of {len(parts)} octets")


class HdlcFrame(NamedTuple):
    """Addresses are octets as on the line. `send_number` and `receive_number` are 0 where the kind has none."""

    destination: bytes
    source: bytes
    kind: FrameKind
    info: bytes = b""
    send_number: int = 0
    receive_number: int = 0
    poll_final: bool = True
    segmented: bool = False

    def encode(self) -> bytes:
        """With both flags. EncodeError where it is longer than a frame may be."""
        control = int(self.kind) | (_POLL_FINAL if self.poll_final else 0)
        if self.kind is FrameKind.INFORMATION:
            control |= self.send_number << 1 | self.receive_number << 5
        elif self.kind not in _UNNUMBERED:
            control |= self.receive_number << 5
        info = self.info
        length = 2 + len(self.destination) + len(self.source) + 1 + 2 + (len(info) + 2 if info else 0)
        if length > MAX_FRAME:
            raise EncodeError(f"an HDLC frame of {length} octets, more than {MAX_FRAME}")
        first = _FORMAT | (_SEGMENTED if self.segmented else 0) | length >> 8
        body = bytes([first, length & 0xFF]) + self.destination + self.source + bytes([control])
        body += frame_check(body)
        if info:
            body += info
            body += frame_check(body)
        return b"\x7e" + body + b"\x7e"


def decode_frame(body: bytes) -> HdlcFrame:
    """What stands between two flags. DecodeError at a wrong format, length, address, control field or check."""
    length = len(body)
    if length < _SHORTEST or body[0] & 0xF0 != _FORMAT or (body[0] & 0x07) << 8 | body[1] != length:
        raise DecodeError("not an HDLC frame of type 3")
    if frame_check(body[:-2]) != body[-2:]:
        raise DecodeError("an HDLC frame with a wrong FCS")
    destination_end = _address_end(body, 2)
    source_end = _address_end(body, destination_end)
    header_end = source_end + 1
    if header_end + 2 > length:
        raise DecodeError("an HDLC frame that ends in its header")
    info = b""
    if length > header_end + 2:
        if length < header_end + 4 or frame_check(body[:header_end]) != body[header_end : header_end + 2]:
            raise DecodeError("an HDLC frame with a wrong HCS")
        info = body[header_end + 2 : -2]
    control = body[source_end]
    return HdlcFrame(
        destination=body[2:destination_end],
        source=body[destination_end:source_end],
        kind=_kind(control),
        info=info,
        send_number=control >> 1 & 7 if not control & 1 else 0,
        receive_number=control >> 5 if control & 3 != 3 else 0,
        poll_final=bool(control & _POLL_FINAL),
        segmented=bool(body[0] & _SEGMENTED),
    )


def _kind(control: int) -> FrameKind:
    if not control & 1:
        return FrameKind.INFORMATION
    bits = control & ~_POLL_FINAL if control & 3 == 3 else control & 0x0F
    try:
        return FrameKind(bits)
    except ValueError:
        raise DecodeError(f"an HDLC frame with the control field 0x{control:02X}") from None


def _address_end(body: bytes, start: int) -> int:
    for end in range(start, min(start + 4, len(body))):
        if body[end] & 1:
            return end + 1
    raise DecodeError("an HDLC address that does not end")


class HdlcReader:
    """Finds frames in a byte stream; passes over what is none. Never holds more than one unfinished frame.

    A frame with a wrong check is dropped and counted: the sender repeats it, as it does one that never came.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.dropped = 0

    @property
    def pending(self) -> int:
        """Octets of what may become a frame."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[HdlcFrame]:
        """The frames that became whole."""
        buffer = self._rest + data
        frames: list[HdlcFrame] = []
        at = buffer.find(FLAG)
        while at >= 0:
            start = at + 1
            if start >= len(buffer):
                break
            if buffer[start] & 0xF0 != _FORMAT:  # a second flag, or noise
                at = buffer.find(FLAG, start)
                continue
            if start + 2 > len(buffer):
                break
            end = start + ((buffer[start] & 0x07) << 8 | buffer[start + 1])
            if end >= len(buffer) and end - start >= _SHORTEST:
                break
            frame = _frame_or_none(buffer[start:end]) if end < len(buffer) and buffer[end] == FLAG else None
            if frame is None:
                self.dropped += 1
                at = buffer.find(FLAG, start)
            else:
                frames.append(frame)
                at = end  # the flag that ends one frame may begin the next
        self._rest = buffer[at:] if at >= 0 else b""
        return frames

    def give_up(self) -> list[HdlcFrame]:
        """The first unfinished frame comes to nothing: the frames that stand behind its beginning."""
        rest, self._rest = self._rest[1:], b""
        return self.feed(rest)


def _frame_or_none(body: bytes) -> HdlcFrame | None:
    try:
        return decode_frame(body)
    except DecodeError:
        return None
