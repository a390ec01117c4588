"""Writes what went over one TCP connection as a pcap that Wireshark opens, with headers made for the purpose.

Addresses and ports are the true ones; sequence numbers and checksums fit; a segment holds at most 1460 octets. What
TCP itself did on the line, its repetitions and its pauses, is not in it.
"""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import BinaryIO, Final

from metercast.capture.packets import ACK, FIN, RST, SYN, Endpoint

MAX_SEGMENT: Final = 1460
_PSH: Final = 0x08
_HEADER: Final = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 0x40000, 1)  # nanoseconds, Ethernet
_RECORD: Final = struct.Struct("<IIII")
_CLIENT_HARDWARE, _METER_HARDWARE = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"  # locally administered
_WINDOW: Final = 0xFFFF
_TCP: Final = 6
_MODULUS: Final = 1 << 32


class ConnectionCapture:
    """One connection from its handshake to its end. Times are nanoseconds since 1970. OSError where it can't write."""

    def __init__(self, file: BinaryIO, client: Endpoint, meter: Endpoint, *, with_header: bool = True) -> None:
        if client.address.version != meter.address.version:
            raise ValueError("the two ends are not of one kind of address")
        self._file = file
        self._ends = (client, meter)
        self._next = [0, 0]  # sequence numbers of client and meter
        self.size = 0
        if with_header:
            self._put(_HEADER)

    def opened(self, nanoseconds: int) -> None:
        self._packet(nanoseconds, True, SYN)
        self._packet(nanoseconds, False, SYN | ACK)
        self._packet(nanoseconds, True, ACK)

    def said(self, nanoseconds: int, octets: bytes, *, by_client: bool) -> None:
        for at in range(0, len(octets), MAX_SEGMENT):
            self._packet(nanoseconds, by_client, _PSH | ACK, octets[at : at + MAX_SEGMENT])

    def closed(self, nanoseconds: int, *, by_client: bool) -> None:
        self._packet(nanoseconds, by_client, FIN | ACK)
        self._packet(nanoseconds, not by_client, FIN | ACK)
        self._packet(nanoseconds, by_client, ACK)

    def broken(self, nanoseconds: int, *, by_client: bool) -> None:
        self._packet(nanoseconds, by_client, RST | ACK)

    def _packet(self, nanoseconds: int, by_client: bool, flags: int, payload: bytes = b"") -> None:
        here, there = (0, 1) if by_client else (1, 0)
        source, destination = self._ends[here], self._ends[there]
        acknowledged = self._next[there] if flags & ACK else 0
        segment = _segment(source, destination, self._next[here], acknowledged, flags, payload)
        self._next[here] = (self._next[here] + len(payload) + bool(flags & (SYN | FIN))) % _MODULUS
        packet = _packet(source.address, destination.address, segment)
        kind = b"\x08\x00" if source.address.version == 4 else b"\x86\xdd"
        hardware = _METER_HARDWARE + _CLIENT_HARDWARE if by_client else _CLIENT_HARDWARE + _METER_HARDWARE
        frame = hardware + kind + packet
        seconds, fraction = divmod(nanoseconds, 1_000_000_000)
        self._put(_RECORD.pack(seconds % _MODULUS, fraction, len(frame), len(frame)) + frame)

    def _put(self, octets: bytes) -> None:
        self._file.write(octets)
        self.size += len(octets)


def _segment(
    source: Endpoint, destination: Endpoint, sequence: int, acknowledged: int, flags: int, payload: bytes
) -> bytes:
    head = struct.pack(
        ">HHIIBBHHH", source.port, destination.port, sequence, acknowledged, 5 << 4, flags, _WINDOW, 0, 0
    )
    length = len(head) + len(payload)
    pseudo: bytes = source.address.packed + destination.address.packed
    pseudo += (
        struct.pack(">BBH", 0, _TCP, length) if source.address.version == 4 else struct.pack(">IxxxB", length, _TCP)
    )
    return head[:16] + checksum(pseudo + head + payload) + head[18:] + payload


def _packet(source: IPv4Address | IPv6Address, destination: IPv4Address | IPv6Address, segment: bytes) -> bytes:
    if source.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(segment), _TCP, 64) + source.packed + destination.packed + segment
    head: bytes = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, _TCP, 0)
    head += source.packed + destination.packed
    return head[:10] + checksum(head) + head[12:] + segment


def checksum(octets: bytes) -> bytes:
    """The Internet checksum (RFC 1071)."""
    padded = octets + b"\0" * (len(octets) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")
