"""General block transfer: octets, both directions, windows, every kind of loss, and hostile blocks."""

from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dlms.meter import ALL_SERVICES, hls_client, plain_client, seal, unseal

from metercast.dlms.association import ClientAssociation, State
from metercast.dlms.block_exchange import MAX_REPEATS, BlockExchange
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data, encode_data
from metercast.dlms.errors import (
    DecodeError,
    EncodeError,
    NotNegotiated,
    RemoteProtocolError,
    SecurityError,
    TooLongError,
    UnexpectedAnswer,
)
from metercast.dlms.events import GetResult, Notified, Send, SetResult, Waiting
from metercast.dlms.general_block import GeneralBlock, decode_general_block, room_for_data
from metercast.dlms.get import GetResponseNormal
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.notification import DataNotification
from metercast.dlms.set import SetRequestNormal, decode_set_request

GENERAL = ALL_SERVICES | 0x200000
ONLY_GENERAL = GENERAL & ~0x001C00  # no blocks of the services' own
CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
PROFILE = CosemAttribute(7, LogicalName.parse("1.0.99.1.0.255"), 2)
IMAGE = CosemMethod(18, LogicalName.parse("0.0.44.0.0.255"), 2)


def block(
    number: int, data: bytes = b"", *, last: bool = False, streaming: bool = False, window: int = 1, ack: int = 0
) -> bytes:
    return GeneralBlock(
        last=last, streaming=streaming, window=window, number=number, acknowledged=ack, data=data
    ).encode()


def test_octets_by_hand() -> None:
    assert block(1, b"\x01\x02").hex() == "e001000100000201 02".replace(" ", "")
    assert block(2, last=True, window=8, ack=7).hex() == "e0880002000700"
    assert block(3, b"\xff", streaming=True, window=63).hex() == "e07f0003000001ff"
    assert block(0xFFFF, bytes(200), ack=0xFFFF)[:8].hex() == "e001ffffffff81c8"


@given(st.booleans(), st.booleans(), st.integers(0, 63), st.integers(0, 65535), st.integers(0, 65535), st.binary())
def test_round_trips(last: bool, streaming: bool, window: int, number: int, ack: int, data: bytes) -> None:
    whole = GeneralBlock(last=last, streaming=streaming, window=window, number=number, acknowledged=ack, data=data)
    octets = whole.encode()
    assert decode_general_block(octets) == whole
    for cut in range(len(octets)):
        with pytest.raises(DecodeError):
            decode_general_block(octets[:cut])
    with pytest.raises(DecodeError):
        decode_general_block(octets + b"\0")


def test_numbers_that_do_not_fit_are_our_own_error() -> None:
    for number, acknowledged in ((-1, 0), (65536, 0), (1, 65536)):
        with pytest.raises(EncodeError):
            block(number, ack=acknowledged)
    with pytest.raises(EncodeError):
        block(1, window=64)


@given(st.integers(8, 70000))
def test_room_is_used_and_not_exceeded(size: int) -> None:
    room = room_for_data(size)
    assert len(block(1, bytes(room))) <= size
    assert len(block(1, bytes(room + 3))) > size


def run(
    sender: BlockExchange,
    receiver: BlockExchange,
    blocks: list[bytes],
    loses: Callable[[bytes], bool],
) -> bytes | None:
    """What the receiver got whole; where both are silent, each asks again in turn."""
    to_receiver, to_sender = list(blocks), list[bytes]()
    for _ in range(5000):
        if to_receiver:
            octets = to_receiver.pop(0)
            if loses(octets):
                continue
            answers, whole = receiver.receive(octets)
            if whole is not None:
                return whole
            to_sender += answers
        elif to_sender:
            octets = to_sender.pop(0)
            if not loses(octets):
                to_receiver += sender.receive(octets)[0]
        else:
            to_sender = receiver.again()
            to_receiver = [] if to_sender else sender.again()
            if not to_sender and not to_receiver:
                return None
    return None


@given(st.binary(min_size=1, max_size=3000), st.integers(10, 300), st.integers(1, 63), st.integers(1, 63))
@settings(deadline=None, max_examples=80)
def test_any_octets_any_sizes_any_windows(apdu: bytes, size: int, ours: int, theirs: int) -> None:
    sender, receiver = BlockExchange(ours, 1 << 20), BlockExchange(theirs, 1 << 20)
    blocks = sender.send(apdu, size)
    assert all(len(each) <= size for each in blocks)
    assert run(sender, receiver, blocks, lambda octets: False) == apdu


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 40))
@settings(deadline=None, max_examples=200)
def test_every_loss_is_made_good(seed: int, window: int, percent: int) -> None:
    random = Random(seed)
    apdu = random.randbytes(1500)
    sender, receiver = BlockExchange(window, 1 << 20), BlockExchange(window, 1 << 20)
    blocks = sender.send(apdu, 60)
    started = False

    def loses(octets: bytes) -> bool:
        nonlocal started
        # The first block is not lost: that silence is the service's own time limit, not a matter of blocks.
        lost = started and random.randrange(100) < percent
        started = True
        return lost

    with suppress(UnexpectedAnswer):  # after many losses in a row at one place
        assert run(sender, receiver, blocks, loses) == apdu


