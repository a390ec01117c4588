"""ACTION: requests and responses of every form (catalogue 1.16)."""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from metercast.dlms.axdr import encode_length, expect_end
from metercast.dlms.blocks import NUMBER, Block, decode_block, decode_count
from metercast.dlms.cosem import CosemMethod, decode_method, decode_presence
from metercast.dlms.data import Data, decode_data, encode_data
from metercast.dlms.errors import DecodeError
from metercast.dlms.get import decode_get_data_result, encode_get_data_result
from metercast.dlms.results import ACTION_RESULTS, ActionResultCode, DataAccessResult
from metercast.dlms.set import decode_values, encode_values

ACTION_REQUEST: Final = 0xC3
ACTION_RESPONSE: Final = 0xC7


class ActionRequestNormal(msgspec.Struct, frozen=True):
    invoke: int  # invoke-id-and-priority
    method: CosemMethod
    parameter: Data | None = None

    def encode(self) -> bytes:
        parameter = b"\x00" if self.parameter is None else b"\x01" + encode_data(self.parameter)
        return bytes((ACTION_REQUEST, 1, self.invoke)) + self.method.encode() + parameter


class ActionRequestNext(msgspec.Struct, frozen=True):
    """Asks for the block of the answer behind `block`."""

    invoke: int
    block: int

    def encode(self) -> bytes:
        return bytes((ACTION_REQUEST, 2, self.invoke)) + NUMBER.pack(self.block)


class ActionRequestList(msgspec.Struct, frozen=True):
    """One parameter for each method, null-data where a method takes none."""

    invoke: int
    methods: list[CosemMethod]
    parameters: list[Data]

    def encode(self) -> bytes:
        return bytes((ACTION_REQUEST, 3, self.invoke)) + _encode_methods(self.methods) + encode_values(self.parameters)


class ActionRequestFirstBlock(msgspec.Struct, frozen=True):
    """Names the method and carries the first piece of the encoded parameter."""

    invoke: int
    method: CosemMethod
    block: Block

    def encode(self) -> bytes:
        return bytes((ACTION_REQUEST, 4, self.invoke)) + self.method.encode() + self.block.encode()


class ActionRequestListFirstBlock(msgspec.Struct, frozen=True):
    """Names the methods and carries the first piece of the encoded list of parameters."""

    invoke: int
    methods: list[CosemMethod]
    block: Block

    def encode(self) -> bytes:
        return bytes((ACTION_REQUEST, 5, self.invoke)) + _encode_methods(self.methods) + self.block.encode()


class ActionRequestBlock(msgspec.Struct, frozen=True):
    invoke: int
    block: Block

    def encode(self) -> bytes:
        return bytes((ACTION_REQUEST, 6, self.invoke)) + self.block.encode()


class MethodResponse(msgspec.Struct, frozen=True):
    """The result of one method, and what it returned: nothing, data, or why there is no data."""

    result: ActionResultCode
    returned: Data | DataAccessResult | None = None

    def encode(self) -> bytes:
        returned = b"\x00" if self.returned is None else b"\x01" + encode_get_data_result(self.returned)
        return bytes((self.result,)) + returned


class ActionResponseNormal(msgspec.Struct, frozen=True):
    invoke: int
    response: MethodResponse

    def encode(self) -> bytes:
        return bytes((ACTION_RESPONSE, 1, self.invoke)) + self.response.encode()


class ActionResponseBlock(msgspec.Struct, frozen=True):
    """A piece of the encoded MethodResponse, or of the list of them."""

    invoke: int
    block: Block

    def encode(self) -> bytes:
        return bytes((ACTION_RESPONSE, 2, self.invoke)) + self.block.encode()


class ActionResponseList(msgspec.Struct, frozen=True):
    invoke: int
    responses: list[MethodResponse]

    def encode(self) -> bytes:
        responses = b"".join(response.encode() for response in self.responses)
        return bytes((ACTION_RESPONSE, 3, self.invoke)) + encode_length(len(self.responses)) + responses


class ActionResponseNext(msgspec.Struct, frozen=True):
    """Acknowledges one block of the request and asks for the next."""

    invoke: int
    block: int

    def encode(self) -> bytes:
        return bytes((ACTION_RESPONSE, 4, self.invoke)) + NUMBER.pack(self.block)


ActionRequest = (
    ActionRequestNormal
    | ActionRequestNext
    | ActionRequestList
    | ActionRequestFirstBlock
    | ActionRequestListFirstBlock
    | ActionRequestBlock
)
ActionResponse = ActionResponseNormal | ActionResponseBlock | ActionResponseList | ActionResponseNext


def decode_action_request(apdu: bytes) -> ActionRequest:
    try:
        return _decode_request(apdu)
    except (IndexError, struct.error):
        raise DecodeError("an action-request ends too early") from None


