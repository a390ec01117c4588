"""A-XDR of Data (IEC 62056-5-3; tags in catalogue 3.1), both ways."""

import struct

from metercast.dlms.axdr import decode_length, encode_length, expect_end
from metercast.dlms.compact_array import (
    MAX_DEPTH,
    MAX_VALUES,
    decode_compact_array,
    encode_compact_array,
    spend,
)
from metercast.dlms.data_types import (
    DONT_CARE,
    NULL,
    BitString,
    CompactArray,
    Data,
    Tag,
    TypeDescription,
)
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.scalars import NUMERIC, decode_scalar, encode_scalar, tag_at

__all__ = [
    "DONT_CARE",
    "MAX_DEPTH",
    "MAX_VALUES",
    "NULL",
    "BitString",
    "CompactArray",
    "Data",
    "Tag",
    "TypeDescription",
    "decode_data",
    "decode_whole",
    "encode_data",
]


def decode_data(buffer: bytes, offset: int = 0) -> tuple[Data, int]:
    """(Data, offset behind it). DecodeError: truncated, unknown tag, deeper than MAX_DEPTH, more than MAX_VALUES."""
    try:
        return _decode(buffer, offset, 0, [MAX_VALUES])
    except (IndexError, struct.error):
        raise DecodeError(f"the data ends inside a value; {len(buffer)} octets") from None


def decode_whole(buffer: bytes) -> Data:
    """The one Data that fills `buffer`; DecodeError also where octets are left over."""
    data, offset = decode_data(buffer)
    expect_end(buffer, offset, "a Data")
    return data


def _decode(buffer: bytes, offset: int, depth: int, budget: list[int]) -> tuple[Data, int]:
    """One value of any type, whose tag is at `offset`.

    Tags are plain numbers here and below: to name a member of an enum costs more than to read an octet.
    """
    kind = buffer[offset]
    if kind == 9 and buffer[offset + 1] < 0x80 and (end := offset + 2 + buffer[offset + 1]) <= len(buffer):
        return Data(_OCTET_STRING, buffer[offset + 2 : end]), end
    tag = tag_at(buffer, offset)
    if tag == 1 or tag == 2:
        return _decode_container(tag, buffer, offset + 1, depth + 1, budget)
    if tag == 19:
        value, offset = decode_compact_array(buffer, offset + 1, budget)
        return Data(tag, value), offset
    return decode_scalar(tag, buffer, offset + 1)


def _decode_container(tag: Tag, buffer: bytes, offset: int, depth: int, budget: list[int]) -> tuple[Data, int]:
    """Numbers, short octet-strings and containers, of which profiles and tables consist, cost no call of their own."""
    if depth > MAX_DEPTH:
        raise DecodeError(f"data nested deeper than {MAX_DEPTH}")
    size = len(buffer)
    count = buffer[offset]
    offset += 1
    if count >= 0x80:
        count, offset = decode_length(buffer, offset - 1)
    if count > size - offset:  # every element takes at least its tag
        raise DecodeError(f"{tag.label} of {count} elements at {offset}, {size - offset} octets remain")
    spend(budget, count)
    elements: list[Data] = []
    append = elements.append
    for _ in range(count):
        kind = buffer[offset]
        numeric = NUMERIC.get(kind)
        if numeric is not None:
            append(Data(numeric[0], numeric[1](buffer, offset + 1)[0]))
            offset += numeric[2]
        elif kind == 9 and (end := offset + 2 + buffer[offset + 1]) <= size and buffer[offset + 1] < 0x80:
            append(Data(_OCTET_STRING, buffer[offset + 2 : end]))
            offset = end
        elif kind == 1 or kind == 2:
            container, offset = _decode_container(_CONTAINERS[kind], buffer, offset + 1, depth + 1, budget)
            append(container)
        else:
            element, offset = _decode(buffer, offset, depth, budget)
            append(element)
    return Data(tag, elements), offset


_OCTET_STRING = Tag.OCTET_STRING
_CONTAINERS = (Tag.NULL_DATA, Tag.ARRAY, Tag.STRUCTURE)


def encode_data(data: Data) -> bytes:
    """The octets of `data`; EncodeError where a value does not fit its tag or nests deeper than MAX_DEPTH."""
    parts: list[bytes] = []
    _encode(data, parts, 0)
    return b"".join(parts)


def _encode(data: Data, parts: list[bytes], depth: int) -> None:
    tag, value = data.tag, data.value
    if tag == 1 or tag == 2:
        if depth >= MAX_DEPTH:
            raise EncodeError(f"data nested deeper than {MAX_DEPTH}")
        count = len(value)
        parts.append(bytes((tag, count)) if count < 0x80 else bytes((tag,)) + encode_length(count))
        for element in value:
            kind = element.tag
            numeric = NUMERIC.get(kind)
            if numeric is None:
                octets = element.value
                if kind == 9 and type(octets) is bytes and len(octets) < 0x80:
                    parts.append(bytes((9, len(octets))) + octets)
                else:
                    _encode(element, parts, depth + 1)
                continue
            try:
                parts.append(numeric[3](kind, element.value))
            except (struct.error, OverflowError):
                encode_scalar(element.tag, element.value)  # says what is wrong
                raise
    elif tag == 9 and type(value) is bytes and len(value) < 0x80:
        parts.append(bytes((9, len(value))) + value)
    elif tag == 19:
        parts.append(b"\x13" + encode_compact_array(value))
    else:
        parts.append(bytes((tag,)) + encode_scalar(tag, value))
