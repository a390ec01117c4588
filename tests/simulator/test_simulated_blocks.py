"""Transfers in blocks both ways, and what is refused in them."""

from typing import Any

import pytest
from tests.simulator.harness import Bench, associated, spec_of

from metercast.dlms.action import (
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestNext,
    ActionResponseBlock,
    ActionResponseNormal,
    MethodResponse,
    decode_action_response,
    decode_reassembled_response,
)
from metercast.dlms.blocks import Block
from metercast.dlms.conformance import CLIENT_DEFAULT
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data, decode_whole
from metercast.dlms.get import GetRequestNext, GetResponseBlock, decode_get_response
from metercast.dlms.initiate import InitiateRequest
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import ActionResultCode
from metercast.dlms.set import SetRequestBlock, SetRequestFirstBlock
from metercast.simulator.access import ObjectAccess
from metercast.simulator.faults import FaultPlay
from metercast.simulator.objects.base import CosemObject
from metercast.simulator.objects.model import ObjectModel, standard_object_list
from metercast.simulator.observer import Observer
from metercast.simulator.services import Services
from metercast.simulator.session_faults import SessionFaults

OBJECT_LIST = "c001c1000f0000280000ff0200"
CALENDAR = LogicalName.parse("0.0.13.0.0.255")
WEEKS = bytes.fromhex("01010208090131") + bytes.fromhex("1101") * 7
SEASONS = bytes.fromhex("01010203090131090cffff0401ff000000ff8000ff090131")
SHIFT = CosemMethod(8, LogicalName.parse("0.0.1.0.0.255"), 6)


def small(client_pdu: int, proposed: int = CLIENT_DEFAULT, **changes: Any) -> Bench:
    """An association whose client takes APDUs of so many octets."""
    bench = Bench(spec_of(**changes))
    initiate = InitiateRequest(conformance=proposed, client_max_receive_pdu_size=client_pdu).encode()
    body = bytes.fromhex("A109060760857405080101BE") + bytes((len(initiate) + 2, 4, len(initiate))) + initiate
    assert "a203020100" in bench.ask(bytes((0x60, len(body))) + body)
    return bench


def read_in_blocks(bench: Bench, limit: int) -> tuple[bytes, int]:
    """(all the octets, the number of blocks); every APDU fits `limit`."""
    octets, count = b"", 0
    answer = bench.ask(OBJECT_LIST)
    while True:
        assert len(answer) // 2 <= limit
        block = decode_get_response(bytes.fromhex(answer))
        assert isinstance(block, GetResponseBlock)
        assert isinstance(block.result, bytes)
        count += 1
        assert block.block == count
        octets += block.result
        if block.last:
            return octets, count
        answer = bench.ask(GetRequestNext(block.invoke, block.block).encode())


