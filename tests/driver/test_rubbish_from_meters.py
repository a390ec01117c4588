"""Any bytes at all: a session ends with a word from the list, and never with a traceback."""

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.commands.calendars import set_tou
from tests.driver.support import MemoryCounterStore, driver, execute, meter_of
from tests.driver.test_sessions_with_played_bytes import AARE, CLOCK
from tests.driver.transports import PLAIN_METER, Played, Tampered, framed

from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame
from metercast.dlms.hdlc_link import LLC_RESPONSE
from metercast.domain.meter import Connection, Framing, Hdlc, Meter, MeterRecord
from metercast.domain.outcome import Outcome, OutcomeKind
from metercast.domain.words import ErrorWord
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import TcpConnector
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

LISTED = frozenset(ErrorWord)
SHORT = Timeouts(connect=1.0, progress=0.02, session=1.0, release=0.02)


def ends_with_a_word(outcome: Outcome) -> None:
    if outcome.kind is OutcomeKind.FAILED:
        assert outcome.error in LISTED
        assert outcome.error is not ErrorWord.INTERNAL_ERROR, outcome.detail
        assert outcome.detail is not None
        assert len(outcome.detail) <= 500
    else:
        assert outcome.kind is OutcomeKind.SUCCEEDED


def play(chunks: list[bytes], name: str = "READ_CLOCK", silent: bool = False, meter: Meter = PLAIN_METER) -> Outcome:
    raw = set_tou() if name == "SET_TOU" else None
    by = driver(Played(chunks, silent=silent), timeouts=SHORT, require_identity=False)
    return asyncio.run(execute(meter, name, raw, by=by))


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=6))
def test_random_octets(chunks: list[bytes]) -> None:
    ends_with_a_word(play(chunks))


@settings(max_examples=20)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=3))
def test_random_octets_and_then_silence(chunks: list[bytes]) -> None:
    ends_with_a_word(play(chunks, silent=True))


HDLC_CONNECTION = Connection(host="127.0.0.1", framing=Framing.HDLC, hdlc=Hdlc(poll_after_seconds=0.005))
HDLC_METER = Meter("meter-1", MeterRecord(connection=HDLC_CONNECTION), {})
frames = st.builds(
    HdlcFrame,
    destination=st.just(HdlcAddress(16).encode()),
    source=st.just(HdlcAddress(1).encode()),
    kind=st.sampled_from(FrameKind),
    info=st.binary(max_size=40) | st.binary(max_size=40).map(lambda apdu: LLC_RESPONSE + apdu),
    send_number=st.integers(0, 7),
    receive_number=st.integers(0, 7),
    poll_final=st.booleans(),
    segmented=st.booleans(),
).map(HdlcFrame.encode)
UA = HdlcFrame(HdlcAddress(16).encode(), HdlcAddress(1).encode(), FrameKind.UNNUMBERED_ACKNOWLEDGE).encode()


@settings(max_examples=50)
@given(st.booleans(), st.lists(frames | st.binary(min_size=1, max_size=40), max_size=6), st.booleans())
def test_random_frames_and_octets_over_hdlc(opens: bool, chunks: list[bytes], silent: bool) -> None:
    outcome = play([UA] * opens + chunks, silent=silent, meter=HDLC_METER)
    ends_with_a_word(outcome)
    assert outcome.kind is OutcomeKind.FAILED


apdus = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda tag, rest: tag + rest, st.sampled_from([b"\x61", b"\xc4\x01\xc1", b"\xd8"]), st.binary(max_size=40)
    ),
)


@pytest.mark.parametrize("name", ["READ_CLOCK", "SET_TOU", "DISCONNECT"])
@given(st.lists(apdus, min_size=1, max_size=4))
def test_random_apdus_after_a_good_association(name: str, answers: list[bytes]) -> None:
    ends_with_a_word(play(framed(AARE, *(each.hex() for each in answers)), name))


@given(st.data())
def test_good_sessions_with_a_few_octets_changed(data: st.DataObject) -> None:
    octets = bytearray(b"".join(framed(AARE, CLOCK)))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    whole = bytes(octets)
    ends_with_a_word(play([whole[:51], whole[51:]]))


@pytest.mark.parametrize("security", ["lls", "hls-gmac"])
async def test_every_octet_of_a_real_session_changed_in_turn(security: str) -> None:
    """Of a protected session no forged octet may pass; none may lead to a defect of ours."""
    population = Population.build(1, security=security, protection="both")  # type: ignore[arg-type]
    async with Simulator(population) as simulator:
        (document,) = simulator.device_records()
        meter = meter_of(document)
        recorded = Tampered(TcpConnector(), lambda data, number: data)
        store = MemoryCounterStore()
        assert (await execute(meter, by=driver(recorded, store))).succeeded
        sizes = [len(data) for data in recorded.read]
        passed = 0
        for number, size in enumerate(sizes[:-1], start=1):  # the last one is the RLRE, which changes nothing
            for position in range(0, size, 5):

                def flip(data: bytes, chunk: int, at: int = position, which: int = number) -> bytes:
                    if chunk != which or at >= len(data):
                        return data
                    return data[:at] + bytes((data[at] ^ 0x41,)) + data[at + 1 :]

                tampered = Tampered(TcpConnector(), flip)
                outcome = await execute(meter, by=driver(tampered, store, SHORT))
                ends_with_a_word(outcome)
                passed += outcome.succeeded and tampered.connections == 1  # a second one is not changed any more
        # What is not protected are a few fields of the AARE that carry no meaning to a client that knows its meter.
        assert passed <= 3


async def test_a_forged_tag_is_a_security_violation(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Simulator(Population.build(1, security="hls-gmac")) as simulator:
        (document,) = simulator.device_records()

        def forge(data: bytes, number: int) -> bytes:
            is_answer = data[8:9] == b"\xcc"
            return data[:-1] + bytes((data[-1] ^ 1,)) if is_answer else data

        outcome = await execute(meter_of(document), by=driver(Tampered(TcpConnector(), forge)))
        assert outcome.error is ErrorWord.SECURITY_VIOLATION
        assert outcome.detail is not None
        assert "tag" in outcome.detail
        for secret in ("encryptionKey", "authenticationKey"):
            key = document["associations"]["management"][secret]
            assert key.lower() not in (outcome.detail + caplog.text).lower()


async def test_a_downgraded_answer_is_a_security_violation() -> None:
    async with Simulator(Population.build(1, security="hls-gmac")) as simulator:
        (document,) = simulator.device_records()

        def downgrade(data: bytes, number: int) -> bytes:
            return framed(CLOCK, client=1)[0] if data[8:9] == b"\xcc" else data

        outcome = await execute(meter_of(document), by=driver(Tampered(TcpConnector(), downgrade)))
        assert outcome.error is ErrorWord.SECURITY_VIOLATION
