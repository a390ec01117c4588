"""HDLC and wrapper lines, both directions: segments, repetitions, parameters, titles; any octets whatever."""

import random

import pytest
from tests.dlms.meter import AK, CLIENT, EK, SERVER, seal

from metercast.capture.dialogue import Dialogue, describe_frames
from metercast.dlms.acse import Aare
from metercast.dlms.deciphering import Keys
from metercast.dlms.describe import Description
from metercast.dlms.errors import DecodeError
from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame
from metercast.dlms.hdlc_parameters import HdlcParameters
from metercast.dlms.wrapper import encode_wrapper

GET = bytes.fromhex("c001c100080000010000ff0200")
CLOCK = bytes.fromhex("c401c100090c07ea0911040c0f0600ff4c00")
METER, READER = HdlcAddress(1, 17, 2).encode(), HdlcAddress(16).encode()


def text(nodes: list[Description]) -> str:
    return "\n".join(line for node in nodes for line in node.lines())


def answer(number: int, info: bytes, *, more: bool = False) -> bytes:
    return HdlcFrame(READER, METER, FrameKind.INFORMATION, info, number, 1, not more, more).encode()


def test_a_link_is_opened_with_parameters() -> None:
    snrm = HdlcFrame(METER, READER, FrameKind.SET_NORMAL_RESPONSE_MODE).encode()
    parameters = HdlcParameters(256, 300, 1, 7).encode()
    ua = HdlcFrame(READER, METER, FrameKind.UNNUMBERED_ACKNOWLEDGE, parameters).encode()
    assert text(describe_frames(snrm + ua)) == (
        "HDLC frame: SNRM from 16 to 1/17 (2 octets), poll/final\n"
        "HDLC frame: UA from 1/17 (2 octets) to 16, poll/final, 23 octets\n"
        "  parameters: sends 256 octets a frame and 1 frames at a time, takes 300 and 7"
    )


def test_segments_are_joined_and_the_llc_octets_taken_off() -> None:
    message = b"\xe6\xe7\x00" + CLOCK
    frames = [answer(0, message[:9], more=True), answer(1, message[9:15], more=True), answer(2, message[15:])]
    nodes = describe_frames(b"".join(frames))
    assert [len(node.children) for node in nodes] == [0, 0, 2]
    assert "message: 21 octets in 3 frames" in text(nodes)
    assert "2026-09-17 12:15:06" in text(nodes)


def test_a_repeated_frame_is_said_to_be_one() -> None:
    message = b"\xe6\xe7\x00" + CLOCK
    first, second = answer(0, message[:9], more=True), answer(1, message[9:])
    nodes = describe_frames(first + first + second)
    assert [node.children[0].name for node in nodes[1:]] == ["a repetition", "message"]


def test_a_lost_segment_costs_the_message_only() -> None:
    message = b"\xe6\xe7\x00" + CLOCK
    frames = [answer(0, message[:9], more=True), answer(2, message[15:]), answer(3, message)]
    nodes = describe_frames(b"".join(frames))
    assert [node.faults for node in nodes] == [0, 2, 0]
    assert "N(S) 1 on that were not captured" in text(nodes)
    assert text(nodes[2:]).count("get-response") == 1


def test_a_frame_with_a_wrong_check_does_not_hide_the_next() -> None:
    good = answer(0, b"\xe6\xe7\x00" + CLOCK)
    bad = bytearray(good)
    bad[-4] ^= 1
    nodes = describe_frames(bytes(bad) + good)
    assert nodes[0].value == "an HDLC frame with a wrong FCS, 33 octets"
    assert nodes[1].faults == 0


def test_titles_are_learnt_on_the_line() -> None:
    aare = Aare(
        application_context=3, result=0, diagnostic=0, user_information=None, responding_ap_title=SERVER
    ).encode()
    sealed = seal(CLOCK, 9)
    line = encode_wrapper(1, 16, aare) + encode_wrapper(1, 16, sealed) + encode_wrapper(1, 32, sealed)
    nodes = describe_frames(line, [Keys(EK, AK)])
    assert "2026-09-17 12:15:06" in text(nodes[1:2])
    assert "ciphered" in text(nodes[2:])  # another association: its titles are not known
    assert "tag is wrong" in text(describe_frames(line, [Keys(AK, EK)]))
    assert "2026-09-17" in text(describe_frames(line, [Keys(AK, EK, CLIENT), Keys(EK, AK, CLIENT)]))


def test_both_directions_byte_by_byte() -> None:
    dialogue = Dialogue()
    nodes = []
    for question, reply in zip(encode_wrapper(16, 1, GET) * 2, (encode_wrapper(1, 16, CLOCK) * 2)[:42], strict=True):
        nodes += dialogue.feed("up", bytes([question])) + dialogue.feed("down", bytes([reply]))
    assert [node.children[0].name for node in nodes] == ["get-request", "get-response", "get-request"]
    assert "26 octets" not in text(dialogue.flush("up"))
    assert dialogue.flush("down")[0].value == "a wrapper frame that is cut: 8 of 18 octets, 16 octets"


@pytest.mark.parametrize("octets", ["", "7e7e7e7e", "00", "7ea0", "aabbccdd", "0001001000010005"])
def test_what_holds_no_frame(octets: str) -> None:
    with pytest.raises(DecodeError):
        describe_frames(bytes.fromhex(octets))


def test_any_octets_end_in_a_tree_that_accounts_for_them() -> None:
    whole = [
        encode_wrapper(16, 1, GET),
        answer(0, b"\xe6\xe7\x00" + CLOCK),
        b"\x7e",
        b"\x00\x01",
        b"\x00",
        b"\x7e\xa0\x07",
    ]
    for seed in range(2000):
        chance = random.Random(seed)
        octets = bytearray(b"".join(chance.choices([*whole, chance.randbytes(5)], k=6)))
        for _ in range(chance.randrange(4)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        dialogue = Dialogue([Keys(EK, AK, CLIENT, SERVER)])
        nodes = []
        for at in range(0, len(octets), size := chance.randrange(1, 60)):
            nodes += dialogue.feed("", bytes(octets[at : at + size]))
        nodes += dialogue.flush("")
        assert nodes or not bytes(octets).strip(b"\x7e")
        assert text(nodes) or not nodes


def test_client_and_server_of_the_same_address_are_told_apart() -> None:
    here = HdlcAddress(1).encode()

    def frame(info: bytes, number: int, *, more: bool = False) -> bytes:
        return HdlcFrame(here, here, FrameKind.INFORMATION, info, number, 0, not more, more).encode()

    request, reply = b"\xe6\xe6\x00" + GET, b"\xe6\xe7\x00" + CLOCK
    talk = [
        (True, frame(request[:9], 0, more=True)),
        (True, frame(request[9:], 1)),
        (False, frame(reply[:9], 0, more=True)),
        (False, frame(reply[9:], 1)),
    ]
    nodes = describe_frames(b"".join(octets for _, octets in talk))
    dialogue = Dialogue()
    apart = [node for direction, octets in talk for node in dialogue.feed(direction, octets)]
    assert text(nodes) == text(apart)
    assert sum(node.faults for node in nodes) == 0
    assert "get-request" in text(nodes)
    assert "get-response" in text(nodes)
