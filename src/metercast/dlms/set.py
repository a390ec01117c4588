"""SET: requests and responses of every form (catalogue 1.16)."""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from metercast.dlms.axdr import encode_length, expect_end, take_octets
from metercast.dlms.blocks import (
    NUMBER,
    Block,
    SelectedAttribute,
    decode_attributes,
    decode_block,
    decode_count,
    encode_attributes,
)
from metercast.dlms.cosem import CosemAttribute, Selection, decode_attribute, decode_selection, encode_selection
from metercast.dlms.data import Data, decode_data, encode_data
from metercast.dlms.errors import DecodeError
from metercast.dlms.results import DATA_ACCESS_RESULTS, DataAccessResult

SET_REQUEST: Final = 0xC1
SET_RESPONSE: Final = 0xC5


class SetRequestNormal(msgspec.Struct, frozen=True):
    invoke: int  # invoke-id-and-priority
    attribute: CosemAttribute
    value: Data
    selection: Selection | None = None

    def encode(self) -> bytes:
        selection = b"\x00" if self.selection is None else encode_selection(self.selection)
        return bytes((SET_REQUEST, 1, self.invoke)) + self.attribute.encode() + selection + encode_data(self.value)


class SetRequestFirstBlock(msgspec.Struct, frozen=True):
    """Names the attribute and carries the first piece of the encoded value."""

    invoke: int
    attribute: CosemAttribute
    block: Block
    selection: Selection | None = None

    def encode(self) -> bytes:
        descriptor = self.attribute.encode() + encode_selection(self.selection)
        return bytes((SET_REQUEST, 2, self.invoke)) + descriptor + self.block.encode()


class SetRequestBlock(msgspec.Struct, frozen=True):
    invoke: int
    block: Block

    def encode(self) -> bytes:
        return bytes((SET_REQUEST, 3, self.invoke)) + self.block.encode()


class SetRequestList(msgspec.Struct, frozen=True):
    invoke: int
    items: list[SelectedAttribute]
    values: list[Data]

    def encode(self) -> bytes:
        return bytes((SET_REQUEST, 4, self.invoke)) + encode_attributes(self.items) + encode_values(self.values)


class SetRequestListFirstBlock(msgspec.Struct, frozen=True):
    """Names the attributes and carries the first piece of the encoded list of values."""

    invoke: int
    items: list[SelectedAttribute]
    block: Block

    def encode(self) -> bytes:
        return bytes((SET_REQUEST, 5, self.invoke)) + encode_attributes(self.items) + self.block.encode()


class SetResponseNormal(msgspec.Struct, frozen=True):
    invoke: int
    result: DataAccessResult

    def encode(self) -> bytes:
        return bytes((SET_RESPONSE, 1, self.invoke, self.result))


class SetResponseBlock(msgspec.Struct, frozen=True):
    """Acknowledges one block and asks for the next."""

    invoke: int
    block: int

    def encode(self) -> bytes:
        return bytes((SET_RESPONSE, 2, self.invoke)) + NUMBER.pack(self.block)


class SetResponseLastBlock(msgspec.Struct, frozen=True):
    invoke: int
    result: DataAccessResult
    block: int

    def encode(self) -> bytes:
        return bytes((SET_RESPONSE, 3, self.invoke, self.result)) + NUMBER.pack(self.block)


class SetResponseLastBlockList(msgspec.Struct, frozen=True):
    invoke: int
    results: list[DataAccessResult]
    block: int

    def encode(self) -> bytes:
        results = encode_length(len(self.results)) + bytes(self.results)
        return bytes((SET_RESPONSE, 4, self.invoke)) + results + NUMBER.pack(self.block)


class SetResponseList(msgspec.Struct, frozen=True):
    invoke: int
    results: list[DataAccessResult]

    def encode(self) -> bytes:
        return bytes((SET_RESPONSE, 5, self.invoke)) + encode_length(len(self.results)) + bytes(self.results)


