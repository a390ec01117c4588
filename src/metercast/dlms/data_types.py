"""The values of COSEM attributes: `Data` is a tag and a Python value (catalogue 3.1, IEC 62056-5-3 table of Data)."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from metercast.dlms.errors import DecodeError, EncodeError


class Tag(IntEnum):
    NULL_DATA = 0
    ARRAY = 1
    STRUCTURE = 2
    BOOLEAN = 3
    BIT_STRING = 4
    DOUBLE_LONG = 5
    DOUBLE_LONG_UNSIGNED = 6
    OCTET_STRING = 9
    VISIBLE_STRING = 10
    UTF8_STRING = 12
    BCD = 13
    INTEGER = 15
    LONG = 16
    UNSIGNED = 17
    LONG_UNSIGNED = 18
    COMPACT_ARRAY = 19
    LONG64 = 20
    LONG64_UNSIGNED = 21
    ENUM = 22
    FLOAT32 = 23
    FLOAT64 = 24
    DATE_TIME = 25
    DATE = 26
    TIME = 27
    DELTA_INTEGER = 28
    DELTA_LONG = 29
    DELTA_DOUBLE_LONG = 30
    DELTA_UNSIGNED = 31
    DELTA_LONG_UNSIGNED = 32
    DELTA_DOUBLE_LONG_UNSIGNED = 33
    DONT_CARE = 255

    @property
    def label(self) -> str:
        """The standard's name, as in "double-long-unsigned"."""
        return self.name.lower().replace("_", "-")


NUMBERS = frozenset(
    {
        *(Tag.DOUBLE_LONG, Tag.DOUBLE_LONG_UNSIGNED, Tag.BCD, Tag.INTEGER, Tag.LONG, Tag.UNSIGNED),
        *(Tag.LONG_UNSIGNED, Tag.LONG64, Tag.LONG64_UNSIGNED, Tag.ENUM, Tag.DELTA_INTEGER, Tag.DELTA_LONG),
        *(Tag.DELTA_DOUBLE_LONG, Tag.DELTA_UNSIGNED, Tag.DELTA_LONG_UNSIGNED, Tag.DELTA_DOUBLE_LONG_UNSIGNED),
    }
)
"""The tags whose value is an int."""


class BitString(NamedTuple):
    """`length` bits in `octets`, the first bit being the highest of the first octet."""

    length: int
    octets: bytes

    @classmethod
    def of(cls, bits: str | Iterable[bool]) -> "BitString":
        """From "0110" or from booleans."""
        text = bits if isinstance(bits, str) else "".join("1" if bit else "0" for bit in bits)
        if not set(text) <= {"0", "1"}:
            raise EncodeError(f"a bit-string is written with 0 and 1, not {text[:40]!r}")
        size = (len(text) + 7) // 8
        return cls(len(text), int(text.ljust(size * 8, "0") or "0", 2).to_bytes(size, "big"))

    @property
    def bits(self) -> str:
        return "".join(f"{octet:08b}" for octet in self.octets)[: self.length]


class TypeDescription(NamedTuple):
    """The type of a compact-array's elements: of an array its size and one part, of a structure its parts."""

    tag: Tag
    size: int = 0
    parts: "tuple[TypeDescription, ...]" = ()


class CompactArray(NamedTuple):
    """Elements of one type, which is written once (catalogue 3.3)."""

    element: TypeDescription
    values: "list[Data]"


