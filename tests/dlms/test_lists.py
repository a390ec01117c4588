"""GET, SET and ACTION with a list: octets of the catalogue, every form of blocks, a result for each item."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dlms.meter import ALL_SERVICES, plain_client

from metercast.dlms.action import (
    ActionRequestBlock,
    ActionRequestList,
    ActionRequestListFirstBlock,
    ActionResponseList,
    MethodResponse,
    decode_action_request,
)
from metercast.dlms.association import ClientAssociation, State
from metercast.dlms.blocks import SelectedAttribute
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import NULL, Data
from metercast.dlms.errors import (
    DecodeError,
    LocalProtocolError,
    NotNegotiated,
    RemoteProtocolError,
    TooLongError,
    UnexpectedAnswer,
)
from metercast.dlms.events import (
    ActionListResult,
    ActionResult,
    GetListResult,
    GetResult,
    Ignored,
    Send,
    SetListResult,
    SetResult,
)
from metercast.dlms.get import GetResponseList
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.set import (
    SetRequestBlock,
    SetRequestList,
    SetRequestListFirstBlock,
    decode_set_request,
    decode_whole_values,
)

IMPORT = CosemAttribute(3, LogicalName.parse("1.0.1.8.0.255"), 2)
EXPORT = CosemAttribute(3, LogicalName.parse("1.0.2.8.0.255"), 2)
SCRIPT = CosemMethod(9, LogicalName.parse("0.0.10.0.1.255"), 1)
SHIFT = CosemMethod(8, LogicalName.parse("0.0.1.0.0.255"), 6)
LISTS = ALL_SERVICES | 0x000200
BOTH: list[SelectedAttribute] = [(IMPORT, None), (EXPORT, None)]


def test_the_catalogues_get_with_list() -> None:
    client = plain_client(conformance=LISTS)
    request = client.get_list(BOTH)
    assert request.hex() == "c003c10200030100010800ff020000030100020800ff0200"
    event = client.receive(bytes.fromhex("c403c102 00 0600000001 01 04"))
    assert event == GetListResult(
        [GetResult(Data.double_long_unsigned(1)), GetResult(None, DataAccessResult.OBJECT_UNDEFINED)]
    )
    assert client.state is State.ASSOCIATED


def blocks_of(tag: int, octets: bytes, size: int) -> list[bytes]:
    pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
    choice = b"\x00" if tag == 0xC4 else b""
    return [
        bytes((tag, 2, 0xC1, number == len(pieces))) + number.to_bytes(4, "big") + choice + bytes((len(piece),)) + piece
        for number, piece in enumerate(pieces, 1)
    ]


@given(st.lists(st.one_of(st.integers(0, 2**32 - 1), st.none()), min_size=1, max_size=40), st.integers(1, 120))
@settings(deadline=None, max_examples=60)
def test_an_answer_in_blocks(values: list[int | None], size: int) -> None:
    results = [DataAccessResult(3) if v is None else Data.double_long_unsigned(v) for v in values]
    client = plain_client(conformance=LISTS)
    client.get_list([(IMPORT, None)] * len(values))
    blocks = blocks_of(0xC4, GetResponseList(0xC1, results).encode()[3:], size)
    for number, block in enumerate(blocks[:-1], 1):
        assert client.receive(block) == Send(bytes.fromhex("c002c1") + number.to_bytes(4, "big"))
    event = client.receive(blocks[-1])
    assert isinstance(event, GetListResult)
    assert [each.error if each.data is None else each.data for each in event.results] == results


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (["c403c101000f01"], UnexpectedAnswer),  # one result for two
        (["c403c103000f01000f01000f01"], UnexpectedAnswer),
        (["c401c1000f01"], UnexpectedAnswer),  # one value in place of the list
        (["c403c102000f0100"], DecodeError),
        (["c403c1ff"], DecodeError),
        (["c402c10100000001000102"], DecodeError),  # the blocks end inside the list
        (["c402c1010000000100"], DecodeError),
        (["c402c101000000010000"], DecodeError),
        (["c402c1010000000100070200000f020000"], DecodeError),  # octets behind the list
        (["c402c10000000001000102", "c403c102000f01000f02"], UnexpectedAnswer),  # whole, in the middle of blocks
        (["c402c10000000002000102"], DecodeError),
        (["c402c100000000010082ffff" + "00" * 0xFFFF], TooLongError),
    ],
)
def test_answers_that_are_wrong(answers: list[str], error: type[RemoteProtocolError]) -> None:
    client = plain_client(conformance=LISTS, limit=1000)
    client.get_list(BOTH)
    for answer in answers[:-1]:
        assert isinstance(client.receive(bytes.fromhex(answer)), Send)
    with pytest.raises(error):
        client.receive(bytes.fromhex(answers[-1]))
    assert client.state is State.BROKEN


@pytest.mark.parametrize("answer", ["c401c101fa", "c402c101000000010112"])
def test_a_list_that_is_refused_as_a_whole(answer: str) -> None:
    client = plain_client(conformance=LISTS)
    client.get_list(BOTH)
    event = client.receive(bytes.fromhex(answer))
    assert isinstance(event, GetResult)
    assert event.error is not None
    assert client.get(IMPORT)


def test_an_answer_to_another_invocation_is_passed_over() -> None:
    client = plain_client(conformance=LISTS)
    client.get_list(BOTH)
    assert isinstance(client.receive(bytes.fromhex("c403c202000f01000f02")), Ignored)
    assert isinstance(client.receive(bytes.fromhex("c403c102000f01000f02")), GetListResult)


def test_what_was_not_negotiated_is_not_sent() -> None:
    without = plain_client(conformance=ALL_SERVICES & ~0x000200)
    with pytest.raises(NotNegotiated, match="lists"):
        without.get_list(BOTH)
    with pytest.raises(NotNegotiated, match="lists"):
        without.set_list([(IMPORT, NULL)])
    with pytest.raises(NotNegotiated, match="lists"):
        without.action_list([(SHIFT, None)])
    no_selection = plain_client(conformance=LISTS & ~0x000004)
    with pytest.raises(NotNegotiated, match="selective"):
        no_selection.get_list([(IMPORT, Selection(2, NULL))])
    with pytest.raises(NotNegotiated, match="does not fit"):
        plain_client(conformance=LISTS, size=30).get_list([(IMPORT, None)] * 3)
    with pytest.raises(LocalProtocolError, match="without items"):
        plain_client(conformance=LISTS).get_list([])
    assert without.get(IMPORT)  # nothing was begun


def test_set_with_list() -> None:
    client = plain_client(conformance=LISTS)
    request = client.set_list([(IMPORT, Data.unsigned(1)), (EXPORT, Data.unsigned(2))])
    assert request.hex() == "c104c10200030100010800ff020000030100020800ff02000211011102"
    assert decode_set_request(request) == SetRequestList(0xC1, BOTH, [Data.unsigned(1), Data.unsigned(2)])
    event = client.receive(bytes.fromhex("c505c1020003"))
    assert event == SetListResult([SetResult(), SetResult(DataAccessResult.READ_WRITE_DENIED)])


@given(st.integers(60, 300), st.lists(st.binary(max_size=300), min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_set_with_list_is_cut_to_the_servers_size(size: int, values: list[bytes]) -> None:
    client = plain_client(conformance=LISTS, size=size)
    items = [(IMPORT, Data.octets(value)) for value in values]
    request = decode_set_request(apdu := client.set_list(items))
    assert len(apdu) <= size
    if isinstance(request, SetRequestList):
        assert request.values == [value for _, value in items]
        return
    assert isinstance(request, SetRequestListFirstBlock)
    assert request.items == [(IMPORT, None)] * len(values)
    block, octets = request.block, request.block.raw
    while not block.last:
        event = client.receive(bytes.fromhex("c502c1") + block.number.to_bytes(4, "big"))
        assert isinstance(event, Send)
        assert len(event.apdu) <= size
        following = decode_set_request(event.apdu)
        assert isinstance(following, SetRequestBlock)
        block = following.block
        octets += block.raw
    assert decode_whole_values(octets) == [value for _, value in items]
    end = bytes.fromhex("c504c1") + bytes((len(values),)) + bytes(len(values)) + block.number.to_bytes(4, "big")
    assert client.receive(end) == SetListResult([SetResult()] * len(values))


def long_set_list() -> ClientAssociation:
    client = plain_client(conformance=LISTS, size=60)
    assert client.set_list([(IMPORT, Data.octets(bytes(50))), (EXPORT, Data.octets(bytes(50)))])[:2] == b"\xc1\x05"
    return client


@pytest.mark.parametrize(
    "answer",
    [
        "c505c1020000",  # success before the last block
        "c504c102030000000001",
        "c505c1010b",  # one result for two
        "c502c100000002",
        "c501c100",
        "c503c10000000001",
    ],
)
def test_set_list_answers_that_are_wrong(answer: str) -> None:
    with pytest.raises(UnexpectedAnswer):
        long_set_list().receive(bytes.fromhex(answer))


def test_a_meter_may_end_a_long_set_list() -> None:
    refused = SetResult(DataAccessResult.LONG_SET_ABORTED)
    assert long_set_list().receive(bytes.fromhex("c503c11100000001")) == refused
    assert long_set_list().receive(bytes.fromhex("c505c1021111")) == SetListResult([refused, refused])


def test_no_acknowledgement_is_due_for_a_request_in_one_apdu() -> None:
    client = plain_client(conformance=LISTS)
    client.set_list([(IMPORT, NULL)])
    with pytest.raises(UnexpectedAnswer):
        client.receive(bytes.fromhex("c502c100000001"))
    client = plain_client(conformance=LISTS)
    client.action_list([(SHIFT, NULL)])
    with pytest.raises(UnexpectedAnswer):
        client.receive(bytes.fromhex("c704c100000001"))


def test_a_long_set_list_without_block_transfer_is_not_begun() -> None:
    client = plain_client(conformance=LISTS & ~0x000800, size=60)
    with pytest.raises(NotNegotiated, match="does not fit"):
        client.set_list([(IMPORT, Data.octets(bytes(50)))])
    client = plain_client(conformance=LISTS & ~0x000400, size=60)
    with pytest.raises(NotNegotiated, match="does not fit"):
        client.action_list([(SHIFT, Data.octets(bytes(50)))])


def test_action_with_list() -> None:
    client = plain_client(conformance=LISTS)
    request = client.action_list([(SCRIPT, Data.long_unsigned(1)), (SHIFT, None)])
    assert request.hex() == "c303c102000900000a0001ff0100080000010000ff06021200010 0".replace(" ", "")
    assert decode_action_request(request) == ActionRequestList(0xC1, [SCRIPT, SHIFT], [Data.long_unsigned(1), NULL])
    event = client.receive(bytes.fromhex("c703c102 00 01 00 1105 03 00"))
    assert event == ActionListResult(
        [ActionResult(ActionResultCode.SUCCESS, Data.unsigned(5)), ActionResult(ActionResultCode.READ_WRITE_DENIED)]
    )


def test_action_with_list_in_blocks_both_ways() -> None:
    client = plain_client(conformance=LISTS, size=60)
    items = [(SCRIPT, Data.octets(bytes(80))), (SHIFT, Data.long(-30))]
    request = decode_action_request(client.action_list(items))
    assert isinstance(request, ActionRequestListFirstBlock)
    assert request.methods == [SCRIPT, SHIFT]
    block, octets = request.block, request.block.raw
    while not block.last:
        event = client.receive(bytes.fromhex("c704c1") + block.number.to_bytes(4, "big"))
        assert isinstance(event, Send)
        following = decode_action_request(event.apdu)
        assert isinstance(following, ActionRequestBlock)
        block = following.block
        octets += block.raw
    assert decode_whole_values(octets) == [value for _, value in items]
    responses = [MethodResponse(ActionResultCode.SUCCESS, Data.octets(bytes(90))), MethodResponse(ActionResultCode(2))]
    answers = blocks_of(0xC7, ActionResponseList(0xC1, responses).encode()[3:], 40)
    for number, answer in enumerate(answers[:-1], 1):
        assert client.receive(answer) == Send(bytes.fromhex("c302c1") + number.to_bytes(4, "big"))
    assert client.receive(answers[-1]) == ActionListResult(
        [ActionResult(ActionResultCode.SUCCESS, Data.octets(bytes(90))), ActionResult(ActionResultCode(2))]
    )


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("c701c10000", UnexpectedAnswer),
        ("c703c1010000", UnexpectedAnswer),
        ("c702c101000000010102", DecodeError),
        ("c702c1010000000100", DecodeError),
        ("c702c101000000010302030003", DecodeError),
    ],
)
def test_action_list_answers_that_are_wrong(answer: str, error: type[RemoteProtocolError]) -> None:
    client = plain_client(conformance=LISTS)
    client.action_list([(SCRIPT, Data.long_unsigned(1)), (SHIFT, None)])
    with pytest.raises(error):
        client.receive(bytes.fromhex(answer))


def test_an_action_list_that_is_refused_as_a_whole() -> None:
    client = plain_client(conformance=LISTS)
    client.action_list([(SHIFT, None)])
    assert client.receive(bytes.fromhex("c701c10f00")) == ActionResult(ActionResultCode.LONG_ACTION_ABORTED)
    client = plain_client(conformance=LISTS, size=60)
    client.action_list([(SHIFT, Data.octets(bytes(90)))])
    with pytest.raises(UnexpectedAnswer, match="before the last"):
        client.receive(bytes.fromhex("c703c1010000"))


ANSWERS = [
    "c403c102000600000001000f02",
    "c402c101000000010007020000110100",
    "c505c1020003",
    "c504c102000000000001",
    "c703c102000100110503 00",
    "c702c10100000001050200000000",
]


@given(st.sampled_from(ANSWERS), st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_answers_raise_only_what_is_documented(answer: str, data: st.DataObject) -> None:
    octets = bytearray(bytes.fromhex(answer))
    for _ in range(data.draw(st.integers(0, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    octets = octets[: data.draw(st.integers(1, len(octets)))]
    client = plain_client(conformance=LISTS, limit=1000)
    wishes = {0xC4: lambda: client.get_list(BOTH), 0xC5: lambda: client.set_list([(IMPORT, NULL), (EXPORT, NULL)])}
    wishes.get(octets[0], lambda: client.action_list([(SHIFT, None), (SCRIPT, None)]))()
    with suppress(RemoteProtocolError):
        client.receive(bytes(octets))