def test_only_what_was_lost_comes_again() -> None:
    sender, receiver = BlockExchange(4, 1000), BlockExchange(4, 1000)
    apdu = bytes(range(90))
    (first,) = sender.send(apdu, 17)
    ((acknowledgement,), _) = receiver.receive(first)
    window, _ = sender.receive(acknowledgement)
    assert [decode_general_block(each).number for each in window] == [2, 3, 4, 5]
    assert [decode_general_block(each).streaming for each in window] == [True, True, True, False]
    assert receiver.receive(window[0]) == ([], None)
    assert receiver.receive(window[2]) == ([], None)
    ((asks,), _) = receiver.receive(window[3])
    asked = decode_general_block(asks)
    assert (asked.acknowledged, asked.window, asked.data) == (2, 1, b"")
    again, _ = sender.receive(asks)
    assert again == [block(3, apdu[20:30], window=4, ack=2)]
    ((goes_on,), _) = receiver.receive(again[0])
    assert decode_general_block(goes_on).acknowledged == 5
    assert decode_general_block(goes_on).window == 4


def answered(value: Data, invoke: int = 0xC1) -> bytes:
    return GetResponseNormal(invoke, value).encode()


LONG = Data.octets(bytes(range(200)))


def pieces(octets: bytes, size: int = 50) -> list[bytes]:
    return [octets[at : at + size] for at in range(0, len(octets), size)]


def test_an_answer_in_streamed_windows() -> None:
    client = plain_client(conformance=ONLY_GENERAL)
    client.get(PROFILE)
    parts = pieces(answered(LONG), 20)  # 11 of them
    event = client.receive(block(1, parts[0]))
    assert isinstance(event, Send)
    assert event.apdu.hex() == "e0880001000100"  # last, window 8, number 1, acknowledges 1, no data
    for number in range(2, 9):
        assert client.receive(block(number, parts[number - 1], streaming=True)) == Waiting()
    event = client.receive(block(9, parts[8]))
    assert isinstance(event, Send)
    assert (event.apdu.hex(), event.more) == ("e0880002000900", ())
    assert client.receive(block(10, parts[9], streaming=True)) == Waiting()
    assert client.receive(block(11, parts[10], last=True)) == GetResult(LONG)
    assert client.state is State.ASSOCIATED
    client.get(CLOCK)
    assert client.receive(answered(Data.unsigned(7), 0xC2)) == GetResult(Data.unsigned(7))


def test_an_answer_in_one_block() -> None:
    client = plain_client(conformance=GENERAL)
    client.get(CLOCK)
    assert client.receive(block(1, answered(Data.unsigned(7)), last=True)) == GetResult(Data.unsigned(7))


def test_unconfirmed_streaming_needs_no_acknowledgement() -> None:
    client = plain_client(conformance=GENERAL)
    client.get(PROFILE)
    parts = pieces(answered(LONG), 10)
    for number, part in enumerate(parts[:-1], 1):
        assert client.receive(block(number, part, streaming=True, window=0)) == Waiting()
    assert client.receive(block(len(parts), parts[-1], last=True, window=0)) == GetResult(LONG)


def test_an_empty_last_block_ends_the_apdu() -> None:
    client = plain_client(conformance=GENERAL)
    client.get(PROFILE)
    assert isinstance(client.receive(block(1, answered(LONG))), Send)
    assert client.receive(block(2, last=True)) == GetResult(LONG)


def test_a_request_in_blocks() -> None:
    client = plain_client(conformance=ONLY_GENERAL, size=60)
    value = Data.octets(bytes(range(250)))
    first = decode_general_block(request := client.set(CLOCK, value))
    assert len(request) == 60
    assert (first.last, first.streaming, first.window, first.number, first.acknowledged) == (False, False, 8, 1, 0)
    octets = first.data
    event = client.receive(block(1, window=3, ack=1))  # it takes three at once
    assert isinstance(event, Send)
    sent = [decode_general_block(each) for each in (event.apdu, *event.more)]
    assert [(each.number, each.streaming, each.last, each.acknowledged) for each in sent] == [
        (2, True, False, 1),
        (3, True, False, 1),
        (4, False, False, 1),
    ]
    octets += b"".join(each.data for each in sent)
    event = client.receive(block(2, window=3, ack=4))
    assert isinstance(event, Send)
    sent = [decode_general_block(each) for each in (event.apdu, *event.more)]
    octets += b"".join(each.data for each in sent)
    assert sent[-1].last
    assert decode_set_request(octets) == SetRequestNormal(0xC1, CLOCK, value)
    assert client.receive(block(3, bytes.fromhex("c501c100"), last=True, ack=sent[-1].number)) == SetResult()