class Data(msgspec.Struct, frozen=True, gc=False):
    """A tag and its value, without loss.

    array and structure: `list[Data]`; octet-string: bytes; visible-string: str (ISO 8859-1, so that any octet
    survives); utf8-string: str, or bytes where the octets are no UTF-8; bit-string: `BitString`; compact-array:
    `CompactArray`; date-time, date, time: their 12, 5, 4 octets; null-data and dont-care: None; else a bool, an int
    or a float.
    """

    tag: Tag
    value: Any

    @staticmethod
    def null() -> "Data":
        return NULL

    @staticmethod
    def array(elements: "Iterable[Data]") -> "Data":
        return Data(Tag.ARRAY, list(elements))

    @staticmethod
    def structure(elements: "Iterable[Data]") -> "Data":
        return Data(Tag.STRUCTURE, list(elements))

    @staticmethod
    def compact_array(element: TypeDescription, values: "Iterable[Data]") -> "Data":
        return Data(Tag.COMPACT_ARRAY, CompactArray(element, list(values)))

    @staticmethod
    def boolean(value: bool) -> "Data":
        return Data(Tag.BOOLEAN, value)

    @staticmethod
    def bit_string(bits: str | Iterable[bool]) -> "Data":
        return Data(Tag.BIT_STRING, BitString.of(bits))

    @staticmethod
    def octets(value: bytes) -> "Data":
        return Data(Tag.OCTET_STRING, bytes(value))

    @staticmethod
    def visible_string(value: str) -> "Data":
        return Data(Tag.VISIBLE_STRING, value)

    @staticmethod
    def utf8_string(value: str) -> "Data":
        return Data(Tag.UTF8_STRING, value)

    @staticmethod
    def bcd(value: int) -> "Data":
        return Data(Tag.BCD, value)

    @staticmethod
    def integer(value: int) -> "Data":
        return Data(Tag.INTEGER, value)

    @staticmethod
    def long(value: int) -> "Data":
        return Data(Tag.LONG, value)

    @staticmethod
    def double_long(value: int) -> "Data":
        return Data(Tag.DOUBLE_LONG, value)

    @staticmethod
    def long64(value: int) -> "Data":
        return Data(Tag.LONG64, value)

    @staticmethod
    def unsigned(value: int) -> "Data":
        return Data(Tag.UNSIGNED, value)

    @staticmethod
    def long_unsigned(value: int) -> "Data":
        return Data(Tag.LONG_UNSIGNED, value)

    @staticmethod
    def double_long_unsigned(value: int) -> "Data":
        return Data(Tag.DOUBLE_LONG_UNSIGNED, value)

    @staticmethod
    def long64_unsigned(value: int) -> "Data":
        return Data(Tag.LONG64_UNSIGNED, value)

    @staticmethod
    def enum(value: int) -> "Data":
        return Data(Tag.ENUM, value)

    @staticmethod
    def float32(value: float) -> "Data":
        return Data(Tag.FLOAT32, value)

    @staticmethod
    def float64(value: float) -> "Data":
        return Data(Tag.FLOAT64, value)

    @staticmethod
    def date_time(octets: bytes) -> "Data":
        return Data(Tag.DATE_TIME, bytes(octets))

    @staticmethod
    def date(octets: bytes) -> "Data":
        return Data(Tag.DATE, bytes(octets))

    @staticmethod
    def time(octets: bytes) -> "Data":
        return Data(Tag.TIME, bytes(octets))

    def number(self) -> int:
        """The value of any integer type; DecodeError where it is another type."""
        if self.tag not in NUMBERS:
            raise DecodeError(f"a number was expected, not {self.tag.label}")
        return int(self.value)

    def truth(self) -> bool:
        """The value of a boolean; DecodeError where it is another type."""
        if self.tag is not Tag.BOOLEAN:
            raise DecodeError(f"a boolean was expected, not {self.tag.label}")
        return bool(self.value)

    def octet_string(self, length: int | None = None) -> bytes:
        """The octets of an octet-string, date-time, date or time; DecodeError at another type or length."""
        if self.tag not in _OCTETS:
            raise DecodeError(f"an octet-string was expected, not {self.tag.label}")
        octets: bytes = self.value
        if length is not None and len(octets) != length:
            raise DecodeError(f"an octet-string of {length} octets was expected, not of {len(octets)}")
        return octets

    def elements(self, count: int | None = None) -> "list[Data]":
        """The elements of an array, structure or compact-array; DecodeError at another type or count."""
        if self.tag is Tag.COMPACT_ARRAY:
            elements: list[Data] = self.value.values
        elif self.tag is Tag.ARRAY or self.tag is Tag.STRUCTURE:
            elements = self.value
        else:
            raise DecodeError(f"an array or structure was expected, not {self.tag.label}")
        if count is not None and len(elements) != count:
            raise DecodeError(f"{count} elements were expected, not {len(elements)}")
        return elements


_OCTETS = frozenset({Tag.OCTET_STRING, Tag.DATE_TIME, Tag.DATE, Tag.TIME})
NULL = Data(Tag.NULL_DATA, None)
DONT_CARE = Data(Tag.DONT_CARE, None)
