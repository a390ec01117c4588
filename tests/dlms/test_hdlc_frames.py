"""HDLC frames against published frames, an independent implementation, and noise."""

import contextlib
import random

import pytest
from dlms_cosem.hdlc import address as witness_address
from dlms_cosem.hdlc import frames as witness
from hypothesis import given
from hypothesis import strategies as st

from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame, HdlcReader, decode_frame, frame_check
from metercast.dlms.hdlc_parameters import HdlcParameters, decode_parameters

CLIENT = HdlcAddress(16).encode()
SERVER = HdlcAddress(1, 17, 2).encode()
SNRM = "7EA00802232193BD647E"
UA = "7EA01F21022373E6C781801205019A06019A070400000001080400000001CCA27E"
AARQ = "7EA02C02232110AF9FE6E600601DA109060760857405080101BE10040E01000000065F1F0400001E1DFFFFC5E47E"
APDU = bytes.fromhex("601DA109060760857405080101BE10040E01000000065F1F0400001E1DFFFF")


def body(text: str) -> bytes:
    return bytes.fromhex(text)[1:-1]


def test_published_frames_both_ways() -> None:
    snrm = HdlcFrame(SERVER, CLIENT, FrameKind.SET_NORMAL_RESPONSE_MODE)
    ua = decode_frame(body(UA))
    information = HdlcFrame(SERVER, CLIENT, FrameKind.INFORMATION, bytes.fromhex("E6E600") + APDU)
    assert snrm.encode().hex().upper() == SNRM
    assert information.encode().hex().upper() == AARQ
    assert ua.encode().hex().upper() == UA
    assert (ua.kind, ua.destination, ua.source) == (FrameKind.UNNUMBERED_ACKNOWLEDGE, CLIENT, SERVER)
    assert decode_parameters(ua.info) == HdlcParameters(154, 154, 1, 1)
    assert HdlcParameters(154, 154, 1, 1).encode() == ua.info
    assert decode_frame(body(SNRM)) == snrm
    assert decode_frame(body(AARQ)) == information


@pytest.mark.parametrize(
    ("octets", "check"), [(b"\x03\x3f", "5bec"), (b"\xa0\x07\x03\x03\x93", "8c11"), (b"123456789", "6e90")]
)
def test_the_check_sequence(octets: bytes, check: str) -> None:
    assert frame_check(octets).hex() == check


@pytest.mark.parametrize(
    ("address", "octets"),
    [
        (HdlcAddress(1), "03"),
        (HdlcAddress(16), "21"),
        (HdlcAddress(32), "41"),
        (HdlcAddress(1, 16, 2), "0221"),
        (HdlcAddress(0x3FFF, 0x3FFF, 4), "fefefeff"),
        (HdlcAddress(1, 16, 4), "00020021"),
    ],
)
def test_addresses_of_each_length(address: HdlcAddress, octets: str) -> None:
    assert address.encode().hex() == octets
    assert HdlcAddress.decode(bytes.fromhex(octets)) == address


@pytest.mark.parametrize(
    "address",
    [HdlcAddress(128), HdlcAddress(1, 1), HdlcAddress(128, 1, 2), HdlcAddress(1, 1 << 14, 4), HdlcAddress(1, 1, 3)],
)
def test_an_address_that_does_not_fit_is_refused(address: HdlcAddress) -> None:
    with pytest.raises(EncodeError, match=f"{address.upper}/{address.lower}"):
        address.encode()


@pytest.mark.parametrize("size", [1, 2, 40, 2000])
@pytest.mark.parametrize(("send", "receive"), [(0, 0), (3, 5), (7, 7)])
@pytest.mark.parametrize("segmented", [False, True])
def test_information_as_an_independent_implementation_makes_it(
    size: int, send: int, receive: int, segmented: bool
) -> None:
    info = random.Random(size).randbytes(size)
    there = witness_address.HdlcAddress(1, 17, "server")
    here = witness_address.HdlcAddress(16, None, "client")
    theirs = witness.InformationFrame(there, here, info, segmented, False, send, receive)
    ours = HdlcFrame(SERVER, CLIENT, FrameKind.INFORMATION, info, send, receive, False, segmented)
    assert ours.encode() == theirs.to_bytes()
    assert decode_frame(ours.encode()[1:-1]) == ours


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        (FrameKind.RECEIVE_READY, witness.ReceiveReadyFrame),
        (FrameKind.SET_NORMAL_RESPONSE_MODE, witness.SetNormalResponseModeFrame),
        (FrameKind.DISCONNECT, witness.DisconnectFrame),
    ],
)
def test_other_frames_as_an_independent_implementation_makes_them(kind: FrameKind, theirs: type) -> None:
    there = witness_address.HdlcAddress(1, 17, "server")
    here = witness_address.HdlcAddress(16, None, "client")
    numbers = {"receive_sequence_number": 5} if kind is FrameKind.RECEIVE_READY else {}
    number = 5 if numbers else 0
    ours = HdlcFrame(SERVER, CLIENT, kind, receive_number=number)
    assert ours.encode() == theirs(there, here, **numbers).to_bytes()
    assert decode_frame(ours.encode()[1:-1]) == ours