@pytest.mark.parametrize(("client_pdu", "meter_pdu", "limit"), [(64, 1024, 64), (0, 128, 128), (500, 400, 400)])
def test_a_long_answer_comes_in_blocks_that_fit_both_limits(client_pdu: int, meter_pdu: int, limit: int) -> None:
    octets, count = read_in_blocks(small(client_pdu, max_pdu=meter_pdu), limit)
    assert decode_whole(octets) == standard_object_list(1)
    assert count == -(-len(octets) // (limit - 12))


def test_without_limits_the_answer_is_whole() -> None:
    bench = small(0, max_pdu=0)
    assert decode_whole(bytes.fromhex(bench.ask(OBJECT_LIST))[4:]) == standard_object_list(1)


def test_get_next_out_of_order() -> None:
    bench = small(64)
    assert bench.ask("c002c100000001") == "c402c101" + "00000001" + "0110"  # no long get in progress
    bench.ask(OBJECT_LIST)
    assert bench.ask("c002c100000002") == "c402c101" + "00000002" + "0113"  # data block number invalid
    assert bench.ask("c002c100000001") == "c402c101" + "00000001" + "0110"  # and the transfer is over
    bench.ask(OBJECT_LIST)
    bench.ask("c001c100080000010000ff0200")  # another service ends it too
    assert bench.ask("c002c100000001").endswith("0110")


def test_without_block_transfer_a_long_answer_is_too_long() -> None:
    assert small(64, proposed=0x00001D).ask(OBJECT_LIST) == "d80104"


def test_a_request_above_the_meters_limit_is_too_long() -> None:
    bench = small(0, max_pdu=64)
    request = "c101c1001400000d0000ff060009" + "32" + "41" * 50
    assert len(request) // 2 == 65
    assert bench.ask(request) == "d80104"


def set_in_blocks(bench: Bench, index: int, raw: bytes, size: int) -> list[str]:
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    answers = []
    for number, piece in enumerate(pieces, 1):
        block = Block(number == len(pieces), number, piece)
        attribute = CosemAttribute(20, CALENDAR, index)
        first = SetRequestFirstBlock(0xC1, attribute, block)
        answers.append(bench.ask((first if number == 1 else SetRequestBlock(0xC1, block)).encode()))
    return answers


@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_value_comes_in_blocks(size: int) -> None:
    bench = associated()
    answers = set_in_blocks(bench, 7, SEASONS, size)
    count = -(-len(SEASONS) // size)
    assert answers == [
        *(f"c502c1{number:08x}" for number in range(1, count)),
        f"c503c100{count:08x}",
    ]
    assert bench.ask("c001c1001400000d0000ff0700") == "c401c100" + SEASONS.hex()


def test_what_is_wrong_with_a_value_in_blocks_shows_at_its_end() -> None:
    bench = associated()
    assert set_in_blocks(bench, 7, WEEKS, 10)[-1] == "c503c10c00000003"  # of another attribute
    assert set_in_blocks(bench, 2, SEASONS, 20)[-1] == "c503c10300000002"  # active, not to be written
    assert set_in_blocks(bench, 7, SEASONS[:-1], 20)[-1] == "c503c10c00000002"  # cut off


def test_set_blocks_out_of_order() -> None:
    bench = associated()
    block = SetRequestBlock(0xC1, Block(False, 2, b"\1"))
    assert bench.ask(block.encode()) == "c503c112" + "00000002"
    first = SetRequestFirstBlock(0xC1, CosemAttribute(20, CALENDAR, 7), Block(False, 1, SEASONS[:5]))
    assert bench.ask(first.encode()) == "c502c100000001"
    assert bench.ask(SetRequestBlock(0xC1, Block(False, 3, b"\1")).encode()) == "c503c113" + "00000003"
    assert bench.ask(block.encode()) == "c503c112" + "00000002"


def test_a_value_without_end_is_cut_off() -> None:
    bench = small(0, max_pdu=0)
    first = SetRequestFirstBlock(0xC1, CosemAttribute(20, CALENDAR, 7), Block(False, 1, b"\1" * 40_000))
    assert bench.ask(first.encode()) == "c502c100000001"
    assert bench.ask(SetRequestBlock(0xC1, Block(False, 2, b"\1" * 40_000)).encode()) == "c503c11100000002"


def test_a_parameter_comes_in_blocks() -> None:
    bench = associated()
    before = bench.meter.state.clock.timestamp()
    assert bench.ask(ActionRequestFirstBlock(0xC1, SHIFT, Block(False, 1, b"\x10")).encode()) == "c704c100000001"
    assert bench.ask(ActionRequestBlock(0xC1, Block(True, 2, b"\xff\xe2")).encode()) == "c701c10000"
    assert bench.meter.state.clock.timestamp() == before - 30
    assert bench.ask(ActionRequestBlock(0xC1, Block(True, 2, b"\xff\xe2")).encode()) == "c701c11000"
    bench.ask(ActionRequestFirstBlock(0xC1, SHIFT, Block(False, 1, b"\x10")).encode())
    assert bench.ask(ActionRequestBlock(0xC1, Block(True, 3, b"\xff\xe2")).encode()) == "c701c10f00"
    assert bench.meter.state.clock.timestamp() == before - 30


def test_what_a_method_returns_comes_in_blocks() -> None:
    long = Data.octets(bytes(range(250)) * 4)
    method = CosemMethod(1, LogicalName.parse("0.0.96.99.0.255"), 1)
    model = ObjectModel([CosemObject(1, 0, method.logical_name, {}, {1: lambda state, parameter: long})])
    bench = associated()
    play = FaultPlay()
    access = ObjectAccess(model, bench.meter.state, bench.association, SessionFaults(play), Observer())
    services = Services(access, CLIENT_DEFAULT)
    request = bytes.fromhex("c301c1") + method.encode() + bytes.fromhex("010f00")
    octets, number = b"", 0
    answer = services.answer(request, 100)
    while True:
        assert answer is not None
        assert len(answer) <= 100
        response = decode_action_response(answer)
        assert isinstance(response, ActionResponseBlock)
        number += 1
        assert response.block.number == number
        octets += response.block.raw
        if response.block.last:
            break
        answer = services.answer(ActionRequestNext(0xC1, number).encode(), 100)
    assert decode_reassembled_response(octets) == MethodResponse(ActionResultCode.SUCCESS, long)
    refused = ActionResponseNormal(0xC1, MethodResponse(ActionResultCode.NO_LONG_ACTION_IN_PROGRESS)).encode()
    assert services.answer(ActionRequestNext(0xC1, number).encode(), 100) == refused
    assert bench.meter.state.executed == {(1, method.logical_name, 1): 1}


def test_lists_where_they_were_agreed() -> None:
    both = "c003c102" + "00010000000100ff0200" + "00030100630500ff0200"
    assert associated().ask(both) == "d80202"
    bench = small(64, conformance=0x005E19)
    assert bench.ask(both) == "c403c102" + "000600000000" + "0104"
    pair = "c104c102" + "0046000060030aff0400" + "0046000060030aff0300" + "0216011601"
    assert bench.ask(pair) == "c505c1020003"
    assert bench.meter.state.relay.mode == 1
    actions = "c303c102" + "0046000060030aff01" + "000900000a0001ff01" + "020f00120009"
    assert bench.ask(actions) == "c703c102" + "0000" + "fa00"
    assert bench.meter.state.executed == {(70, LogicalName.parse("0.0.96.3.10.255"), 1): 1}
    clocks = "c003c114" + "00080000010000ff0200" * 20
    octets, number = b"", 0
    answer = bench.ask(clocks)
    while True:
        block = decode_get_response(bytes.fromhex(answer))
        assert isinstance(block, GetResponseBlock)
        assert isinstance(block.result, bytes)
        octets += block.result
        number += 1
        if block.last:
            break
        answer = bench.ask(GetRequestNext(0xC1, number).encode())
    assert len(octets) == 1 + 20 * 15
    assert octets[:5] == bytes.fromhex("1400090c07")
