"""The bodies of the simple data types: what follows the tag, which a compact-array leaves out."""

import struct
from collections.abc import Callable
from struct import Struct
from typing import Any

from metercast.dlms.axdr import decode_length, encode_length, take, take_octets
from metercast.dlms.data_types import DONT_CARE, NULL, BitString, Data, Tag
from metercast.dlms.errors import DecodeError, EncodeError

_FORMATS = {
    Tag.DOUBLE_LONG: ">i",
    Tag.DOUBLE_LONG_UNSIGNED: ">I",
    Tag.BCD: ">B",
    Tag.INTEGER: ">b",
    Tag.LONG: ">h",
    Tag.UNSIGNED: ">B",
    Tag.LONG_UNSIGNED: ">H",
    Tag.LONG64: ">q",
    Tag.LONG64_UNSIGNED: ">Q",
    Tag.ENUM: ">B",
    Tag.FLOAT32: ">f",
    Tag.FLOAT64: ">d",
    Tag.DELTA_INTEGER: ">b",
    Tag.DELTA_LONG: ">h",
    Tag.DELTA_DOUBLE_LONG: ">i",
    Tag.DELTA_UNSIGNED: ">B",
    Tag.DELTA_LONG_UNSIGNED: ">H",
    Tag.DELTA_DOUBLE_LONG_UNSIGNED: ">I",
}
_RAW_SIZES = {Tag.DATE_TIME: 12, Tag.DATE: 5, Tag.TIME: 4}

NUMERIC: dict[int, tuple[Tag, Callable[[bytes, int], tuple[Any, ...]], int, Callable[..., bytes]]] = {
    int(tag): (tag, Struct(layout).unpack_from, Struct(layout).size + 1, Struct(f">B{layout[1]}").pack)
    for tag, layout in _FORMATS.items()
}
"""Of a type of fixed size: its tag, how its body is unpacked; its size with the tag, how it is packed with the tag."""
TAGS: dict[int, Tag] = {int(tag): tag for tag in Tag}


def tag_at(buffer: bytes, offset: int) -> Tag:
    tag = TAGS.get(buffer[offset])
    if tag is None:
        raise DecodeError(f"0x{buffer[offset]:02X} at {offset} is no tag of a data type")
    return tag


def decode_scalar(tag: Tag, buffer: bytes, offset: int) -> tuple[Data, int]:
    """(Data, offset behind it) of a simple type's body at `offset`.

    IndexError or struct.error where the buffer ends; callers turn them into a DecodeError.
    """
    numeric = NUMERIC.get(tag)
    if numeric is not None:
        return Data(tag, numeric[1](buffer, offset)[0]), offset + numeric[2] - 1
    return _BODIES[tag](buffer, offset)


def _decode_octets(buffer: bytes, offset: int) -> tuple[Data, int]:
    octets, offset = take_octets(buffer, offset)
    return Data(Tag.OCTET_STRING, octets), offset


def _decode_visible(buffer: bytes, offset: int) -> tuple[Data, int]:
    octets, offset = take_octets(buffer, offset)
    return Data(Tag.VISIBLE_STRING, octets.decode("latin-1")), offset


def _decode_utf8(buffer: bytes, offset: int) -> tuple[Data, int]:
    octets, offset = take_octets(buffer, offset)
    try:
        return Data(Tag.UTF8_STRING, octets.decode()), offset
    except UnicodeDecodeError:
        return Data(Tag.UTF8_STRING, octets), offset


def _decode_bits(buffer: bytes, offset: int) -> tuple[Data, int]:
    length, offset = decode_length(buffer, offset)
    octets, offset = take(buffer, offset, (length + 7) // 8)
    return Data(Tag.BIT_STRING, BitString(length, octets)), offset


def _decode_boolean(buffer: bytes, offset: int) -> tuple[Data, int]:
    return Data(Tag.BOOLEAN, buffer[offset] != 0), offset + 1


def _raw_decoder(tag: Tag, size: int) -> Callable[[bytes, int], tuple[Data, int]]:
    def decode(buffer: bytes, offset: int) -> tuple[Data, int]:
        octets, offset = take(buffer, offset, size)
        return Data(tag, octets), offset

    return decode


_BODIES: dict[Tag, Callable[[bytes, int], tuple[Data, int]]] = {
    Tag.OCTET_STRING: _decode_octets,
    Tag.VISIBLE_STRING: _decode_visible,
    Tag.UTF8_STRING: _decode_utf8,
    Tag.BIT_STRING: _decode_bits,
    Tag.BOOLEAN: _decode_boolean,
    Tag.NULL_DATA: lambda buffer, offset: (NULL, offset),
    Tag.DONT_CARE: lambda buffer, offset: (DONT_CARE, offset),
    **{tag: _raw_decoder(tag, size) for tag, size in _RAW_SIZES.items()},
}


def encode_scalar(tag: Tag, value: Any) -> bytes:
    """The body of a simple type; EncodeError where the value does not fit it."""
    numeric = NUMERIC.get(tag)
    try:
        if numeric is not None:
            return numeric[3](tag, value)[1:]
        return _encode_body(tag, value)
    except (struct.error, OverflowError, TypeError, UnicodeEncodeError, AttributeError, ValueError) as exc:
        raise EncodeError(f"{tag.label} can't hold {_shown(value)}") from exc


def _encode_body(tag: Tag, value: Any) -> bytes:
    if tag is Tag.OCTET_STRING or (tag is Tag.UTF8_STRING and isinstance(value, bytes)):
        body = bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else _refuse(tag, value)
        return encode_length(len(body)) + body
    if tag is Tag.VISIBLE_STRING or tag is Tag.UTF8_STRING:
        body = str.encode(value, "latin-1" if tag is Tag.VISIBLE_STRING else "utf-8")
        return encode_length(len(body)) + body
    if tag is Tag.NULL_DATA or tag is Tag.DONT_CARE:
        return b"" if value is None else _refuse(tag, value)
    if tag is Tag.BOOLEAN:
        return (b"\x01" if value else b"\x00") if isinstance(value, bool) else _refuse(tag, value)
    if tag is Tag.BIT_STRING:
        if len(value.octets) != (value.length + 7) // 8:
            raise EncodeError(f"a bit-string of {value.length} bits does not fill {len(value.octets)} octets")
        return encode_length(value.length) + bytes(value.octets)
    size = _RAW_SIZES.get(tag)
    if size is None or not isinstance(value, bytes) or len(value) != size:
        return _refuse(tag, value)
    return value


def _refuse(tag: Tag, value: Any) -> bytes:
    raise EncodeError(f"{tag.label} can't hold {_shown(value)}")


def _shown(value: Any) -> str:
    """Numbers only: strings may be secrets."""
    return repr(value)[:40] if isinstance(value, (int, float)) else f"a value of type {type(value).__name__}"
