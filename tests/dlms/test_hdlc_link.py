"""The client's HDLC link against a station that counts what it was told, over lines that lose."""

import random
from collections.abc import Callable

import pytest

from metercast.dlms.errors import (
    DecodeError,
    EncodeError,
    LinkRefused,
    LocalProtocolError,
    TooLongError,
    UnexpectedAnswer,
)
from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame, HdlcReader
from metercast.dlms.hdlc_channel import HdlcChannel
from metercast.dlms.hdlc_link import LLC_REQUEST, LLC_RESPONSE, HdlcLink
from metercast.dlms.hdlc_parameters import HdlcParameters, decode_parameters

CLIENT, SERVER = HdlcAddress(16), HdlcAddress(1, 17, 2)
HERE, THERE = CLIENT.encode(), SERVER.encode()


class Station:
    """A meter's side: answers each APDU once, and keeps what it was asked."""

    def __init__(self, parameters: HdlcParameters, answer: Callable[[bytes], bytes]) -> None:
        self.parameters = parameters
        self.answer = answer
        self.asked: list[bytes] = []
        self.frames: list[HdlcFrame] = []
        self.channel: HdlcChannel | None = None
        self._reader = HdlcReader()

    def take(self, data: bytes) -> bytes:
        frames = self._reader.give_up() + self._reader.feed(data)  # what did not end with its burst never ends
        return b"".join(self._take(frame) for frame in frames)

    def _take(self, frame: HdlcFrame) -> bytes:
        self.frames.append(frame)
        if frame.kind is FrameKind.SET_NORMAL_RESPONSE_MODE:
            agreed = self.parameters.agreed(decode_parameters(frame.info))
            self.channel = HdlcChannel(THERE, HERE, agreed, 100_000, has_turn=False)
            return HdlcFrame(HERE, THERE, FrameKind.UNNUMBERED_ACKNOWLEDGE, self.parameters.encode()).encode()
        if frame.kind is FrameKind.DISCONNECT:
            kind = FrameKind.UNNUMBERED_ACKNOWLEDGE if self.channel else FrameKind.DISCONNECTED_MODE
            self.channel = None
            return HdlcFrame(HERE, THERE, kind).encode()
        if self.channel is None:
            return HdlcFrame(HERE, THERE, FrameKind.DISCONNECTED_MODE).encode()
        for message in self.channel.take(frame):
            assert message.startswith(LLC_REQUEST)
            self.asked.append(message[3:])
            self.channel.send(LLC_RESPONSE + self.answer(message[3:]))
        return self.channel.outgoing()


def opened(link: HdlcLink, station: Station) -> None:
    assert link.receive(station.take(link.open())) == []
    assert link.is_open


def exchange(link: HdlcLink, station: Station, apdu: bytes, line: Callable[[bytes], bytes] = bytes) -> bytes:
    """The answer, over a line that may lose; a silence is followed by a poll."""
    octets = link.send(apdu)
    for _ in range(2000):
        answers = link.receive(line(station.take(line(octets))))
        if answers:
            (answer,) = answers
            return answer
        octets = link.take_outgoing()
        if not octets:
            answers = link.unblock()
            if answers:
                (answer,) = answers
                return answer
            octets = link.poll()
    raise AssertionError("no end")


