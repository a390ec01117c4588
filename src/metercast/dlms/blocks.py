"""The block forms that GET, SET and ACTION share: last-block, block-number, raw-data (IEC 62056-5-3 DataBlock)."""

import struct
from collections.abc import Sequence

import msgspec

from metercast.dlms.axdr import decode_length, encode_length, take_octets
from metercast.dlms.cosem import CosemAttribute, Selection, decode_attribute, decode_selection, encode_selection
from metercast.dlms.errors import DecodeError, EncodeError

_HEAD = struct.Struct(">BI")
NUMBER = struct.Struct(">I")


class Block(msgspec.Struct, frozen=True):
    """One piece of a request or answer; numbers begin with 1."""

    last: bool
    number: int
    raw: bytes

    def encode(self) -> bytes:
        return encode_block_head(self.last, self.number) + encode_length(len(self.raw)) + self.raw


def encode_block_head(last: bool, number: int) -> bytes:
    try:
        return _HEAD.pack(last, number)
    except struct.error as exc:
        raise EncodeError(f"block number {number}") from exc


def decode_block_head(buffer: bytes, offset: int) -> tuple[bool, int, int]:
    """(last, number, offset behind them)."""
    last, number = _HEAD.unpack_from(buffer, offset)
    return last != 0, number, offset + 5


def decode_block(buffer: bytes, offset: int) -> tuple[Block, int]:
    last, number, offset = decode_block_head(buffer, offset)
    raw, offset = take_octets(buffer, offset)
    return Block(last, number, raw), offset


SelectedAttribute = tuple[CosemAttribute, Selection | None]


def encode_attributes(items: Sequence[SelectedAttribute]) -> bytes:
    """A list of attributes, each with its selective access."""
    return encode_length(len(items)) + b"".join(
        attribute.encode() + encode_selection(selection) for attribute, selection in items
    )


def decode_attributes(buffer: bytes, offset: int) -> tuple[list[SelectedAttribute], int]:
    count, offset = decode_count(buffer, offset, 10)
    items: list[SelectedAttribute] = []
    for _ in range(count):
        attribute, offset = decode_attribute(buffer, offset)
        selection, offset = decode_selection(buffer, offset)
        items.append((attribute, selection))
    return items, offset


def decode_count(buffer: bytes, offset: int, least: int) -> tuple[int, int]:
    """How many items follow, each of at least `least` octets."""
    count, offset = decode_length(buffer, offset)
    if count * least > len(buffer) - offset:
        raise DecodeError(f"{count} items at {offset}, {len(buffer) - offset} octets remain")
    return count, offset
