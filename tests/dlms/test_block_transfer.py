"""Blocks both ways, against answers made by hand: numbers, limits, and requests cut to what the server takes."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dlms.meter import ALL_SERVICES, hls_client, plain_client, seal, unseal

from metercast.dlms.action import (
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestNormal,
    decode_action_request,
)
from metercast.dlms.association import ClientAssociation
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data, encode_data
from metercast.dlms.errors import DecodeError, NotNegotiated, RemoteProtocolError, TooLongError, UnexpectedAnswer
from metercast.dlms.events import ActionResult, GetResult, Send, SetResult
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.set import SetRequestBlock, SetRequestFirstBlock, SetRequestNormal, decode_set_request

PROFILE = CosemAttribute(7, LogicalName.parse("1.0.99.1.0.255"), 2)
WEEKS = CosemAttribute(20, LogicalName.parse("0.0.13.0.0.255"), 8)
IMAGE = CosemMethod(18, LogicalName.parse("0.0.44.0.0.255"), 2)
NO_SET_BLOCKS = ALL_SERVICES & ~0x000800
NO_ACTION_BLOCKS = ALL_SERVICES & ~0x000400


def get_block(number: int, raw: bytes, *, last: bool, invoke: int = 0xC1) -> bytes:
    return bytes((0xC4, 2, invoke, last)) + number.to_bytes(4, "big") + bytes((0, len(raw))) + raw


def action_block(number: int, raw: bytes, *, last: bool) -> bytes:
    return bytes((0xC7, 2, 0xC1, last)) + number.to_bytes(4, "big") + bytes((len(raw),)) + raw


def test_get_in_blocks() -> None:
    data = Data.array([Data.unsigned(number) for number in range(100)])
    octets = encode_data(data)
    client = plain_client()
    client.get(PROFILE)
    pieces = [octets[at : at + 50] for at in range(0, len(octets), 50)]
    for number, piece in enumerate(pieces[:-1], 1):
        event = client.receive(get_block(number, piece, last=False))
        assert event == Send(bytes.fromhex("c002c1") + number.to_bytes(4, "big"))
    assert client.receive(get_block(len(pieces), pieces[-1], last=True)) == GetResult(data)
    assert client.get(PROFILE)


def test_get_in_ciphered_blocks() -> None:
    client = hls_client()
    client.get(PROFILE)
    event = client.receive(seal(get_block(1, b"\x09\x04ab", last=False, invoke=0xC2), 4))
    assert isinstance(event, Send)
    assert unseal(event.apdu)[2] == bytes.fromhex("c002c200000001")
    assert client.receive(seal(get_block(2, b"cd", last=True, invoke=0xC2), 5)) == GetResult(Data.octets(b"abcd"))


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([get_block(0, b"\x11", last=False)], DecodeError),
        ([get_block(2, b"\x11", last=False)], DecodeError),
        ([get_block(1, b"\x11", last=False), get_block(1, b"\x07", last=True)], DecodeError),
        ([get_block(1, b"\x11", last=False), get_block(3, b"\x07", last=True)], DecodeError),
        ([get_block(1, b"", last=False)], DecodeError),
        ([get_block(1, b"\x11", last=True)], DecodeError),
        ([get_block(1, b"\x11\x07\x00", last=True)], DecodeError),
        ([get_block(1, b"\x11", last=False), bytes.fromhex("c401c1001107")], UnexpectedAnswer),
        ([get_block(n, bytes(100), last=False) for n in range(1, 12)], TooLongError),
    ],
)
def test_get_blocks_that_are_wrong(answers: list[bytes], error: type[RemoteProtocolError]) -> None:
    client = plain_client(limit=1000)
    client.get(PROFILE)
    for answer in answers[:-1]:
        assert isinstance(client.receive(answer), Send)
    with pytest.raises(error):
        client.receive(answers[-1])


def test_a_meter_may_end_a_transfer() -> None:
    for text, code in (
        ("c402c10100000002010f", DataAccessResult.LONG_GET_ABORTED),
        ("c401c10110", DataAccessResult.NO_LONG_GET_IN_PROGRESS),
    ):
        client = plain_client()
        client.get(PROFILE)
        client.receive(get_block(1, b"\x11", last=False))
        assert client.receive(bytes.fromhex(text)) == GetResult(None, code)
        assert client.get(PROFILE)


def written(client: ClientAssociation, apdu: bytes, size: int, opened: Callable[[bytes], bytes]) -> tuple[bytes, int]:
    """(raw data, number of blocks) of a SET in blocks that the meter takes, none longer than `size`."""
    assert len(apdu) <= size
    first = decode_set_request(opened(apdu))
    assert isinstance(first, SetRequestFirstBlock)
    assert (first.attribute, first.block.number) == (WEEKS, 1)
    raw, block = first.block.raw, first.block
    while not block.last:
        event = client.receive(bytes((0xC5, 2, first.invoke)) + block.number.to_bytes(4, "big"))
        assert isinstance(event, Send)
        assert len(event.apdu) <= size
        request = decode_set_request(opened(event.apdu))
        assert isinstance(request, SetRequestBlock)
        assert request.block.number == block.number + 1
        block = request.block
        raw += block.raw
    return raw, block.number


@given(st.integers(40, 300), st.integers(0, 2000))
@settings(deadline=None, max_examples=60)
def test_set_is_cut_to_the_servers_size(size: int, length: int) -> None:
    value = Data.octets(bytes(length))
    client = plain_client(size=size)
    apdu = client.set(WEEKS, value)
    if isinstance(request := decode_set_request(apdu), SetRequestNormal):
        assert (request.value, len(apdu) <= size) == (value, True)
        return
    assert len(SetRequestNormal(0xC1, WEEKS, value).encode()) > size
    raw, blocks = written(client, apdu, size, lambda octets: octets)
    assert raw == encode_data(value)
    last = blocks.to_bytes(4, "big")
    assert client.receive(bytes.fromhex("c503c100") + last) == SetResult()


@pytest.mark.parametrize("protection", ["authenticated", "encrypted", "both"])
@pytest.mark.parametrize("size", [60, 127, 128, 129, 130, 131, 200, 255, 260, 300])
def test_requests_fit_with_their_ciphering(protection: str, size: int) -> None:
    control = {"authenticated": 0x10, "encrypted": 0x20, "both": 0x30}[protection]
    for length in (1, size - 60, size - 36, size - 30, size - 20, size, 700):
        client = hls_client(protection=protection, size=size)
        value = Data.octets(bytes(max(0, length)))
        apdu = client.set(WEEKS, value)
        assert len(apdu) <= size
        sent_control, _, plain = unseal(apdu)
        assert sent_control == control
        counter = 4
        octets = b""
        while True:
            request = decode_set_request(plain)
            if isinstance(request, SetRequestNormal):
                assert request.value == value
                break
            assert isinstance(request, SetRequestFirstBlock | SetRequestBlock)
            octets += request.block.raw
            if request.block.last:
                assert octets == encode_data(value)
                break
            answer = bytes((0xC5, 2, request.invoke)) + request.block.number.to_bytes(4, "big")
            event = client.receive(seal(answer, counter, control))
            counter += 1
            assert isinstance(event, Send)
            assert len(event.apdu) <= size
            plain = unseal(event.apdu)[2]


def long_set() -> ClientAssociation:
    client = plain_client(size=60)
    client.set(WEEKS, Data.octets(bytes(100)), Selection(1, Data.null()))
    return client


@pytest.mark.parametrize(
    "text",
    [
        "c502c100000002",  # acknowledges another block
        "c502c100000000",
        "c501c100",  # success before the last block
        "c503c10000000001",
        "c505c10100",
        "c504c1010000000001",
    ],
)
def test_set_answers_that_are_wrong(text: str) -> None:
    with pytest.raises(UnexpectedAnswer):
        long_set().receive(bytes.fromhex(text))


@pytest.mark.parametrize("text", ["c501c111", "c503c11100000001"])
def test_a_meter_may_end_a_long_set(text: str) -> None:
    assert long_set().receive(bytes.fromhex(text)) == SetResult(DataAccessResult.LONG_SET_ABORTED)


def test_an_acknowledgement_after_the_last_block_is_wrong() -> None:
    client = long_set()
    for number in (1, 2):
        event = client.receive(bytes((0xC5, 2, 0xC1)) + number.to_bytes(4, "big"))
        assert isinstance(event, Send)
        request = decode_set_request(event.apdu)
        assert isinstance(request, SetRequestBlock)
        assert request.block.last is (number == 2)
    with pytest.raises(UnexpectedAnswer):
        client.receive(bytes.fromhex("c502c100000003"))


def test_action_parameters_in_blocks() -> None:
    block = Data.structure([Data.double_long_unsigned(0), Data.octets(bytes(range(200)))])
    client = plain_client(size=64)
    apdu = client.action(IMAGE, block)
    assert len(apdu) <= 64
    request = decode_action_request(apdu)
    assert isinstance(request, ActionRequestFirstBlock)
    raw, piece = request.block.raw, request.block
    while not piece.last:
        event = client.receive(bytes.fromhex("c704c1") + piece.number.to_bytes(4, "big"))
        assert isinstance(event, Send)
        assert len(event.apdu) <= 64
        following = decode_action_request(event.apdu)
        assert isinstance(following, ActionRequestBlock)
        piece = following.block
        raw += piece.raw
    assert raw == encode_data(block)
    assert client.receive(bytes.fromhex("c701c10000")) == ActionResult(ActionResultCode.SUCCESS)


@pytest.mark.parametrize("text", ["c704c100000002", "c701c10000", "c703c1010000"])
def test_action_answers_that_are_wrong(text: str) -> None:
    client = plain_client(size=64)
    client.action(IMAGE, Data.octets(bytes(200)))
    with pytest.raises(UnexpectedAnswer):
        client.receive(bytes.fromhex(text))


def test_a_meter_may_end_a_long_action() -> None:
    client = plain_client(size=64)
    client.action(IMAGE, Data.octets(bytes(200)))
    assert client.receive(bytes.fromhex("c701c10f00")) == ActionResult(ActionResultCode.LONG_ACTION_ABORTED)


def test_action_answers_in_blocks() -> None:
    client = plain_client()
    assert isinstance(decode_action_request(client.action(IMAGE)), ActionRequestNormal)
    assert client.receive(action_block(1, bytes.fromhex("000100"), last=False)) == Send(bytes.fromhex("c302c100000001"))
    result = ActionResult(ActionResultCode.SUCCESS, Data.octets(b"ab"))
    assert client.receive(action_block(2, b"\x09\x02ab", last=True)) == result


@pytest.mark.parametrize(
    "answer", [action_block(2, b"\x00", last=False), action_block(1, b"", last=False), action_block(1, b"", last=True)]
)
def test_action_blocks_that_are_wrong(answer: bytes) -> None:
    client = plain_client()
    client.action(IMAGE)
    with pytest.raises(DecodeError):
        client.receive(answer)


def test_action_blocks_are_bounded() -> None:
    client = plain_client(limit=250)
    client.action(IMAGE)
    client.receive(action_block(1, bytes(100), last=False))
    client.receive(action_block(2, bytes(100), last=False))
    with pytest.raises(TooLongError):
        client.receive(action_block(3, bytes(100), last=False))


def test_what_does_not_fit_and_may_not_be_cut() -> None:
    value = Data.octets(bytes(100))
    with pytest.raises(NotNegotiated, match="does not fit"):
        plain_client(size=60, conformance=NO_SET_BLOCKS).set(WEEKS, value)
    with pytest.raises(NotNegotiated, match="does not fit"):
        plain_client(size=60, conformance=NO_ACTION_BLOCKS).action(IMAGE, value)
    with pytest.raises(NotNegotiated, match="does not fit"):
        plain_client(size=60).get(PROFILE, Selection(1, value))
    with pytest.raises(NotNegotiated, match="no room"):
        plain_client(size=15).set(WEEKS, value)
    client = plain_client(size=60)
    with pytest.raises(NotNegotiated):
        client.get(PROFILE, Selection(1, value))
    assert client.get(PROFILE)  # nothing was sent, so nothing is lost
