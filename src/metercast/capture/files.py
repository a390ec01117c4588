"""Capture files: pcap in both byte orders and both resolutions, and pcapng."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

MAX_PACKET: Final = 1 << 20
MAX_BLOCK: Final = 16 << 20
MAX_INTERFACES: Final = 10_000

_PCAP: Final[dict[bytes, tuple[str, int]]] = {
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
_SECTION: Final = 0x0A0D0D0A
_INTERFACE, _SIMPLE, _ENHANCED = 1, 3, 6
_RESOLUTION_OPTION, _OFFSET_OPTION = 9, 14


class CaptureError(Exception):
    """The file is no capture, or is cut or wrong from here on."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """At most `size` octets, fewer only at the end."""
        ...


class Packet(NamedTuple):
    """`nanoseconds` since 1970, 0 where the file tells no time; `link_type` is one of LINKTYPE_..."""

    nanoseconds: int
    link_type: int
    octets: bytes


def is_capture(beginning: bytes) -> bool:
    """Whether the first four octets are those of a capture file."""
    return beginning[:4] in _PCAP or beginning[:4] == _SECTION.to_bytes(4, "big")


def read_packets(file: Readable) -> Iterator[Packet]:
    """The packets in the file's order. CaptureError where it can't be read any further."""
    magic = file.read(4)
    if magic in _PCAP:
        return _read_pcap(file, *_PCAP[magic])
    if magic == _SECTION.to_bytes(4, "big"):
        return _PcapNg(file).packets()
    raise CaptureError("neither pcap nor pcapng")


def _read_pcap(file: Readable, order: str, nanoseconds: int) -> Iterator[Packet]:
    header = _exactly(file, 20, "the header of the file")
    (network,) = struct.unpack_from(f"{order}I", header, 16)
    link_type = network & 0xFFFF  # above stands the length of a frame check sequence
    record = struct.Struct(f"{order}IIII")
    while True:
        head = file.read(16)
        if not head:
            return
        if len(head) < 16:
            raise CaptureError("the file ends inside the header of a packet")
        seconds, fraction, captured, _ = record.unpack(head)
        if captured > MAX_PACKET:
            raise CaptureError(f"a packet of {captured} octets, more than {MAX_PACKET}")
        octets = _exactly(file, captured, "a packet")
        yield Packet(seconds * 1_000_000_000 + fraction * nanoseconds, link_type, octets)


class _Interface(NamedTuple):
    link_type: int
    snap_length: int
    units_per_second: int
    offset_seconds: int


class _PcapNg:
    """Blocks of a pcapng file, behind the four octets that say that it is one."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._order = "<"
        self._interfaces: list[_Interface] = []

    def packets(self) -> Iterator[Packet]:
        kind = _SECTION
        while True:
            body = self._section_body() if kind == _SECTION else self._body(self._length(self._exactly(4)))
            if kind == _INTERFACE:
                self._add_interface(body)
            elif kind == _ENHANCED:
                yield self._enhanced(body)
            elif kind == _SIMPLE:
                yield self._simple(body)
            head = self._file.read(4)
            if not head:
                return
            if len(head) < 4:
                raise CaptureError("the file ends inside the header of a block")
            kind = struct.unpack(f"{self._order}I", head)[0]

    def _section_body(self) -> bytes:
        """A section says its own byte order, and its interfaces are counted anew."""
        length = self._exactly(4)
        order = self._exactly(4)
        if order not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
            raise CaptureError(f"a section with the byte order {order.hex()}")
        self._order = ">" if order == b"\x1a\x2b\x3c\x4d" else "<"
        self._interfaces = []
        return self._body(self._length(length) - 4)

    def _length(self, octets: bytes) -> int:
        length = int(struct.unpack(f"{self._order}I", octets)[0])
        if not 12 <= length <= MAX_BLOCK or length % 4:
            raise CaptureError(f"a block of {length} octets")
        return length - 8

    def _body(self, size: int) -> bytes:
        if size < 4:
            raise CaptureError("a block that is too short")
        return self._exactly(size)[:-4]  # the length comes again at the end

    def _add_interface(self, body: bytes) -> None:
        if len(body) < 8 or len(self._interfaces) == MAX_INTERFACES:
            raise CaptureError("an interface that can't be read, or too many of them")
        link_type, _, snap_length = struct.unpack_from(f"{self._order}HHI", body)
        units, offset = 1_000_000, 0
        at = 8
        while at + 4 <= len(body):
            code, size = struct.unpack_from(f"{self._order}HH", body, at)
            value = body[at + 4 : at + 4 + size]
            if code == _RESOLUTION_OPTION and len(value) == 1:
                exponent = value[0] & 0x7F
                units = min(2**exponent if value[0] & 0x80 else 10 ** min(exponent, 18), 10**18)
            elif code == _OFFSET_OPTION and len(value) == 8:
                offset = struct.unpack(f"{self._order}q", value)[0]
            at += 4 + size + -size % 4
        self._interfaces.append(_Interface(link_type, snap_length, units, offset))

    def _enhanced(self, body: bytes) -> Packet:
        if len(body) < 20:
            raise CaptureError("a packet block that is too short")
        number, high, low, captured, _ = struct.unpack_from(f"{self._order}IIIII", body)
        interface = self._interface(number)
        if captured > len(body) - 20:
            raise CaptureError(f"a packet of {captured} octets in a block of {len(body)}")
        units = high << 32 | low
        nanoseconds = interface.offset_seconds * 10**9 + units * 10**9 // interface.units_per_second
        return Packet(nanoseconds, interface.link_type, body[20 : 20 + captured])

    def _simple(self, body: bytes) -> Packet:
        """Without a time; as long as the interface captures at most."""
        if len(body) < 4:
            raise CaptureError("a packet block that is too short")
        interface = self._interface(0)
        (length,) = struct.unpack_from(f"{self._order}I", body)
        size = min(length, interface.snap_length or length, len(body) - 4)
        return Packet(0, interface.link_type, body[4 : 4 + size])

    def _interface(self, number: int) -> _Interface:
        if number >= len(self._interfaces):
            raise CaptureError(f"a packet of interface {number}, which was not described")
        return self._interfaces[number]

    def _exactly(self, size: int) -> bytes:
        return _exactly(self._file, size, "a block")


def _exactly(file: Readable, size: int, what: str) -> bytes:
    octets = file.read(size)
    if len(octets) < size:
        raise CaptureError(f"the file ends inside {what}: {len(octets)} of {size} octets")
    return octets