@pytest.mark.parametrize("counts_acknowledgements", [True, False])
def test_request_and_answer_in_blocks(counts_acknowledgements: bool) -> None:
    client = plain_client(conformance=ONLY_GENERAL, size=60)
    client.get_list([(PROFILE, None)] * 10)
    event = client.receive(block(1, window=8, ack=1))
    assert isinstance(event, Send)
    assert decode_general_block((event.apdu, *event.more)[-1]).last
    answer = bytes.fromhex("c403c10a") + (b"\x00" + encode_data(LONG)) * 10
    parts = pieces(answer, 500)
    number = 2 if counts_acknowledgements else 1
    for part in parts[:-1]:
        assert isinstance(client.receive(block(number, part, ack=3)), Send)
        number += 1
    event = client.receive(block(number, parts[-1], last=True, ack=3))
    assert not isinstance(event, Send | Waiting)
    assert [each.data for each in event.results] == [LONG] * 10  # type: ignore[union-attr]


def test_the_whole_is_protected_and_then_cut() -> None:
    client = hls_client(size=80, conformance=ONLY_GENERAL)
    value = Data.octets(bytes(300))
    octets, event = b"", Send(client.set(CLOCK, value))
    number = 0
    while True:
        sent = [decode_general_block(each) for each in (event.apdu, *event.more)]
        assert all(len(each.encode()) <= 80 for each in sent)
        octets += b"".join(each.data for each in sent)
        if sent[-1].last:
            break
        number += 1
        received = client.receive(block(number, window=2, ack=sent[-1].number))
        assert isinstance(received, Send)
        event = received
    control, _, plain = unseal(octets)
    assert control == 0x30
    assert decode_set_request(plain) == SetRequestNormal(0xC2, CLOCK, value)
    sealed = seal(bytes.fromhex("c501c200"), 4)
    assert isinstance(client.receive(block(number + 1, sealed[:9])), Send)
    assert client.receive(block(number + 2, sealed[9:], last=True)) == SetResult()


def test_what_is_forged_in_blocks_is_a_security_event() -> None:
    client = hls_client(conformance=GENERAL)
    client.get(CLOCK)
    sealed = bytearray(seal(bytes.fromhex("c401c2001107"), 4))
    sealed[-1] ^= 1
    with pytest.raises(SecurityError):
        client.receive(block(1, bytes(sealed), last=True))
    client = hls_client(conformance=GENERAL)
    client.get(CLOCK)
    with pytest.raises(SecurityError, match="unprotected"):
        client.receive(block(1, bytes.fromhex("c401c2001107"), last=True))


def test_an_exception_ends_a_request_in_blocks() -> None:
    client = plain_client(conformance=ONLY_GENERAL, size=60)
    client.set(CLOCK, Data.octets(bytes(100)))
    client.receive(bytes.fromhex("d80102"))
    assert client.state is State.ASSOCIATED
    assert client.get(CLOCK)


def test_a_notification_in_blocks() -> None:
    client = plain_client(conformance=GENERAL)
    client.get(CLOCK)
    push = DataNotification(1, b"", LONG)
    first, second = pieces(push.encode(), 150)
    assert client.receive(block(1, first, streaming=True, window=0)) == Waiting()
    assert client.receive(block(2, second, last=True, window=0)) == Notified(push)
    assert client.receive(answered(Data.unsigned(7))) == GetResult(Data.unsigned(7))


@pytest.mark.parametrize("first", [1, 3])
def test_a_notification_and_then_the_answer_in_blocks(first: int) -> None:
    """The answer's numbers begin anew, or go on behind the notification's."""
    client = plain_client(conformance=GENERAL)
    client.get(CLOCK)
    push = DataNotification(1, b"", LONG)
    parts = pieces(push.encode(), 150)
    client.receive(block(1, parts[0], streaming=True, window=0))
    assert client.receive(block(2, parts[1], last=True, window=0)) == Notified(push)
    one, other = pieces(answered(LONG), 150)
    assert isinstance(client.receive(block(first, one)), Send)
    assert client.receive(block(first + 1, other, last=True)) == GetResult(LONG)


def asking(conformance: int = GENERAL, limit: int = 1000) -> ClientAssociation:
    client = plain_client(conformance=conformance, limit=limit)
    client.get(PROFILE)
    return client


def feed(client: ClientAssociation, apdus: list[bytes]) -> None:
    for apdu in apdus:
        client.receive(apdu)


