"""GET, SET and ACTION in every form: on their octets, round trips, and cuts."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metercast.dlms.action import (
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestList,
    ActionRequestListFirstBlock,
    ActionRequestNext,
    ActionRequestNormal,
    ActionResponseBlock,
    ActionResponseList,
    ActionResponseNext,
    ActionResponseNormal,
    MethodResponse,
    decode_action_request,
    decode_action_response,
    decode_reassembled_response,
)
from metercast.dlms.blocks import Block
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data, encode_data
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.get import (
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
    decode_get_request,
    decode_get_response,
)
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.set import (
    SetRequestBlock,
    SetRequestFirstBlock,
    SetRequestList,
    SetRequestListFirstBlock,
    SetRequestNormal,
    SetResponseBlock,
    SetResponseLastBlock,
    SetResponseLastBlockList,
    SetResponseList,
    SetResponseNormal,
    decode_set_request,
    decode_set_response,
)

CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
RELAY = CosemMethod(70, LogicalName.parse("0.0.96.3.10.255"), 1)
CLOCK_HEX = "00080000010000ff02"
RELAY_HEX = "0046000060030aff01"
SELECTION = Selection(2, Data.structure([Data.unsigned(1)]))
OK = DataAccessResult.SUCCESS
DENIED = DataAccessResult.READ_WRITE_DENIED
DONE = ActionResultCode.SUCCESS

FORMS: list[tuple[str, Any, Callable[[bytes], Any]]] = [
    (f"c001c1{CLOCK_HEX}010202011101", GetRequestNormal(0xC1, CLOCK, SELECTION), decode_get_request),
    ("c002c100000007", GetRequestNext(0xC1, 7), decode_get_request),
    (
        f"c003c102{CLOCK_HEX}00{CLOCK_HEX}010202011101",
        GetRequestList(0xC1, [(CLOCK, None), (CLOCK, SELECTION)]),
        decode_get_request,
    ),
    ("c401c1001107", GetResponseNormal(0xC1, Data.unsigned(7)), decode_get_response),
    ("c401c10103", GetResponseNormal(0xC1, DENIED), decode_get_response),
    ("c402c100000000020003aabbcc", GetResponseBlock(0xC1, False, 2, b"\xaa\xbb\xcc"), decode_get_response),
    ("c402c10100000002010f", GetResponseBlock(0xC1, True, 2, DataAccessResult.LONG_GET_ABORTED), decode_get_response),
    (
        "c403c1020011070104",
        GetResponseList(0xC1, [Data.unsigned(7), DataAccessResult.OBJECT_UNDEFINED]),
        decode_get_response,
    ),
    (f"c101c1{CLOCK_HEX}001107", SetRequestNormal(0xC1, CLOCK, Data.unsigned(7)), decode_set_request),
    (
        f"c102c1{CLOCK_HEX}00000000000102aabb",
        SetRequestFirstBlock(0xC1, CLOCK, Block(False, 1, b"\xaa\xbb")),
        decode_set_request,
    ),
    ("c103c1010000000202aabb", SetRequestBlock(0xC1, Block(True, 2, b"\xaa\xbb")), decode_set_request),
    (f"c104c101{CLOCK_HEX}00011107", SetRequestList(0xC1, [(CLOCK, None)], [Data.unsigned(7)]), decode_set_request),
    (
        f"c105c101{CLOCK_HEX}00000000000102aabb",
        SetRequestListFirstBlock(0xC1, [(CLOCK, None)], Block(False, 1, b"\xaa\xbb")),
        decode_set_request,
    ),
    ("c501c103", SetResponseNormal(0xC1, DENIED), decode_set_response),
    ("c502c100000001", SetResponseBlock(0xC1, 1), decode_set_response),
    ("c503c10000000002", SetResponseLastBlock(0xC1, OK, 2), decode_set_response),
    ("c504c102000300000002", SetResponseLastBlockList(0xC1, [OK, DENIED], 2), decode_set_response),
    ("c505c1020003", SetResponseList(0xC1, [OK, DENIED]), decode_set_response),
    (f"c301c1{RELAY_HEX}010f00", ActionRequestNormal(0xC1, RELAY, Data.integer(0)), decode_action_request),
    (f"c301c1{RELAY_HEX}00", ActionRequestNormal(0xC1, RELAY), decode_action_request),
    ("c302c100000001", ActionRequestNext(0xC1, 1), decode_action_request),
    (f"c303c101{RELAY_HEX}010f00", ActionRequestList(0xC1, [RELAY], [Data.integer(0)]), decode_action_request),
    (
        f"c304c1{RELAY_HEX}000000000102aabb",
        ActionRequestFirstBlock(0xC1, RELAY, Block(False, 1, b"\xaa\xbb")),
        decode_action_request,
    ),
    (
        f"c305c101{RELAY_HEX}000000000102aabb",
        ActionRequestListFirstBlock(0xC1, [RELAY], Block(False, 1, b"\xaa\xbb")),
        decode_action_request,
    ),
    ("c306c1010000000202aabb", ActionRequestBlock(0xC1, Block(True, 2, b"\xaa\xbb")), decode_action_request),
    ("c701c10000", ActionResponseNormal(0xC1, MethodResponse(DONE)), decode_action_response),
    ("c701c10001001107", ActionResponseNormal(0xC1, MethodResponse(DONE, Data.unsigned(7))), decode_action_response),
    (
        "c701c103010103",
        ActionResponseNormal(0xC1, MethodResponse(ActionResultCode.READ_WRITE_DENIED, DENIED)),
        decode_action_response,
    ),
    ("c702c1010000000202aabb", ActionResponseBlock(0xC1, Block(True, 2, b"\xaa\xbb")), decode_action_response),
    (
        "c703c10200000001001107",
        ActionResponseList(0xC1, [MethodResponse(DONE), MethodResponse(DONE, Data.unsigned(7))]),
        decode_action_response,
    ),
    ("c704c100000001", ActionResponseNext(0xC1, 1), decode_action_response),
]
IDS = [type(value).__name__ + "-" + text[:8] for text, value, _ in FORMS]


@pytest.mark.parametrize(("text", "value", "decode"), FORMS, ids=IDS)
def test_every_form_has_these_octets(text: str, value: Any, decode: Callable[[bytes], Any]) -> None:
    octets = bytes.fromhex(text)
    assert decode(octets) == value
    assert value.encode() == octets


@pytest.mark.parametrize(("text", "value", "decode"), FORMS, ids=IDS)
def test_every_cut_and_every_trailing_octet_is_refused(text: str, value: Any, decode: Callable[[bytes], Any]) -> None:
    octets = bytes.fromhex(text)
    for size in range(len(octets)):
        if size == 4 and octets[:2] == bytes.fromhex("c701"):
            continue  # the short form that some meters send
        with pytest.raises(DecodeError):
            decode(octets[:size])
    with pytest.raises(DecodeError):
        decode(octets + b"\x00")
    with pytest.raises(DecodeError):
        decode(octets[:1] + b"\x09" + octets[2:])
    with pytest.raises(DecodeError):
        decode(b"\x60" + octets[1:])


def test_an_action_response_may_end_after_its_result() -> None:
    for text, code in (("c701c100", DONE), ("c701c10b", ActionResultCode.OBJECT_UNAVAILABLE)):
        assert decode_action_response(bytes.fromhex(text)) == ActionResponseNormal(0xC1, MethodResponse(code))


def test_codes_outside_the_list_are_kept() -> None:
    response = decode_set_response(bytes.fromhex("c501c163"))
    assert isinstance(response, SetResponseNormal)
    assert (response.result, response.result.label) == (99, "code-99")
    assert response.encode().hex() == "c501c163"
    assert decode_set_response(bytes.fromhex("c501c163")) == response
    assert DENIED.label == "read-write-denied"


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ("0000", MethodResponse(DONE)),
        ("0001001107", MethodResponse(DONE, Data.unsigned(7))),
        ("0001010b", MethodResponse(DONE, DataAccessResult.OBJECT_UNAVAILABLE)),
        ("001107", MethodResponse(DONE, Data.unsigned(7))),
        ("0901aa", MethodResponse(DONE, Data.octets(b"\xaa"))),
        ("010211011102", MethodResponse(DONE, Data.array([Data.unsigned(1), Data.unsigned(2)]))),
    ],
)
def test_what_blocks_of_an_action_response_may_carry(text: str, response: MethodResponse) -> None:
    assert decode_reassembled_response(bytes.fromhex(text)) == response


@pytest.mark.parametrize("text", ["", "0b", "0002", "0901", "000100110700"])
def test_what_they_may_not_carry(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_reassembled_response(bytes.fromhex(text))


def test_numbers_out_of_range_are_our_own_error() -> None:
    with pytest.raises(EncodeError):
        CosemAttribute(65536, CLOCK.logical_name, 2).encode()
    with pytest.raises(EncodeError):
        CosemMethod(1, CLOCK.logical_name, 128).encode()
    with pytest.raises(EncodeError):
        Block(True, 1 << 32, b"").encode()


def test_counts_are_checked_against_what_remains() -> None:
    for text, decode in (
        ("c003c184ffffffff", decode_get_request),
        ("c403c184ffffffff", decode_get_response),
        ("c104c184ffffffff", decode_set_request),
        ("c505c184ffffffff", decode_set_response),
        ("c303c184ffffffff", decode_action_request),
        ("c703c184ffffffff", decode_action_response),
    ):
        with pytest.raises(DecodeError):
            decode(bytes.fromhex(text) + bytes(50))


octet = st.integers(0, 255)
names = st.binary(min_size=6, max_size=6).map(LogicalName)
attributes = st.builds(CosemAttribute, st.integers(0, 0xFFFF), names, st.integers(-128, 127))
methods = st.builds(CosemMethod, st.integers(0, 0xFFFF), names, st.integers(-128, 127))
data = st.one_of(
    octet.map(Data.unsigned),
    st.binary(max_size=200).map(Data.octets),
    st.just(Data.null()),
    st.lists(octet.map(Data.enum), max_size=3).map(Data.structure),
)
selections = st.none() | st.builds(Selection, octet, data)
items = st.lists(st.tuples(attributes, selections), max_size=4)
blocks = st.builds(Block, st.booleans(), st.integers(0, 2**32 - 1), st.binary(max_size=300))
data_results = octet.map(DataAccessResult)
get_results = data | data_results
method_responses = st.builds(MethodResponse, octet.map(ActionResultCode), st.none() | get_results)
number = st.integers(0, 2**32 - 1)

get_requests = st.one_of(
    st.builds(GetRequestNormal, octet, attributes, selections),
    st.builds(GetRequestNext, octet, number),
    st.builds(GetRequestList, octet, items),
)
get_responses = st.one_of(
    st.builds(GetResponseNormal, octet, get_results),
    st.builds(GetResponseBlock, octet, st.booleans(), number, st.binary(max_size=300) | data_results),
    st.builds(GetResponseList, octet, st.lists(get_results, max_size=4)),
)
set_requests = st.one_of(
    st.builds(SetRequestNormal, octet, attributes, data, selections),
    st.builds(SetRequestFirstBlock, octet, attributes, blocks, selections),
    st.builds(SetRequestBlock, octet, blocks),
    st.builds(SetRequestList, octet, items, st.lists(data, max_size=4)),
    st.builds(SetRequestListFirstBlock, octet, items, blocks),
)
set_responses = st.one_of(
    st.builds(SetResponseNormal, octet, data_results),
    st.builds(SetResponseBlock, octet, number),
    st.builds(SetResponseLastBlock, octet, data_results, number),
    st.builds(SetResponseLastBlockList, octet, st.lists(data_results, max_size=4), number),
    st.builds(SetResponseList, octet, st.lists(data_results, max_size=4)),
)
action_requests = st.one_of(
    st.builds(ActionRequestNormal, octet, methods, st.none() | data),
    st.builds(ActionRequestNext, octet, number),
    st.builds(ActionRequestList, octet, st.lists(methods, max_size=4), st.lists(data, max_size=4)),
    st.builds(ActionRequestFirstBlock, octet, methods, blocks),
    st.builds(ActionRequestListFirstBlock, octet, st.lists(methods, max_size=4), blocks),
    st.builds(ActionRequestBlock, octet, blocks),
)
action_responses = st.one_of(
    st.builds(ActionResponseNormal, octet, method_responses),
    st.builds(ActionResponseBlock, octet, blocks),
    st.builds(ActionResponseList, octet, st.lists(method_responses, max_size=4)),
    st.builds(ActionResponseNext, octet, number),
)
DECODERS: list[tuple[st.SearchStrategy[Any], Callable[[bytes], Any]]] = [
    (get_requests, decode_get_request),
    (get_responses, decode_get_response),
    (set_requests, decode_set_request),
    (set_responses, decode_set_response),
    (action_requests, decode_action_request),
    (action_responses, decode_action_response),
]


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_every_form_survives_the_wire(draw: st.DataObject) -> None:
    values, decode = draw.draw(st.sampled_from(DECODERS))
    value = draw.draw(values)
    assert decode(value.encode()) == value


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_apdus_are_read_or_refused(draw: st.DataObject) -> None:
    values, decode = draw.draw(st.sampled_from(DECODERS))
    octets = bytearray(draw.draw(values).encode())
    for _ in range(draw.draw(st.integers(1, 3))):
        octets[draw.draw(st.integers(0, len(octets) - 1))] = draw.draw(octet)
    try:
        value = decode(bytes(octets))
    except DecodeError:
        return
    assert decode(value.encode()) == value


def test_data_is_data_inside_an_apdu() -> None:
    value = Data.array([Data.structure([Data.octets(b"1"), Data.unsigned(1)])])
    assert SetRequestNormal(0xC1, CLOCK, value).encode().endswith(encode_data(value))
