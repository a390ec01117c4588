"""Captures of any kind, whole and damaged: what was said is found, and the rest of a damaged one as well."""

import io
import random
import struct

import pytest
from tests.capture.captures import (
    ACK,
    CLIENT,
    FIN,
    METER,
    RST,
    SYN,
    block,
    ethernet,
    ipv4,
    pcap,
    pcapng,
    tcp,
    wrapper,
)

from metercast.capture.files import CaptureError
from metercast.capture.reading import CaptureReader, Said

AARQ = "601da109060760857405080101be10040e01000000065f1f0400001e1dffff"
AARE = "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501f01f40007"
GET = "c001c100080000010000ff0200"
CLOCK = "c401c100090c07ea0911040c0f0600ff4c00"
TALK = [(True, AARQ), (False, AARE), (True, GET), (False, CLOCK)]


def read(capture: bytes) -> list[Said]:
    return list(CaptureReader().read(io.BytesIO(capture)))


def names(said: list[Said]) -> list[str]:
    """The service in each frame, or what could not be read."""
    return [
        each.frame.children[0].name if each.frame.children and not each.frame.is_unreadable else str(each.frame.value)
        for each in said
    ]


SERVICES = ["AARQ", "AARE", "get-request", "get-response"]


def talk(isn: int = 7000, talk: list[tuple[bool, str]] = TALK) -> list[bytes]:
    """A connection from SYN to FIN, as IPv4 packets."""
    packets = [tcp(CLIENT, METER, isn, flags=SYN), tcp(METER, CLIENT, isn + 5, flags=SYN | ACK)]
    at = {True: isn + 1, False: isn + 6}
    for by_client, apdu in talk:
        payload = wrapper(16, 1, apdu) if by_client else wrapper(1, 16, apdu)
        ends = (CLIENT, METER) if by_client else (METER, CLIENT)
        packets.append(tcp(*ends, at[by_client], payload))
        at[by_client] += len(payload)
    return [*packets, tcp(CLIENT, METER, at[True], flags=FIN | ACK), tcp(METER, CLIENT, at[False], flags=FIN | ACK)]


def in_pieces(payload: bytes, size: int, isn: int = 500) -> list[bytes]:
    return [tcp(CLIENT, METER, isn + at, payload[at : at + size]) for at in range(0, len(payload), size)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["pcap", "pcap of nanoseconds", "pcapng", "pcapng of nanoseconds"])
def test_files(kind: str, order: str) -> None:
    packets = [ethernet(packet) for packet in talk()]
    nano = "nano" in kind
    if kind.startswith("pcapng"):
        capture = pcapng(packets, order=order, resolution=9 if nano else None)
    else:
        capture = pcap(packets, order=order, nano=nano)
    said = read(capture)
    assert names(said) == SERVICES
    assert said[0].time == f"1970-01-01 00:16:42.00000{0 if nano else 5}"
    assert (str(said[1].source), str(said[1].destination)) == ("10.0.0.9:4059", "10.0.0.1:51000")
    assert said[2].as_dict()["frame"]["name"] == "wrapper frame"


def test_simple_packets_of_pcapng_have_no_time_of_their_own() -> None:
    capture = pcapng([])
    for packet in map(ethernet, talk()):
        capture += block(3, struct.pack("<I", len(packet)) + packet)
    assert names(read(capture)) == SERVICES


@pytest.mark.parametrize(
    ("link", "before"),
    [
        (0, b"\x02\0\0\0"),
        (108, b"\0\0\0\x02"),
        (101, b""),
        (228, b""),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
    ],
)
def test_link_layers(link: int, before: bytes) -> None:
    assert names(read(pcap([before + packet for packet in talk()], link=link))) == SERVICES


def test_vlan_tags_and_ipv6() -> None:
    assert names(read(pcap([ethernet(packet, vlan=True) for packet in talk()]))) == SERVICES
    ends = bytes(15) + b"\x01", bytes(15) + b"\x02"
    packets = []
    for packet in talk():
        source, destination = ends if packet[12:16] == ipv4(CLIENT[0]) else ends[::-1]
        packets.append(struct.pack(">IHBB", 6 << 28, len(packet) - 20 + 8, 60, 64) + source + destination)
        packets[-1] += b"\x06\x00" + bytes(6) + packet[20:]
    said = read(pcap([ethernet(packet) for packet in packets]))
    assert names(said) == SERVICES
    assert str(said[0].destination) == "[::2]:4059"


