"""Compact arrays: one type description, then the packed values without tags (catalogue 3.3)."""

from metercast.dlms.axdr import decode_length, encode_length, take_octets
from metercast.dlms.data_types import CompactArray, Data, Tag, TypeDescription
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.scalars import decode_scalar, encode_scalar, tag_at

MAX_DEPTH = 32
MAX_VALUES = 250_000
"""How many values one decoded Data may hold in all; a larger one is refused, whatever its octets claim."""


def decode_compact_array(buffer: bytes, offset: int, budget: list[int]) -> tuple[CompactArray, int]:
    """(value, offset behind it) of the body at `offset`; takes each value out of `budget[0]`."""
    element, offset = decode_type(buffer, offset, 0, budget)
    contents, offset = take_octets(buffer, offset)
    values: list[Data] = []
    at = 0
    while at < len(contents):
        value, behind = _decode_packed(element, contents, at, budget)
        if behind == at:
            raise DecodeError("a compact-array's element type takes no octets, its contents do")
        values.append(value)
        at = behind
    return CompactArray(element, values), offset


def decode_type(buffer: bytes, offset: int, depth: int, budget: list[int]) -> tuple[TypeDescription, int]:
    spend(budget, 1)
    if depth >= MAX_DEPTH:
        raise DecodeError(f"a type description nested deeper than {MAX_DEPTH}")
    tag = tag_at(buffer, offset)
    offset += 1
    if tag is Tag.ARRAY:
        count = buffer[offset] << 8 | buffer[offset + 1]
        part, offset = decode_type(buffer, offset + 2, depth + 1, budget)
        return TypeDescription(tag, count, (part,)), offset
    if tag is Tag.STRUCTURE:
        count, offset = decode_length(buffer, offset)
        parts = []
        for _ in range(count):
            part, offset = decode_type(buffer, offset, depth + 1, budget)
            parts.append(part)
        return TypeDescription(tag, count, tuple(parts)), offset
    if tag is Tag.COMPACT_ARRAY:
        raise DecodeError("a compact-array can't hold compact-arrays")
    return TypeDescription(tag), offset


def _decode_packed(element: TypeDescription, contents: bytes, at: int, budget: list[int]) -> tuple[Data, int]:
    spend(budget, 1)
    tag = element.tag
    if tag is Tag.STRUCTURE:
        parts = element.parts
    elif tag is Tag.ARRAY:
        if element.size > budget[0]:
            raise DecodeError(f"more than {MAX_VALUES} values in one Data")
        parts = element.parts * element.size
    else:
        return decode_scalar(tag, contents, at)
    values = []
    for part in parts:
        value, at = _decode_packed(part, contents, at, budget)
        values.append(value)
    return Data(tag, values), at


def spend(budget: list[int], values: int) -> None:
    budget[0] -= values
    if budget[0] < 0:
        raise DecodeError(f"more than {MAX_VALUES} values in one Data")


def encode_compact_array(value: CompactArray) -> bytes:
    """The body; EncodeError where a value is not of the array's type."""
    packed = b"".join(_encode_packed(value.element, element) for element in value.values)
    return encode_type(value.element, 0) + encode_length(len(packed)) + packed


def encode_type(element: TypeDescription, depth: int) -> bytes:
    if depth >= MAX_DEPTH:
        raise EncodeError(f"a type description nested deeper than {MAX_DEPTH}")
    if element.tag is Tag.ARRAY:
        if not 0 <= element.size <= 0xFFFF or len(element.parts) != 1:
            raise EncodeError("an array's type description has one part and a size of 0 to 65535")
        head = bytes((Tag.ARRAY,)) + element.size.to_bytes(2, "big")
    elif element.tag is Tag.STRUCTURE:
        if element.size != len(element.parts):
            raise EncodeError("a structure's type description has as many parts as its size")
        head = bytes((Tag.STRUCTURE,)) + encode_length(element.size)
    elif element.tag is Tag.COMPACT_ARRAY:
        raise EncodeError("a compact-array can't hold compact-arrays")
    else:
        head = bytes((element.tag,))
    return head + b"".join(encode_type(part, depth + 1) for part in element.parts)


def _encode_packed(element: TypeDescription, data: Data) -> bytes:
    if data.tag is not element.tag:
        raise EncodeError(f"a compact-array of {element.tag.label} can't hold {data.tag.label}")
    if element.tag is Tag.ARRAY or element.tag is Tag.STRUCTURE:
        parts = element.parts if element.tag is Tag.STRUCTURE else element.parts * element.size
        if len(data.value) != len(parts):
            raise EncodeError(f"{len(parts)} elements were expected, not {len(data.value)}")
        return b"".join(map(_encode_packed, parts, data.value))
    return encode_scalar(data.tag, data.value)
