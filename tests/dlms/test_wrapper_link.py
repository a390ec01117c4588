"""The wrapper: whole, byte by byte, with trailing data, and wrong."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metercast.dlms.errors import DecodeError, EncodeError, RemoteProtocolError, TooLongError, UnexpectedAnswer
from metercast.dlms.link import Link, WrapperLink
from metercast.dlms.wrapper import WrapperFrame, WrapperReader, encode_wrapper

FRAME = bytes.fromhex("000100300001000fc301c10046000060030aff01010f00")
APDU = FRAME[8:]


def test_a_frame_has_these_octets() -> None:
    assert encode_wrapper(0x30, 1, APDU) == FRAME
    assert WrapperReader().feed(FRAME) == [WrapperFrame(0x30, 1, APDU)]


def test_byte_by_byte() -> None:
    reader = WrapperReader()
    for _ in range(2):
        for octet in FRAME[:-1]:
            assert reader.feed(bytes((octet,))) == []
        assert reader.pending == len(FRAME) - 1
        assert reader.feed(FRAME[-1:]) == [WrapperFrame(0x30, 1, APDU)]
        assert reader.pending == 0


def test_trailing_data_belongs_to_the_next_frame() -> None:
    reader = WrapperReader()
    assert reader.feed(FRAME + FRAME[:5]) == [WrapperFrame(0x30, 1, APDU)]
    assert reader.pending == 5
    assert reader.feed(FRAME[5:] + FRAME) == [WrapperFrame(0x30, 1, APDU)] * 2


@given(st.lists(st.binary(max_size=40), max_size=5), st.lists(st.integers(1, 30), min_size=1))
def test_any_cuts_give_the_same_frames(apdus: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(encode_wrapper(1, 16, apdu) for apdu in apdus)
    reader = WrapperReader()
    frames: list[WrapperFrame] = []
    at = 0
    while at < len(stream):
        size = cuts[at % len(cuts)]
        frames += reader.feed(stream[at : at + size])
        at += size
    assert [frame.apdu for frame in frames] == apdus
    assert reader.pending == 0


@pytest.mark.parametrize("start", ["01", "0002", "7ea0", "ff"])
def test_a_wrong_version_fails_at_its_first_octets_and_forever(start: str) -> None:
    reader = WrapperReader()
    for data in (bytes.fromhex(start), b"", FRAME):
        with pytest.raises(DecodeError):
            reader.feed(data)


def test_a_claimed_length_over_the_limit_is_refused_with_the_header() -> None:
    reader = WrapperReader(max_apdu=100)
    with pytest.raises(TooLongError, match="101"):
        reader.feed(bytes.fromhex("0001000100100065"))
    assert WrapperReader(max_apdu=15).feed(FRAME)


def test_frames_before_a_fault_are_given_first() -> None:
    reader = WrapperReader()
    assert reader.feed(FRAME + b"\x00\x09rubbish") == [WrapperFrame(0x30, 1, APDU)]
    with pytest.raises(DecodeError):
        reader.feed(b"")


def test_an_apdu_that_does_not_fit_the_length_field() -> None:
    with pytest.raises(EncodeError):
        encode_wrapper(1, 1, bytes(65536))


def test_the_link_swaps_ports() -> None:
    link: Link = WrapperLink(0x30, 1)
    assert (link.open(), link.close(), link.take_outgoing(), link.is_open) == (b"", b"", b"", True)
    assert link.send(APDU) == FRAME
    assert link.receive(encode_wrapper(1, 0x30, b"\x01\x02")) == [b"\x01\x02"]


@pytest.mark.parametrize(("source", "destination"), [(0x30, 1), (2, 0x30), (1, 0x31)])
def test_the_link_refuses_other_ports(source: int, destination: int) -> None:
    with pytest.raises(UnexpectedAnswer):
        WrapperLink(0x30, 1).receive(encode_wrapper(source, destination, b"\x01"))


@given(st.binary(max_size=60))
def test_rubbish_raises_only_what_is_documented(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        WrapperLink(16, 1, 50).receive(data)