def test_other_traffic_is_passed_over() -> None:
    udp = ethernet(tcp(CLIENT, METER, 1, b"x").replace(b"\x40\x06", b"\x40\x11", 1))
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    assert names(read(pcap([udp, arp, b"", b"\0" * 14, *map(ethernet, talk())]))) == SERVICES


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 100])
@pytest.mark.parametrize("isn", [500, 2**32 - 40])
def test_segments_in_any_order_and_more_than_once(size: int, isn: int) -> None:
    payload = b"".join(wrapper(16, 1, apdu) for apdu in (AARQ, GET, GET))
    pieces = in_pieces(payload, size, isn)
    for seed in range(20):
        shuffled = pieces[1:] + random.Random(seed).choices(pieces, k=5)
        random.Random(seed).shuffle(shuffled)
        said = read(pcap(map(ethernet, [pieces[0], *shuffled])))
        assert names(said) == ["AARQ", "get-request", "get-request"]


def test_segments_that_overlap() -> None:
    payload = wrapper(16, 1, AARQ)
    packets = [tcp(CLIENT, METER, 100 + at, payload[at : at + 20]) for at in (0, 5, 15, 10, 30, 25)]
    assert names(read(pcap(map(ethernet, packets)))) == ["AARQ"]


def test_a_lost_segment_costs_the_frame_that_it_belongs_to() -> None:
    payload = b"".join(wrapper(16, 1, apdu) for apdu in (AARQ, GET, AARQ, GET))
    pieces = in_pieces(payload, 21)
    del pieces[2]
    found = names(read(pcap(map(ethernet, pieces))))
    assert found[0] == "AARQ"
    assert any("21 octets that were not captured" in each for each in found)
    assert found[-1] == "get-request"


def test_ports_that_are_used_again_are_another_connection() -> None:
    lost = [*talk()[:3], tcp(CLIENT, METER, 7500, wrapper(16, 1, AARQ)[:20])]
    said = read(pcap(map(ethernet, lost + talk(isn=999_000))))
    assert names(said)[-4:] == SERVICES
    assert any("cut" in each for each in names(said))
    reset = [*talk()[:4], tcp(CLIENT, METER, 7100, flags=RST)]
    assert names(read(pcap(map(ethernet, reset + talk(isn=7001))))) == ["AARQ", "AARE", *SERVICES]


def test_two_connections_at_a_time() -> None:
    other = [
        packet.replace(struct.pack(">HH", *(CLIENT[1], METER[1])), struct.pack(">HH", 51001, 4059)).replace(
            struct.pack(">HH", METER[1], CLIENT[1]), struct.pack(">HH", 4059, 51001)
        )
        for packet in talk(isn=1)
    ]
    both = [packet for pair in zip(talk(), other, strict=True) for packet in pair]
    said = read(pcap(map(ethernet, both)))
    assert names(said) == [name for name in SERVICES for _ in range(2)]
    assert {each.source.port for each in said if each.source} == {51000, 51001, 4059}


def test_garbage_between_frames_is_named_and_the_rest_is_read() -> None:
    payload = b"HTTP/1.1 400\r\n\0\0" + wrapper(16, 1, GET) + b"\x7e\xa0" + wrapper(16, 1, "c401") + wrapper(16, 1, GET)
    said = read(pcap(map(ethernet, in_pieces(payload, 11))))
    assert names(said) == ["no frame, 16 octets", "get-request", "no frame, 2 octets", "not readable", "get-request"]
    assert sum(each.frame.faults for each in said) == 3


@pytest.mark.parametrize("capture", [pcap(map(ethernet, talk())), pcapng(map(ethernet, talk()))])
def test_a_cut_file_is_read_as_far_as_it_goes(capture: bytes) -> None:
    whole = read(capture)
    for size in range(28, len(capture)):
        said = read(capture[:size])
        assert sum(each.frame.faults for each in said) <= 2
        certain = max(0, len(said) - 2)
        assert names(said)[:certain] == names(whole)[:certain]


@pytest.mark.parametrize("octets", [b"", b"abc", b"\xd4\xc3\xb2", b"PK\x03\x04" * 10])
def test_what_is_no_capture(octets: bytes) -> None:
    with pytest.raises(CaptureError):
        read(octets)


def test_damaged_captures_never_raise_and_stay_bounded() -> None:
    for capture in (pcap(map(ethernet, talk())), pcapng(map(ethernet, talk()))):
        for seed in range(400):
            chance = random.Random(seed)
            octets = bytearray(capture)
            for _ in range(chance.randrange(1, 8)):
                octets[chance.randrange(4, len(octets))] = chance.randrange(256)
            for said in read(bytes(octets)):
                assert list(said.frame.lines())
                assert said.as_dict()["frame"]["name"]


def test_a_hole_waits_for_a_bounded_time_only() -> None:
    payload = b"".join(wrapper(16, 1, GET) for _ in range(60_000))
    packets = in_pieces(payload, 1400)
    del packets[1]
    packets.append(in_pieces(payload, 1400)[1])
    found = names(read(pcap(map(ethernet, packets), start=0)))
    assert found.count("get-request") > 59_000
    assert any("1400 octets that were not captured" in each for each in found)
