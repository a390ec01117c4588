"""Captures made here by hand: nothing of the product's own writer is in them."""

import struct
from collections.abc import Iterable

CLIENT, METER = ("10.0.0.1", 51000), ("10.0.0.9", 4059)
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

End = tuple[str, int]


def ipv4(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def tcp(source: End, destination: End, sequence: int, payload: bytes = b"", flags: int = PSH | ACK) -> bytes:
    """An IPv4 packet."""
    segment = struct.pack(
        ">HHIIBBHHH", source[1], destination[1], sequence % 2**32, 0, 6 << 4, flags, 65535, 0, 0
    )  # with options: four octets of no-operation
    segment += b"\x01\x01\x01\x01" + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0x4000, 64, 6, 0)
    return head + ipv4(source[0]) + ipv4(destination[0]) + segment


def ethernet(packet: bytes, vlan: bool = False) -> bytes:
    """Short packets are padded, as on the line."""
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    return (bytes(12) + (b"\x81\x00\x00\x05" if vlan else b"") + kind + packet).ljust(60, b"\0")


def pcap(packets: Iterable[bytes], *, link: int = 1, order: str = "<", nano: bool = False, start: int = 1000) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, link)
    for number, packet in enumerate(packets):
        out += struct.pack(f"{order}IIII", start + number, 5, len(packet), len(packet)) + packet
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


def pcapng(packets: Iterable[bytes], *, link: int = 1, order: str = "<", resolution: int | None = None) -> bytes:
    options = b"" if resolution is None else struct.pack(f"{order}HHB3x", 9, 1, resolution) + bytes(4)
    out = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    out += block(0x0BAD, b"skipped", order)
    out += block(1, struct.pack(f"{order}HHI", link, 0, 0) + options, order)
    units = 10 ** (6 if resolution is None else resolution)
    for number, packet in enumerate(packets):
        time = (1000 + number) * units + 5
        head = struct.pack(f"{order}IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(packet), len(packet))
        out += block(6, head + packet, order)
    return out


def wrapper(source: int, destination: int, apdu: str) -> bytes:
    octets = bytes.fromhex(apdu)
    return struct.pack(">HHHH", 1, source, destination, len(octets)) + octets