@pytest.mark.parametrize("kind", list(FrameKind))
@pytest.mark.parametrize("poll_final", [False, True])
def test_every_kind_comes_back(kind: FrameKind, poll_final: bool) -> None:
    frame = HdlcFrame(CLIENT, SERVER, kind, b"", poll_final=poll_final)
    assert decode_frame(frame.encode()[1:-1]) == frame


def test_a_frame_too_long_is_refused() -> None:
    frame = HdlcFrame(SERVER, CLIENT, FrameKind.INFORMATION, bytes(2040))
    with pytest.raises(EncodeError, match="2050"):
        frame.encode()


def frames(count: int) -> list[HdlcFrame]:
    chance = random.Random(count)
    return [
        HdlcFrame(CLIENT, SERVER, FrameKind.INFORMATION, chance.randbytes(chance.randrange(60)) + b"~", each % 8)
        for each in range(count)
    ]


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize("noise", [b"", b"\x00\xff\x7e\x7e", b"garbage"])
def test_frames_are_found_in_any_pieces_between_noise(step: int, noise: bytes) -> None:
    sent = frames(20)
    stream = noise + noise.join(frame.encode() for frame in sent) + noise
    reader = HdlcReader()
    found = [frame for at in range(0, len(stream), step) for frame in reader.feed(stream[at : at + step])]
    assert found == sent
    assert reader.pending <= len(noise) + 1


def test_one_flag_between_frames_is_enough() -> None:
    sent = frames(5)
    stream = b"~" + b"".join(frame.encode()[1:] for frame in sent)
    assert HdlcReader().feed(stream) == sent


def test_a_changed_octet_loses_no_other_frame() -> None:
    sent = frames(3)
    before, hit, after = (frame.encode() for frame in sent)
    for at in range(len(hit)):
        reader = HdlcReader()
        changed = bytearray(hit)
        changed[at] ^= 0x20
        found = reader.feed(before + bytes(changed) + after)
        found += reader.give_up()
        assert found[0] == sent[0]
        assert found[-1] == sent[2]
        assert sent[1] not in found


def test_the_beginning_of_a_frame_that_never_comes_is_given_up() -> None:
    (frame,) = frames(1)
    reader = HdlcReader()
    assert reader.feed(b"\x7e\xa7\xff" + frame.encode()) == []
    assert reader.give_up() == [frame]


def test_any_octets_hold_no_more_than_one_frame() -> None:
    chance = random.Random(1)
    reader = HdlcReader()
    for _ in range(2000):
        reader.feed(bytes(chance.choice(b"\x7e\xa0\xa7\x03\x21\x10\x00\xff") for _ in range(200)))
        assert reader.pending <= 2050


@pytest.mark.parametrize(
    "info", ["81", "818003", "81800105", "818003050100", "818006070400000000", "81800607040000000800", "8281020501"]
)
def test_parameters_that_are_none(info: str) -> None:
    with pytest.raises(DecodeError):
        decode_parameters(bytes.fromhex(info))


def test_parameters_of_any_widths_and_defaults() -> None:
    assert decode_parameters(b"") == HdlcParameters()
    assert decode_parameters(bytes.fromhex("8180080502040006020200")) == HdlcParameters(1024, 512)
    assert decode_parameters(bytes.fromhex("818003070103")) == HdlcParameters(transmit_window=3)
    assert HdlcParameters(1024, 512, 3, 2).agreed(HdlcParameters(256, 300, 1, 7)) == HdlcParameters(300, 256, 3, 1)


@given(st.binary(max_size=40))
def test_any_octets_decode_or_say_why_not(octets: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert decode_parameters(octets).transmit_size >= 1
    with contextlib.suppress(DecodeError):
        assert decode_parameters(b"\x81\x80" + bytes([len(octets)]) + octets).transmit_size >= 1
    body = bytes([0xA0, len(octets) + 4]) + octets
    with contextlib.suppress(DecodeError):
        assert decode_frame(body + frame_check(body)).encode()[1:-1] == body + frame_check(body)
