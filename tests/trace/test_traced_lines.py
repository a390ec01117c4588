"""Links that are listened in on: the twin keeps pace, secrets in the clear are struck out, checks are right."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.driver.support import ScriptedCheckpoint, command, driver
from tests.driver.transports import PLAIN_METER, Played, framed
from tests.trace.test_traced_sessions import Always, assert_no_secret

from metercast.capture.dialogue import Dialogue
from metercast.capture.frames import FrameCutter
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.errors import DlmsError
from metercast.dlms.get import GetRequestNormal, GetResponseNormal
from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame
from metercast.dlms.hdlc_link import HdlcLink
from metercast.dlms.link import Link, WrapperLink
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.set import SetRequestNormal
from metercast.dlms.wrapper import encode_wrapper
from metercast.domain.outcome import How
from metercast.trace.line import TracedLink

AARE = "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501f01f40007"
RLRE = "6303800100"
SECRET = b"S3CRETS3CRETS3CRETS3CRET"
PIN = CosemAttribute(45, LogicalName.parse("0.0.25.4.0.255"), 3)
ANSWER = GetResponseNormal(0xC1, Data.octets(SECRET)).encode()
CLIENT, METER = HdlcAddress(16).encode(), HdlcAddress(1, 17, 2)


def hdlc_link() -> HdlcLink:
    return HdlcLink(16, METER)


def frame(kind: FrameKind, info: bytes = b"", *, number: int = 0, more: bool = False) -> bytes:
    return HdlcFrame(CLIENT, METER.encode(), kind, info, number, 1, not more, more).encode()


def opened_hdlc() -> TracedLink:
    traced = TracedLink(hdlc_link(), hdlc_link())
    assert traced.masked(traced.open()) == hdlc_link().open()
    traced.receive(frame(FrameKind.UNNUMBERED_ACKNOWLEDGE))
    assert traced.is_open
    return traced


def pieces(of: bytes) -> set[bytes]:
    return {of[at : at + 4] for at in range(len(of) - 3)}


def test_a_secret_that_goes_out_over_hdlc() -> None:
    traced = opened_hdlc()
    really = traced.send(SetRequestNormal(0xC1, PIN, Data.octets(SECRET * 8)).encode())
    kept = traced.masked(really)
    while True:  # the other side lets us go on with the next segment, once without having got the last
        assert len(kept) == len(really)
        assert pieces(SECRET) & pieces(really)
        assert not pieces(SECRET) & pieces(kept)
        (found,) = FrameCutter().feed(kept)
        assert isinstance(found, HdlcFrame)
        if not found.segmented:
            break
        ready = HdlcFrame(CLIENT, METER.encode(), FrameKind.RECEIVE_READY, receive_number=found.send_number + 1)
        traced.receive(ready.encode())
        really = traced.take_outgoing()
        kept = traced.masked(really)


@pytest.mark.parametrize("cut", [5, 20, len(ANSWER) + 3])
def test_a_secret_that_comes_in_over_hdlc(cut: int) -> None:
    traced = opened_hdlc()
    traced.masked(traced.send(GetRequestNormal(0xC1, PIN).encode()))
    message = b"\xe6\xe7\x00" + ANSWER
    frames = [frame(FrameKind.INFORMATION, message[:cut], more=cut < len(message))]
    if cut < len(message):
        frames.append(frame(FrameKind.INFORMATION, message[cut:], number=1))
    kept = b""
    apdus: list[bytes] = []
    for data in frames:
        kept += traced.masked_incoming(data)
        apdus += traced.receive(data)
    assert apdus == [ANSWER]  # the session gets what it asked for
    assert len(kept) == sum(map(len, frames))
    assert not pieces(SECRET) & pieces(kept)
    assert all(isinstance(each, HdlcFrame) for each in FrameCutter().feed(kept))
    later = frame(FrameKind.INFORMATION, b"\xe6\xe7\x00" + ANSWER, number=2)
    assert traced.masked_incoming(later) == later  # nothing secret is awaited any longer


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_secret_that_comes_in_over_the_wrapper(size: int) -> None:
    traced = TracedLink(WrapperLink(16, 1), WrapperLink(16, 1))
    traced.masked(traced.send(GetRequestNormal(0xC1, PIN).encode()))
    data = encode_wrapper(1, 16, ANSWER)
    kept = b""
    for at in range(0, len(data), size):
        kept += traced.masked_incoming(data[at : at + size])
        traced.receive(data[at : at + size])
    assert len(kept) == len(data)
    assert kept[:8] == data[:8]
    assert not pieces(SECRET) & pieces(kept)
    assert Dialogue().feed("", kept)[0].faults == 0


@pytest.mark.parametrize("link", [lambda: WrapperLink(16, 1), hdlc_link])
def test_what_the_twin_does_not_follow_is_struck_out(link: Any) -> None:
    class Lost:
        """A twin that says nothing."""

        def __getattr__(self, name: str) -> Any:
            return (lambda *_: b"") if name != "is_open" else True

    twin: Link = Lost()
    traced = TracedLink(link(), twin)
    octets = traced.open() or traced.send(b"\xc0\x01")
    assert traced.masked(octets) == b"*" * len(octets)


def test_a_fault_of_the_twin_is_told_once_and_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(SECRET.hex())

    twin: Link = Broken()
    traced = TracedLink(WrapperLink(16, 1), twin)
    for _ in range(3):
        octets = traced.send(GetRequestNormal(0xC1, PIN).encode())
        assert traced.masked(octets) == b"*" * len(octets)
    assert [record.getMessage() for record in caplog.records] == ["a trace strikes out more than secrets: RuntimeError"]


def test_any_octets_change_nothing_for_the_session() -> None:
    """A link that is listened in on gives and takes what one does that is not."""
    for seed in range(600):
        chance = random.Random(seed)
        links = [hdlc_link(), hdlc_link(), hdlc_link()] if seed % 2 else [WrapperLink(16, 1) for _ in range(3)]
        alone, traced = links[0], TracedLink(links[1], links[2])
        assert alone.open() == traced.open()
        good = [frame(FrameKind.UNNUMBERED_ACKNOWLEDGE), frame(FrameKind.INFORMATION, b"\xe6\xe7\x00" + ANSWER)]
        good += [encode_wrapper(1, 16, ANSWER), b"\x7e", chance.randbytes(20)]
        for _ in range(12):
            data = bytearray(chance.choice(good))
            if chance.random() < 0.3:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            assert isinstance(traced.masked_incoming(bytes(data)), bytes)
            steps: list[Callable[[Link], object]] = [
                lambda link, data=bytes(data): link.receive(data),  # type: ignore[misc]
                lambda link: link.take_outgoing(),
                lambda link: link.send(GetRequestNormal(0xC1, PIN).encode()),
                lambda link: link.poll(),
            ]
            for step in steps:
                told = outcome_of(step, alone)
                assert outcome_of(step, traced) == told
                if isinstance(told, bytes) and told:
                    assert len(traced.masked(told)) == len(told)


def outcome_of(step: Callable[[Link], object], link: Link) -> object:
    try:
        return step(link)
    except DlmsError as error:
        return str(error)


async def test_a_secret_that_a_command_reads(tmp_path: Path) -> None:
    tracer = Always(tmp_path)
    by = driver(Played(framed(AARE, ANSWER.hex(), RLRE)), tracer=tracer)
    raw = {"class": 45, "obis": "0.0.25.4.0.255", "attribute": 3}
    outcome = await by.execute(command("GET", raw), PLAIN_METER, ScriptedCheckpoint())
    assert outcome.how is How.DONE
    assert_no_secret(tracer, [SECRET])
    assert "result: a secret, not shown" in tracer.log()
    assert "connected: 0.0.0.0:0 > 0.0.0.0:0" in tracer.log()