@pytest.mark.parametrize("size", [1, 124, 125, 126, 253, 254, 5000])
@pytest.mark.parametrize("window", [1, 2, 7])
def test_long_and_short_messages_go_both_ways_in_segments(size: int, window: int) -> None:
    parameters = HdlcParameters(128, 128, window, window)
    station = Station(parameters, lambda apdu: apdu[::-1])
    link = HdlcLink(16, SERVER, parameters)
    opened(link, station)
    for number in range(10):
        apdu = random.Random(number).randbytes(size)
        assert exchange(link, station, apdu) == apdu[::-1]
    assert len(station.asked) == 10
    information = [frame for frame in station.frames if frame.kind is FrameKind.INFORMATION]
    assert max(len(frame.info) for frame in information) <= 128
    assert len(information) == 10 * -(-(size + 3) // 128)


def test_sizes_are_the_smaller_of_both_sides() -> None:
    station = Station(HdlcParameters(60, 50, 1, 1), lambda apdu: bytes(200))
    link = HdlcLink(16, SERVER, HdlcParameters(1024, 40, 7, 7))
    opened(link, station)
    exchange(link, station, bytes(200))
    assert {len(frame.info) for frame in station.frames if frame.kind is FrameKind.INFORMATION} == {50, 3}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("window", [1, 3])
def test_over_a_line_that_loses_nothing_runs_twice(seed: int, window: int) -> None:
    chance = random.Random(seed)

    def line(octets: bytes) -> bytes:
        kind = chance.random()
        if kind < 0.15:
            return b""
        if kind < 0.3 and octets:
            at = chance.randrange(len(octets))
            return octets[:at] + bytes([octets[at] ^ 1 << chance.randrange(8)]) + octets[at + 1 :]
        if kind < 0.35:
            return octets[: chance.randrange(len(octets) + 1)]
        return octets

    parameters = HdlcParameters(64, 64, window, window)
    station = Station(parameters, lambda apdu: apdu * 2)
    link = HdlcLink(16, SERVER, parameters)
    opened(link, station)
    asked = [chance.randbytes(chance.randrange(1, 400)) for _ in range(15)]
    assert [exchange(link, station, apdu, line) for apdu in asked] == [apdu * 2 for apdu in asked]
    assert station.asked == asked


def test_an_opening_that_was_lost_is_asked_for_again() -> None:
    station = Station(HdlcParameters(), lambda apdu: apdu)
    link = HdlcLink(16, SERVER)
    station.take(link.open())
    assert link.take_outgoing() == b""
    link.receive(station.take(link.poll()))
    assert link.is_open
    assert exchange(link, station, b"\x01") == b"\x01"


def test_a_meter_that_is_busy_is_asked_later() -> None:
    link = HdlcLink(16, SERVER)
    opened(link, Station(HdlcParameters(), lambda apdu: apdu))
    link.send(b"\xc0")
    busy = HdlcFrame(HERE, THERE, FrameKind.RECEIVE_NOT_READY, receive_number=0).encode()
    assert link.receive(busy) == []
    assert link.take_outgoing() == b""
    (poll,) = HdlcReader().feed(link.poll())
    assert (poll.kind, poll.receive_number) == (FrameKind.RECEIVE_READY, 0)
    ready = HdlcFrame(HERE, THERE, FrameKind.RECEIVE_READY, receive_number=0).encode()
    assert link.receive(ready) == []
    (again,) = HdlcReader().feed(link.take_outgoing())
    assert (again.info, again.send_number) == (LLC_REQUEST + b"\xc0", 0)


@pytest.mark.parametrize("kind", [FrameKind.DISCONNECTED_MODE, FrameKind.FRAME_REJECT])
@pytest.mark.parametrize("open_first", [True, False])
def test_a_meter_that_ends_the_link_is_an_error(kind: FrameKind, open_first: bool) -> None:
    link = HdlcLink(16, SERVER)
    link.open()
    if open_first:
        opened(link, Station(HdlcParameters(), lambda apdu: apdu))
    with pytest.raises(LinkRefused, match="HDLC"):
        link.receive(HdlcFrame(HERE, THERE, kind).encode())
    with pytest.raises(LocalProtocolError):
        link.send(b"\xc0")


def test_after_a_frame_reject_the_link_is_still_to_be_ended() -> None:
    link = HdlcLink(16, SERVER)
    opened(link, Station(HdlcParameters(), lambda apdu: apdu))
    with pytest.raises(LinkRefused):
        link.receive(HdlcFrame(HERE, THERE, FrameKind.FRAME_REJECT).encode())
    assert (link.is_open, link.is_closed) == (False, False)
    (end,) = HdlcReader().feed(link.close())
    assert end.kind is FrameKind.DISCONNECT
    link.receive(HdlcFrame(HERE, THERE, FrameKind.UNNUMBERED_ACKNOWLEDGE).encode())
    assert link.is_closed


def test_a_meter_that_knows_no_negotiation_is_asked_without() -> None:
    link = HdlcLink(16, SERVER, HdlcParameters(512, 512, 3, 3))
    (asked,) = HdlcReader().feed(link.open())
    assert asked.info
    reject = HdlcFrame(HERE, THERE, FrameKind.FRAME_REJECT).encode()
    assert link.receive(reject) == []
    (again,) = HdlcReader().feed(link.take_outgoing())
    assert (again.kind, again.info) == (FrameKind.SET_NORMAL_RESPONSE_MODE, b"")
    assert link.take_outgoing() == b""
    assert link.poll() == again.encode()
    with pytest.raises(LinkRefused):  # nor that
        link.receive(reject)


@pytest.mark.parametrize("connected", [True, False])
def test_closing_ends_with_ua_or_dm(connected: bool) -> None:
    station = Station(HdlcParameters(), lambda apdu: apdu)
    link = HdlcLink(16, SERVER)
    opened(link, station)
    if not connected:
        station.channel = None
    octets = link.close()
    assert octets == link.poll()
    link.receive(station.take(octets))
    assert link.is_closed
    assert link.close() == b""


def test_frames_of_others_on_the_line_are_passed_over() -> None:
    station = Station(HdlcParameters(), lambda apdu: apdu)
    link = HdlcLink(16, SERVER)
    opened(link, station)
    other = HdlcFrame(HERE, HdlcAddress(1, 18, 2).encode(), FrameKind.DISCONNECTED_MODE).encode()
    ours = station.take(link.send(b"\x01\x02"))
    assert link.receive(other + ours + other) == [b"\x01\x02"]


def test_what_is_pushed_on_the_link_comes_out() -> None:
    link = HdlcLink(16, SERVER)
    opened(link, Station(HdlcParameters(), lambda apdu: apdu))
    pushed = HdlcFrame(HERE, THERE, FrameKind.UNNUMBERED_INFORMATION, LLC_RESPONSE + b"\x0f", poll_final=False)
    assert link.receive(pushed.encode()) == [b"\x0f"]


def information(info: bytes, send: int = 0, receive: int = 1, segmented: bool = False) -> bytes:
    return HdlcFrame(HERE, THERE, FrameKind.INFORMATION, info, send, receive, True, segmented).encode()


def asked() -> HdlcLink:
    link = HdlcLink(16, SERVER, max_apdu=100)
    opened(link, Station(HdlcParameters(), lambda apdu: apdu))
    link.send(b"\xc0")
    return link


def test_wrong_octets_and_numbers_of_the_meter_are_its_errors() -> None:
    with pytest.raises(DecodeError, match="E6E700"):
        asked().receive(information(b"\xe6\xe6\x00\x01"))
    with pytest.raises(UnexpectedAnswer, match="number 3"):
        asked().receive(information(LLC_RESPONSE, receive=3))
    with pytest.raises(TooLongError):
        asked().receive(information(LLC_RESPONSE + bytes(101)))
    link = asked()
    link.receive(information(LLC_RESPONSE + bytes(60), segmented=True))
    with pytest.raises(TooLongError):
        link.receive(information(bytes(60), send=1, segmented=True))


def test_a_meter_that_never_acknowledges_is_given_up() -> None:
    link = asked()
    ready = HdlcFrame(HERE, THERE, FrameKind.RECEIVE_READY, receive_number=0).encode()
    for _ in range(8):
        link.receive(ready)
        assert link.take_outgoing()
    with pytest.raises(UnexpectedAnswer, match="not acknowledged"):
        link.receive(ready)


def test_what_can_not_be_sent_is_ours() -> None:
    link = HdlcLink(16, SERVER)
    with pytest.raises(LocalProtocolError):
        link.send(b"\xc0")
    with pytest.raises(EncodeError, match="128"):
        HdlcLink(128, SERVER)
