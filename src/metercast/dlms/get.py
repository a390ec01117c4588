"""GET: requests and responses of every form (catalogue 1.16)."""

import struct
from functools import lru_cache
from typing import Final

import msgspec

from metercast.dlms.axdr import encode_length, expect_end, take_octets
from metercast.dlms.blocks import (
    NUMBER,
    SelectedAttribute,
    decode_attributes,
    decode_block_head,
    decode_count,
    encode_attributes,
    encode_block_head,
)
from metercast.dlms.cosem import CosemAttribute, Selection, decode_attribute, decode_selection, encode_selection
from metercast.dlms.data import Data, decode_data, decode_whole, encode_data
from metercast.dlms.errors import DecodeError
from metercast.dlms.results import DATA_ACCESS_RESULTS, DataAccessResult

GET_REQUEST: Final = 0xC0
GET_RESPONSE: Final = 0xC4


class GetRequestNormal(msgspec.Struct, frozen=True):
    invoke: int  # invoke-id-and-priority
    attribute: CosemAttribute
    selection: Selection | None = None

    def encode(self) -> bytes:
        head = bytes((GET_REQUEST, 1, self.invoke)) + self.attribute.encode()
        return head + b"\x00" if self.selection is None else head + encode_selection(self.selection)


class GetRequestNext(msgspec.Struct, frozen=True):
    """Asks for the block behind `block`."""

    invoke: int
    block: int

    def encode(self) -> bytes:
        return bytes((GET_REQUEST, 2, self.invoke)) + NUMBER.pack(self.block)


class GetRequestList(msgspec.Struct, frozen=True):
    invoke: int
    items: list[SelectedAttribute]

    def encode(self) -> bytes:
        return bytes((GET_REQUEST, 3, self.invoke)) + encode_attributes(self.items)


class GetResponseNormal(msgspec.Struct, frozen=True):
    """Either data or the reason why there is none."""

    invoke: int
    result: Data | DataAccessResult

    def encode(self) -> bytes:
        return bytes((GET_RESPONSE, 1, self.invoke)) + encode_get_data_result(self.result)


class GetResponseBlock(msgspec.Struct, frozen=True):
    """One block of the answer, or the reason why the transfer ends."""

    invoke: int
    last: bool
    block: int
    result: bytes | DataAccessResult

    def encode(self) -> bytes:
        head = bytes((GET_RESPONSE, 2, self.invoke)) + encode_block_head(self.last, self.block)
        if isinstance(self.result, bytes):
            return head + b"\x00" + encode_length(len(self.result)) + self.result
        return head + bytes((1, self.result))


class GetResponseList(msgspec.Struct, frozen=True):
    invoke: int
    results: list[Data | DataAccessResult]

    def encode(self) -> bytes:
        return bytes((GET_RESPONSE, 3, self.invoke)) + encode_get_data_results(self.results)


GetRequest = GetRequestNormal | GetRequestNext | GetRequestList
GetResponse = GetResponseNormal | GetResponseBlock | GetResponseList


def decode_get_request(apdu: bytes) -> GetRequest:
    try:
        return _decode_request(apdu)
    except (IndexError, struct.error):
        raise DecodeError("a get-request ends too early") from None


def _decode_request(apdu: bytes) -> GetRequest:
    if apdu[0] != GET_REQUEST:
        raise DecodeError(f"0x{apdu[0]:02X} is not a get-request")
    form, invoke = apdu[1], apdu[2]
    request: GetRequest
    if form == 1:
        attribute, offset = decode_attribute(apdu, 3)
        selection, offset = decode_selection(apdu, offset)
        request = GetRequestNormal(invoke, attribute, selection)
    elif form == 2:
        request, offset = GetRequestNext(invoke, NUMBER.unpack_from(apdu, 3)[0]), 7
    elif form == 3:
        items, offset = decode_attributes(apdu, 3)
        request = GetRequestList(invoke, items)
    else:
        raise DecodeError(f"a get-request of form {form}")
    expect_end(apdu, offset, "a get-request")
    return request


# Octets of an answer that is worth remembering: tables, not numbers, and not what fills a PDU.
_SHORT: Final = 24
_LONG: Final = 512


@lru_cache(maxsize=256)
def _decode_shared(octets: bytes) -> Data:
    """Decoded once where many meters give the same, as they do with a fleet's calendar. Nobody changes a Data."""
    return decode_whole(octets)


def decode_get_response(apdu: bytes) -> GetResponse:
    try:
        return _decode_response(apdu)
    except (IndexError, struct.error):
        raise DecodeError("a get-response ends too early") from None


def _decode_response(apdu: bytes) -> GetResponse:
    if apdu[0] != GET_RESPONSE:
        raise DecodeError(f"0x{apdu[0]:02X} is not a get-response")
    form, invoke = apdu[1], apdu[2]
    response: GetResponse
    if form == 1:
        if _SHORT < len(apdu) <= _LONG and apdu[3] == 0:
            return GetResponseNormal(invoke, _decode_shared(apdu[4:]))
        result, offset = decode_get_data_result(apdu, 3)
        response = GetResponseNormal(invoke, result)
    elif form == 2:
        last, block, offset = decode_block_head(apdu, 3)
        choice = apdu[offset]
        raw: bytes | DataAccessResult
        if choice == 0:
            raw, offset = take_octets(apdu, offset + 1)
        elif choice == 1:
            raw, offset = DATA_ACCESS_RESULTS[apdu[offset + 1]], offset + 2
        else:
            raise DecodeError(f"0x{choice:02X} is neither raw-data nor a result")
        response = GetResponseBlock(invoke, last, block, raw)
    elif form == 3:
        results, offset = decode_get_data_results(apdu, 3)
        response = GetResponseList(invoke, results)
    else:
        raise DecodeError(f"a get-response of form {form}")
    expect_end(apdu, offset, "a get-response")
    return response


def encode_get_data_result(result: Data | DataAccessResult) -> bytes:
    return b"\x00" + encode_data(result) if isinstance(result, Data) else bytes((1, result))


def decode_get_data_result(buffer: bytes, offset: int) -> tuple[Data | DataAccessResult, int]:
    choice = buffer[offset]
    if choice == 0:
        return decode_data(buffer, offset + 1)
    if choice == 1:
        return DATA_ACCESS_RESULTS[buffer[offset + 1]], offset + 2
    raise DecodeError(f"0x{choice:02X} at {offset} is neither data nor a result")


def encode_get_data_results(results: list[Data | DataAccessResult]) -> bytes:
    """The list of a with-list answer; also what its blocks carry."""
    return encode_length(len(results)) + b"".join(map(encode_get_data_result, results))


def decode_get_data_results(buffer: bytes, offset: int) -> tuple[list[Data | DataAccessResult], int]:
    count, offset = decode_count(buffer, offset, 2)
    results = []
    for _ in range(count):
        result, offset = decode_get_data_result(buffer, offset)
        results.append(result)
    return results, offset