SetRequest = SetRequestNormal | SetRequestFirstBlock | SetRequestBlock | SetRequestList | SetRequestListFirstBlock
SetResponse = SetResponseNormal | SetResponseBlock | SetResponseLastBlock | SetResponseLastBlockList | SetResponseList


def decode_set_request(apdu: bytes) -> SetRequest:
    try:
        return _decode_request(apdu)
    except (IndexError, struct.error):
        raise DecodeError("a set-request ends too early") from None


def _decode_request(apdu: bytes) -> SetRequest:
    if apdu[0] != SET_REQUEST:
        raise DecodeError(f"0x{apdu[0]:02X} is not a set-request")
    form, invoke = apdu[1], apdu[2]
    request: SetRequest
    if form in (1, 2):
        attribute, offset = decode_attribute(apdu, 3)
        selection, offset = decode_selection(apdu, offset)
        if form == 1:
            value, offset = decode_data(apdu, offset)
            request = SetRequestNormal(invoke, attribute, value, selection)
        else:
            block, offset = decode_block(apdu, offset)
            request = SetRequestFirstBlock(invoke, attribute, block, selection)
    elif form == 3:
        block, offset = decode_block(apdu, 3)
        request = SetRequestBlock(invoke, block)
    elif form == 4:
        items, offset = decode_attributes(apdu, 3)
        values, offset = decode_values(apdu, offset)
        request = SetRequestList(invoke, items, values)
    elif form == 5:
        items, offset = decode_attributes(apdu, 3)
        block, offset = decode_block(apdu, offset)
        request = SetRequestListFirstBlock(invoke, items, block)
    else:
        raise DecodeError(f"a set-request of form {form}")
    expect_end(apdu, offset, "a set-request")
    return request


def decode_set_response(apdu: bytes) -> SetResponse:
    try:
        return _decode_response(apdu)
    except (IndexError, struct.error):
        raise DecodeError("a set-response ends too early") from None


def _decode_response(apdu: bytes) -> SetResponse:
    if apdu[0] != SET_RESPONSE:
        raise DecodeError(f"0x{apdu[0]:02X} is not a set-response")
    form, invoke = apdu[1], apdu[2]
    response: SetResponse
    if form == 1:
        response, offset = SetResponseNormal(invoke, DATA_ACCESS_RESULTS[apdu[3]]), 4
    elif form == 2:
        response, offset = SetResponseBlock(invoke, NUMBER.unpack_from(apdu, 3)[0]), 7
    elif form == 3:
        block = NUMBER.unpack_from(apdu, 4)[0]
        response, offset = SetResponseLastBlock(invoke, DATA_ACCESS_RESULTS[apdu[3]], block), 8
    elif form == 4:
        results, offset = _decode_results(apdu, 3)
        response = SetResponseLastBlockList(invoke, results, NUMBER.unpack_from(apdu, offset)[0])
        offset += 4
    elif form == 5:
        results, offset = _decode_results(apdu, 3)
        response = SetResponseList(invoke, results)
    else:
        raise DecodeError(f"a set-response of form {form}")
    expect_end(apdu, offset, "a set-response")
    return response


def encode_values(values: Sequence[Data]) -> bytes:
    """The list of values of a with-list request; also what its blocks carry."""
    return encode_length(len(values)) + b"".join(map(encode_data, values))


def decode_values(buffer: bytes, offset: int) -> tuple[list[Data], int]:
    """(Values, offset behind them) of what `encode_values` makes."""
    count, offset = decode_count(buffer, offset, 1)
    values = []
    for _ in range(count):
        value, offset = decode_data(buffer, offset)
        values.append(value)
    return values, offset


def decode_whole_values(octets: bytes) -> list[Data]:
    """The list of values that fills `octets`; DecodeError also where octets are left over."""
    try:
        values, offset = decode_values(octets, 0)
    except IndexError:
        raise DecodeError("a list of values without its length") from None
    expect_end(octets, offset, "a list of values")
    return values


def _decode_results(apdu: bytes, offset: int) -> tuple[list[DataAccessResult], int]:
    codes, offset = take_octets(apdu, offset)
    return [DATA_ACCESS_RESULTS[code] for code in codes], offset