@pytest.mark.parametrize(
    ("blocks", "error"),
    [
        ([block(0, b"a")], DecodeError),
        ([block(10, b"a")], UnexpectedAnswer),  # beyond the window
        ([block(1, b"a", streaming=True), block(10, b"a")], UnexpectedAnswer),
        ([block(1, bytes(999), streaming=True), block(2, b"aa")], TooLongError),
        ([block(1, bytes(999), streaming=True), block(3, b"aa")], TooLongError),  # one that came early counts too
        ([block(1, block(1, answered(LONG), last=True), last=True)], UnexpectedAnswer),  # blocks inside a block
        ([block(1, b"\xc4\x01\xc1\x00", last=True)], DecodeError),
        ([block(1, b"a")[:-1]], DecodeError),
        ([block(1, b"a", streaming=True)] + [block(1, b"a", streaming=True)] * (MAX_REPEATS + 9), UnexpectedAnswer),
        ([block(1, streaming=True)] * (MAX_REPEATS + 9), UnexpectedAnswer),  # acknowledges nothing
    ],
)
def test_hostile_blocks(blocks: list[bytes], error: type[RemoteProtocolError]) -> None:
    client = asking()
    with pytest.raises(error):
        feed(client, blocks)
    assert client.state is State.BROKEN


@pytest.mark.parametrize(
    ("acknowledgements", "match"),
    [
        ([block(1, ack=2)], "acknowledged"),  # was not sent
        ([block(1, ack=1), block(2, ack=0)], "acknowledged"),  # goes back
        ([block(1, answered(LONG), ack=1)], "before the last block"),
        ([block(number, ack=1) for number in range(1, MAX_REPEATS + 12)], "asked for again"),
    ],
)
def test_hostile_acknowledgements(acknowledgements: list[bytes], match: str) -> None:
    client = plain_client(conformance=ONLY_GENERAL, size=30)
    client.set(CLOCK, Data.octets(bytes(1000)))
    with pytest.raises(UnexpectedAnswer, match=match):
        feed(client, acknowledgements)
    assert client.state is State.BROKEN


def test_blocks_that_were_not_negotiated() -> None:
    client = asking(ALL_SERVICES)
    with pytest.raises(UnexpectedAnswer, match="not negotiated"):
        client.receive(block(1, b"a"))
    with pytest.raises(NotNegotiated, match="does not fit"):
        plain_client(conformance=ALL_SERVICES & ~0x000800, size=60).set(CLOCK, Data.octets(bytes(100)))


def test_no_room_for_a_block() -> None:
    with pytest.raises(NotNegotiated, match="room"):
        BlockExchange(1, 1000).send(b"abc", 7)
    with pytest.raises(NotNegotiated, match="numbers"):
        BlockExchange(1, 1 << 20).send(bytes(200_000), 8)


def test_after_a_silence_the_same_is_asked_for_and_nothing_runs_twice() -> None:
    client = asking()
    assert client.again() == []  # the request went alone: nothing to ask for
    before = client.awaits_blocks
    assert client.receive(block(1, b"\xc4")) == Send(block(1, last=True, window=8, ack=1))
    assert (before, client.awaits_blocks) == (False, True)
    (asks,) = client.again()
    assert decode_general_block(asks).acknowledged == 1
    client = plain_client(conformance=ONLY_GENERAL, size=60)
    client.set(CLOCK, Data.octets(bytes(60)))
    (again,) = client.again()
    assert decode_general_block(again).number == 1  # not the last: the meter can't have executed anything
    client.receive(block(1, window=4, ack=1))
    (asks,) = client.again()
    assert decode_general_block(asks).data == b""  # the last went out: it is not sent again
    idle = plain_client(conformance=GENERAL)
    assert idle.again() == []


@given(st.lists(st.binary(max_size=40).map(lambda tail: b"\xe0" + tail) | st.binary(max_size=20), max_size=30))
@settings(deadline=None, max_examples=200)
def test_random_blocks_raise_only_what_is_documented(received: list[bytes]) -> None:
    client = asking()
    with suppress(RemoteProtocolError):
        for each in received:
            if client.state is not State.REQUESTING:
                break
            client.receive(each)


@given(
    st.lists(
        st.builds(
            block,
            st.integers(0, 12),
            st.binary(max_size=30),
            last=st.booleans(),
            streaming=st.booleans(),
            window=st.integers(0, 63),
            ack=st.integers(0, 12),
        ),
        max_size=60,
    )
)
@settings(deadline=None, max_examples=300)
def test_random_numbers_keep_memory_bounded(received: list[bytes]) -> None:
    for exchange in (BlockExchange(4, 200), BlockExchange(4, 200)):
        exchange.send(bytes(100), 20)
        with suppress(RemoteProtocolError):
            for each in received:
                outgoing, whole = exchange.receive(each)
                assert len(outgoing) <= 63
                assert whole is None or len(whole) <= 200
                assert len(exchange._incoming._early) <= 4
