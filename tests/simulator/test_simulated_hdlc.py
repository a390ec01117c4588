"""The meter's side of HDLC against any frames: it answers, or it is silent, and it never raises."""

from hypothesis import given
from hypothesis import strategies as st

from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame, HdlcReader
from metercast.dlms.hdlc_link import LLC_REQUEST
from metercast.dlms.hdlc_parameters import DEFAULT_PARAMETERS
from metercast.simulator.framing import HdlcFraming

METER, CLIENT, OTHER = HdlcAddress(1), HdlcAddress(16).encode(), HdlcAddress(1, 18, 2).encode()
frames = st.builds(
    HdlcFrame,
    destination=st.sampled_from([METER.encode(), OTHER]),
    source=st.sampled_from([CLIENT, HdlcAddress(2).encode()]),
    kind=st.sampled_from(FrameKind),
    info=st.binary(max_size=20) | st.just(LLC_REQUEST + b"\xc0"),
    send_number=st.integers(0, 7),
    receive_number=st.integers(0, 7),
    poll_final=st.booleans(),
    segmented=st.booleans(),
)


@given(st.lists(frames, max_size=12))
def test_any_frames_are_answered_in_frames_or_not_at_all(sent: list[HdlcFrame]) -> None:
    ended: list[None] = []
    meter = HdlcFraming(METER, DEFAULT_PARAMETERS, lambda: ended.append(None))
    for frame in sent:
        requests = meter.feed(frame.encode())
        answers = b"".join(meter.answer(request, b"\xc4") for request in requests) + meter.outgoing()
        reader = HdlcReader()
        replies = reader.feed(answers)
        assert (reader.dropped, bool(answers)) == (0, bool(replies))
        if frame.destination == OTHER:
            assert not answers
        assert {reply.source for reply in replies} <= {METER.encode()}
        if frame.kind in (FrameKind.SET_NORMAL_RESPONSE_MODE, FrameKind.DISCONNECT) and frame.destination != OTHER:
            assert len(replies) == 1
            assert replies[0].destination == frame.source
