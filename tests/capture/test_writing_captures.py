"""A connection written as a pcap: read back by our own reader, and its checksums and numbers computed here anew."""

import io
import struct
from ipaddress import ip_address

import pytest

from metercast.capture.files import read_packets
from metercast.capture.packets import Endpoint, segment_in
from metercast.capture.reading import CaptureReader
from metercast.capture.writing import MAX_SEGMENT, ConnectionCapture
from metercast.dlms.wrapper import encode_wrapper

ENDS = {
    4: (Endpoint(ip_address("192.0.2.1"), 50123), Endpoint(ip_address("198.51.100.7"), 4059)),
    6: (Endpoint(ip_address("2001:db8::1"), 50123), Endpoint(ip_address("2001:db8::7"), 4059)),
}
SECOND = 1_000_000_000


def ones_complement(octets: bytes) -> int:
    total = sum(struct.unpack(f">{(len(octets) + 1) // 2}H", octets + b"\0" * (len(octets) % 2)))
    return (total % 0xFFFF) or (0xFFFF if total else 0)


def written(version: int, *, broken: bool = False) -> bytes:
    file = io.BytesIO()
    capture = ConnectionCapture(file, *ENDS[version])
    capture.opened(SECOND)
    capture.said(2 * SECOND + 7, encode_wrapper(16, 1, bytes.fromhex("c001c100080000010000ff0200")), by_client=True)
    capture.said(3 * SECOND, encode_wrapper(1, 16, b"\xc4\x01\xc1\x00\x09\x82\x0f\xa0" + bytes(4000)), by_client=False)
    if broken:
        capture.broken(4 * SECOND, by_client=False)
    else:
        capture.closed(4 * SECOND, by_client=True)
    assert capture.size == len(file.getvalue())
    return file.getvalue()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("broken", [False, True])
def test_it_is_read_back(version: int, broken: bool) -> None:
    said = list(CaptureReader().read(io.BytesIO(written(version, broken=broken))))
    assert [each.frame.children[0].name for each in said] == ["get-request", "get-response"]
    assert (said[0].source, said[0].destination) == ENDS[version]
    assert said[0].nanoseconds == 2 * SECOND + 7


@pytest.mark.parametrize("version", [4, 6])
def test_checksums_lengths_and_sequence_numbers(version: int) -> None:
    expected: dict[Endpoint, int] = {}
    for packet in read_packets(io.BytesIO(written(version))):
        octets = packet.octets[14:]
        if version == 4:
            assert ones_complement(octets[:20]) == 0xFFFF
            assert struct.unpack(">H", octets[2:4])[0] == len(octets)
            pseudo, tcp = octets[12:20] + struct.pack(">BBH", 0, 6, len(octets) - 20), octets[20:]
        else:
            assert struct.unpack(">H", octets[4:6])[0] == len(octets) - 40
            pseudo, tcp = octets[8:40] + struct.pack(">IHBB", len(octets) - 40, 0, 0, 6), octets[40:]
        assert ones_complement(pseudo + tcp) == 0xFFFF
        segment = segment_in(1, packet.octets)
        assert segment is not None
        assert len(segment.payload) <= MAX_SEGMENT
        assert segment.sequence == expected.setdefault(segment.source, segment.sequence)
        expected[segment.source] += len(segment.payload) + bool(segment.flags & 3)
        if segment.flags & 0x10:
            assert int.from_bytes(tcp[8:12], "big") == expected[segment.destination]


def test_the_two_ends_must_be_of_one_kind() -> None:
    with pytest.raises(ValueError, match="one kind"):
        ConnectionCapture(io.BytesIO(), ENDS[4][0], ENDS[6][1])
