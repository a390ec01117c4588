"""TCP segments out of link-layer packets: Ethernet with VLAN tags, Linux cooked, loopback and raw IP; IPv4 and IPv6."""

from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

_TCP: Final = 6
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN: Final = frozenset({0x8100, 0x88A8, 0x9100})
_IPV6_EXTENSIONS: Final = frozenset({0, 43, 60})  # hop-by-hop, routing, destination options
_NULL, _ETHERNET, _LOOP, _COOKED, _COOKED_2 = 0, 1, 108, 113, 276
_RAW: Final = frozenset({12, 14, 101, 228, 229})

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


class Endpoint(NamedTuple):
    address: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


class Segment(NamedTuple):
    source: Endpoint
    destination: Endpoint
    sequence: int
    flags: int
    payload: bytes


class NotCaptured(Exception):
    """A TCP segment that can't be had from this packet: a fragment, or one that was cut when it was captured."""


def segment_in(link_type: int, octets: bytes) -> Segment | None:
    """None where the packet holds no TCP. Raises NotCaptured."""
    try:
        start = _network_start(link_type, octets)
        if start is None:
            return None
        version = octets[start] >> 4
        if version == 4:
            return _in_ipv4(octets[start:])
        return _in_ipv6(octets[start:]) if version == 6 else None
    except IndexError:
        return None


def _network_start(link_type: int, octets: bytes) -> int | None:
    if link_type == _ETHERNET:
        return _behind_type(octets, 12)
    if link_type in _RAW:
        return 0
    if link_type in (_NULL, _LOOP):
        return 4
    if link_type == _COOKED:
        return _behind_type(octets, 14)
    if link_type == _COOKED_2:
        return 20 if int.from_bytes(octets[:2], "big") in (_IPV4, _IPV6) else None
    return None


def _behind_type(octets: bytes, at: int) -> int | None:
    kind = int.from_bytes(octets[at : at + 2], "big")
    while kind in _VLAN:
        at += 4
        kind = int.from_bytes(octets[at : at + 2], "big")
    return at + 2 if kind in (_IPV4, _IPV6) else None


def _in_ipv4(octets: bytes) -> Segment | None:
    header = (octets[0] & 0x0F) * 4
    if octets[9] != _TCP or header < 20:
        return None
    if int.from_bytes(octets[6:8], "big") & 0x3FFF:
        raise NotCaptured("an IP fragment")
    total = int.from_bytes(octets[2:4], "big") or len(octets)  # 0 where the network card cuts the segments
    if total > len(octets):
        raise NotCaptured(f"{len(octets)} of {total} octets of an IP packet")
    return _in_tcp(IPv4Address(octets[12:16]), IPv4Address(octets[16:20]), octets[header:total])


def _in_ipv6(octets: bytes) -> Segment | None:
    size = int.from_bytes(octets[4:6], "big")
    end = 40 + size if size else len(octets)
    kind, at = octets[6], 40
    while kind in _IPV6_EXTENSIONS:
        kind, at = octets[at], at + (octets[at + 1] + 1) * 8
    if kind == 44:
        raise NotCaptured("an IP fragment")
    if kind != _TCP:
        return None
    if end > len(octets):
        raise NotCaptured(f"{len(octets)} of {end} octets of an IP packet")
    return _in_tcp(IPv6Address(octets[8:24]), IPv6Address(octets[24:40]), octets[at:end])


def _in_tcp(source: IPv4Address | IPv6Address, destination: IPv4Address | IPv6Address, octets: bytes) -> Segment | None:
    if len(octets) < 20:
        raise NotCaptured("a TCP header that is cut")
    header = (octets[12] >> 4) * 4
    if header < 20 or header > len(octets):
        raise NotCaptured("a TCP header that is wrong or cut")
    return Segment(
        Endpoint(source, int.from_bytes(octets[0:2], "big")),
        Endpoint(destination, int.from_bytes(octets[2:4], "big")),
        int.from_bytes(octets[4:8], "big"),
        octets[13],
        octets[header:],
    )
