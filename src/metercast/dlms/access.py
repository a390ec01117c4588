"""The ACCESS service: several reads, writes and invocations in one request, each with its result (catalogue 1.16)."""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from metercast.dlms.axdr import encode_length, expect_end, take_octets
from metercast.dlms.blocks import decode_count
from metercast.dlms.cosem import (
    CosemAttribute,
    CosemMethod,
    Selection,
    decode_attribute,
    decode_method,
    decode_presence,
    encode_bare_selection,
)
from metercast.dlms.data import Data, decode_data
from metercast.dlms.errors import DecodeError
from metercast.dlms.notification import LONG_INVOKE, encode_long_invoke
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.set import decode_values, encode_values

ACCESS_REQUEST: Final = 0xD9
ACCESS_RESPONSE: Final = 0xDA

HIGH_PRIORITY: Final = 1 << 31
CONFIRMED: Final = 1 << 30
BREAK_ON_ERROR: Final = 1 << 29
SELF_DESCRIPTIVE: Final = 1 << 28
INVOKE_ID: Final = (1 << 24) - 1
"""The parts of long-invoke-id-and-priority."""


class AccessKind(IntEnum):
    GET = 1
    SET = 2
    ACTION = 3
    GET_WITH_SELECTION = 4
    SET_WITH_SELECTION = 5


class AccessSpecification(msgspec.Struct, frozen=True):
    """What is wanted of what; a selection belongs to the kinds that say so, and to no other."""

    kind: AccessKind
    target: CosemAttribute | CosemMethod
    selection: Selection | None = None

    def encode(self) -> bytes:
        return bytes((self.kind,)) + self.target.encode() + encode_bare_selection(self.selection)


class AccessRequest(msgspec.Struct, frozen=True):
    """One value for each specification, null-data where none is due. `time` is empty where it is left out."""

    invoke: int  # long-invoke-id-and-priority
    specifications: list[AccessSpecification]
    values: list[Data]
    time: bytes = b""

    def encode(self) -> bytes:
        head = _encode_head(ACCESS_REQUEST, self.invoke, self.time)
        return head + _encode_specifications(self.specifications) + encode_values(self.values)


class AccessResponse(msgspec.Struct, frozen=True):
    """One value and one result for each specification, null-data where nothing is returned.

    `specifications` are those of the request, where it asked for an answer that describes itself.
    """

    invoke: int
    values: list[Data]
    results: "list[AccessItemResult]"
    time: bytes = b""
    specifications: list[AccessSpecification] | None = None

    def encode(self) -> bytes:
        described = self.specifications
        asked = b"\x00" if described is None else b"\x01" + _encode_specifications(described)
        results = b"".join(bytes((each.kind, each.result)) for each in self.results)
        head = _encode_head(ACCESS_RESPONSE, self.invoke, self.time)
        return head + asked + encode_values(self.values) + encode_length(len(self.results)) + results


class AccessItemResult(msgspec.Struct, frozen=True):
    """`kind` is GET, SET or ACTION."""

    kind: AccessKind
    result: DataAccessResult | ActionResultCode


def decode_access_request(apdu: bytes) -> AccessRequest:
    try:
        invoke, time, offset = _decode_head(apdu, ACCESS_REQUEST, "an access-request")
        specifications, offset = _decode_specifications(apdu, offset)
        values, offset = decode_values(apdu, offset)
    except (IndexError, struct.error):
        raise DecodeError("an access-request ends too early") from None
    expect_end(apdu, offset, "an access-request")
    return AccessRequest(invoke, specifications, values, time)


def decode_access_response(apdu: bytes) -> AccessResponse:
    try:
        invoke, time, offset = _decode_head(apdu, ACCESS_RESPONSE, "an access-response")
        specifications, offset = None, offset + 1
        if decode_presence(apdu, offset - 1):
            specifications, offset = _decode_specifications(apdu, offset)
        values, offset = decode_values(apdu, offset)
        count, offset = decode_count(apdu, offset, 2)
        results = []
        for _ in range(count):
            results.append(_item_result(apdu[offset], apdu[offset + 1]))
            offset += 2
    except (IndexError, struct.error):
        raise DecodeError("an access-response ends too early") from None
    expect_end(apdu, offset, "an access-response")
    return AccessResponse(invoke, values, results, time, specifications)


def _item_result(kind: int, code: int) -> AccessItemResult:
    if kind == AccessKind.ACTION:
        return AccessItemResult(AccessKind.ACTION, ActionResultCode(code))
    if kind in (AccessKind.GET, AccessKind.SET):
        return AccessItemResult(AccessKind(kind), DataAccessResult(code))
    raise DecodeError(f"an access-response of kind {kind}")


def _encode_head(tag: int, invoke: int, time: bytes) -> bytes:
    return bytes((tag,)) + encode_long_invoke(invoke) + encode_length(len(time)) + time


def _decode_head(apdu: bytes, tag: int, what: str) -> tuple[int, bytes, int]:
    if apdu[0] != tag:
        raise DecodeError(f"0x{apdu[0]:02X} is not {what}")
    time, offset = take_octets(apdu, 5)
    return LONG_INVOKE.unpack_from(apdu, 1)[0], time, offset


def _encode_specifications(specifications: Sequence[AccessSpecification]) -> bytes:
    return encode_length(len(specifications)) + b"".join(each.encode() for each in specifications)


def _decode_specifications(apdu: bytes, offset: int) -> tuple[list[AccessSpecification], int]:
    count, offset = decode_count(apdu, offset, 10)
    specifications = []
    for _ in range(count):
        number = apdu[offset]
        if not 1 <= number <= 5:
            raise DecodeError(f"an access-specification of kind {number}")
        kind = AccessKind(number)
        target: CosemAttribute | CosemMethod
        selection = None
        if kind is AccessKind.ACTION:
            target, offset = decode_method(apdu, offset + 1)
        else:
            target, offset = decode_attribute(apdu, offset + 1)
        if kind in (AccessKind.GET_WITH_SELECTION, AccessKind.SET_WITH_SELECTION):
            parameters, behind = decode_data(apdu, offset + 1)
            selection, offset = Selection(apdu[offset], parameters), behind
        specifications.append(AccessSpecification(kind, target, selection))
    return specifications, offset
