"""The general-block-transfer APDU: a piece of any other APDU, with numbers both ways (catalogue 1.16)."""

import struct
from typing import Final

import msgspec

from metercast.dlms.axdr import encode_length, expect_end, take_octets
from metercast.dlms.errors import DecodeError, EncodeError

GENERAL_BLOCK_TRANSFER: Final = 0xE0
MAX_WINDOW: Final = 63
MAX_NUMBER: Final = 0xFFFF

_HEAD = struct.Struct(">BBHH")
_LAST, _STREAMING, _WINDOW = 0x80, 0x40, 0x3F


class GeneralBlock(msgspec.Struct, frozen=True, kw_only=True):
    """`streaming`: more blocks follow without a word of the other side, which is not `last`'s case.

    `window` is how many blocks the sender takes at once, 0 where it takes no blocks; `acknowledged` the number of the
    last block that it received with none missing before it. Without `data` a block only acknowledges.
    """

    last: bool
    streaming: bool
    window: int
    number: int
    acknowledged: int
    data: bytes

    def encode(self) -> bytes:
        """EncodeError where a number does not fit its field."""
        if not 0 <= self.window <= MAX_WINDOW:
            raise EncodeError(f"a window of {self.window} blocks")
        control = (_LAST if self.last else 0) | (_STREAMING if self.streaming else 0) | self.window
        try:
            head = _HEAD.pack(GENERAL_BLOCK_TRANSFER, control, self.number, self.acknowledged)
        except struct.error as exc:
            raise EncodeError(f"block number {self.number}, acknowledging {self.acknowledged}") from exc
        return head + encode_length(len(self.data)) + self.data


def decode_general_block(apdu: bytes) -> GeneralBlock:
    try:
        tag, control, number, acknowledged = _HEAD.unpack_from(apdu)
        data, offset = take_octets(apdu, _HEAD.size)
    except (IndexError, struct.error):
        raise DecodeError("a general-block-transfer ends too early") from None
    if tag != GENERAL_BLOCK_TRANSFER:
        raise DecodeError(f"0x{tag:02X} is not a general-block-transfer")
    expect_end(apdu, offset, "a general-block-transfer")
    return GeneralBlock(
        last=bool(control & _LAST),
        streaming=bool(control & _STREAMING),
        window=control & _WINDOW,
        number=number,
        acknowledged=acknowledged,
        data=data,
    )


def room_for_data(size: int) -> int:
    """Octets of data that fit a general-block-transfer APDU of `size` octets; below 1 where none do."""
    room = size - _HEAD.size
    return room - len(encode_length(max(0, room)))
