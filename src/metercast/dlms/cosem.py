"""How services name attributes and methods of COSEM objects (catalogue 0)."""

import struct
from typing import NamedTuple

import msgspec

from metercast.dlms.axdr import take
from metercast.dlms.data import Data, decode_data, encode_data
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.logical_name import LogicalName

_DESCRIPTOR = struct.Struct(">H6sb")


class CosemAttribute(msgspec.Struct, frozen=True):
    class_id: int
    logical_name: LogicalName
    index: int

    def encode(self) -> bytes:
        """The descriptor's nine octets; EncodeError where a number is out of range."""
        return _encode(self)

    def __str__(self) -> str:
        return f"class {self.class_id} {self.logical_name} attribute {self.index}"


class CosemMethod(msgspec.Struct, frozen=True):
    class_id: int
    logical_name: LogicalName
    index: int

    def encode(self) -> bytes:
        """The descriptor's nine octets; EncodeError where a number is out of range."""
        return _encode(self)

    def __str__(self) -> str:
        return f"class {self.class_id} {self.logical_name} method {self.index}"


class Selection(NamedTuple):
    """Selective access: an access selector and its parameters, for profiles see catalogue 1.6."""

    selector: int
    parameters: Data


def _encode(descriptor: CosemAttribute | CosemMethod) -> bytes:
    try:
        return _DESCRIPTOR.pack(descriptor.class_id, descriptor.logical_name, descriptor.index)
    except struct.error as exc:
        raise EncodeError(f"out of range: {descriptor}") from exc


def decode_attribute(buffer: bytes, offset: int) -> tuple[CosemAttribute, int]:
    class_id, name, index = _DESCRIPTOR.unpack(take(buffer, offset, 9)[0])
    return CosemAttribute(class_id, LogicalName(name), index), offset + 9


def decode_method(buffer: bytes, offset: int) -> tuple[CosemMethod, int]:
    class_id, name, index = _DESCRIPTOR.unpack(take(buffer, offset, 9)[0])
    return CosemMethod(class_id, LogicalName(name), index), offset + 9


def encode_selection(selection: Selection | None) -> bytes:
    """The presence octet and what follows it."""
    return b"\x00" if selection is None else b"\x01" + encode_bare_selection(selection)


def encode_bare_selection(selection: Selection | None) -> bytes:
    """Without the presence octet; nothing where there is none."""
    if selection is None:
        return b""
    if not 0 <= selection.selector <= 0xFF:
        raise EncodeError(f"access selector {selection.selector} is not 0 to 255")
    return bytes((selection.selector,)) + encode_data(selection.parameters)


def decode_selection(buffer: bytes, offset: int) -> tuple[Selection | None, int]:
    if not decode_presence(buffer, offset):
        return None, offset + 1
    selector = buffer[offset + 1]
    parameters, offset = decode_data(buffer, offset + 2)
    return Selection(selector, parameters), offset


def decode_presence(buffer: bytes, offset: int) -> bool:
    """An OPTIONAL's octet: 0 absent, anything else present, as in a boolean. Only 0 and 1 are accepted."""
    octet = buffer[offset]
    if octet > 1:
        raise DecodeError(f"0x{octet:02X} at {offset} says neither present nor absent")
    return octet == 1