def _decode_request(apdu: bytes) -> ActionRequest:
    if apdu[0] != ACTION_REQUEST:
        raise DecodeError(f"0x{apdu[0]:02X} is not an action-request")
    form, invoke = apdu[1], apdu[2]
    request: ActionRequest
    if form == 1:
        method, offset = decode_method(apdu, 3)
        parameter = None
        offset += 1
        if decode_presence(apdu, offset - 1):
            parameter, offset = decode_data(apdu, offset)
        request = ActionRequestNormal(invoke, method, parameter)
    elif form == 2:
        request, offset = ActionRequestNext(invoke, NUMBER.unpack_from(apdu, 3)[0]), 7
    elif form == 3:
        methods, offset = _decode_methods(apdu, 3)
        parameters, offset = decode_values(apdu, offset)
        request = ActionRequestList(invoke, methods, parameters)
    elif form == 4:
        method, offset = decode_method(apdu, 3)
        block, offset = decode_block(apdu, offset)
        request = ActionRequestFirstBlock(invoke, method, block)
    elif form == 5:
        methods, offset = _decode_methods(apdu, 3)
        block, offset = decode_block(apdu, offset)
        request = ActionRequestListFirstBlock(invoke, methods, block)
    elif form == 6:
        block, offset = decode_block(apdu, 3)
        request = ActionRequestBlock(invoke, block)
    else:
        raise DecodeError(f"an action-request of form {form}")
    expect_end(apdu, offset, "an action-request")
    return request


def decode_action_response(apdu: bytes) -> ActionResponse:
    try:
        return _decode_response(apdu)
    except (IndexError, struct.error):
        raise DecodeError("an action-response ends too early") from None


def _decode_response(apdu: bytes) -> ActionResponse:
    if apdu[0] != ACTION_RESPONSE:
        raise DecodeError(f"0x{apdu[0]:02X} is not an action-response")
    form, invoke = apdu[1], apdu[2]
    response: ActionResponse
    if form == 1:
        if len(apdu) == 4:  # some meters leave out the octet that says that nothing is returned
            return ActionResponseNormal(invoke, MethodResponse(ACTION_RESULTS[apdu[3]]))
        method_response, offset = decode_method_response(apdu, 3)
        response = ActionResponseNormal(invoke, method_response)
    elif form == 2:
        block, offset = decode_block(apdu, 3)
        response = ActionResponseBlock(invoke, block)
    elif form == 3:
        responses, offset = decode_method_responses(apdu, 3)
        response = ActionResponseList(invoke, responses)
    elif form == 4:
        response, offset = ActionResponseNext(invoke, NUMBER.unpack_from(apdu, 3)[0]), 7
    else:
        raise DecodeError(f"an action-response of form {form}")
    expect_end(apdu, offset, "an action-response")
    return response


def decode_method_response(buffer: bytes, offset: int) -> tuple[MethodResponse, int]:
    result = ACTION_RESULTS[buffer[offset]]
    if not decode_presence(buffer, offset + 1):
        return MethodResponse(result), offset + 2
    returned, offset = decode_get_data_result(buffer, offset + 2)
    return MethodResponse(result, returned), offset


def decode_method_responses(buffer: bytes, offset: int) -> tuple[list[MethodResponse], int]:
    """The list of a with-list answer; also what its blocks carry."""
    count, offset = decode_count(buffer, offset, 2)
    responses = []
    for _ in range(count):
        response, offset = decode_method_response(buffer, offset)
        responses.append(response)
    return responses, offset


def decode_reassembled_response(raw: bytes) -> MethodResponse:
    """What the blocks of an answer carried together.

    The standard's form is a MethodResponse; meters are also known to send a Get-Data-Result or bare Data, which are
    taken where the first does not fit.
    """
    for decode in (decode_method_response, _decode_bare_result, _decode_bare_data):
        try:
            response, offset = decode(raw, 0)
        except (DecodeError, IndexError):
            continue
        if offset == len(raw):
            return response
    raise DecodeError(f"the blocks of an action-response carry no answer: {raw[:8].hex()}")


def _decode_bare_result(buffer: bytes, offset: int) -> tuple[MethodResponse, int]:
    returned, offset = decode_get_data_result(buffer, offset)
    return MethodResponse(ActionResultCode.SUCCESS, returned), offset


def _decode_bare_data(buffer: bytes, offset: int) -> tuple[MethodResponse, int]:
    returned, offset = decode_data(buffer, offset)
    return MethodResponse(ActionResultCode.SUCCESS, returned), offset


def _encode_methods(methods: Sequence[CosemMethod]) -> bytes:
    return encode_length(len(methods)) + b"".join(method.encode() for method in methods)


def _decode_methods(buffer: bytes, offset: int) -> tuple[list[CosemMethod], int]:
    count, offset = decode_count(buffer, offset, 9)
    methods = []
    for _ in range(count):
        method, offset = decode_method(buffer, offset)
        methods.append(method)
    return methods, offset
