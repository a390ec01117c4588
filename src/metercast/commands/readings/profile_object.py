"""Profile generic (class 7, catalogue 1.6): its columns, what may be asked of its buffer, and rows without packing."""

from collections.abc import Iterator
from typing import Final, NamedTuple, Self

from metercast.dlms.cosem import CosemAttribute, Selection
from metercast.dlms.data import Data, Tag
from metercast.dlms.errors import DecodeError
from metercast.dlms.logical_name import LogicalName

CLASS_ID: Final = 7
BUFFER, CAPTURE_OBJECTS, CAPTURE_PERIOD = 2, 3, 4
BY_RANGE, BY_ENTRY = 1, 2
_ALL_COLUMNS: Final = Data.array([])

# The width in bits of what a delta is added to, and whether it is signed.
_WIDTHS: Final = {
    Tag.INTEGER: (8, True),
    Tag.LONG: (16, True),
    Tag.DOUBLE_LONG: (32, True),
    Tag.LONG64: (64, True),
    Tag.UNSIGNED: (8, False),
    Tag.LONG_UNSIGNED: (16, False),
    Tag.DOUBLE_LONG_UNSIGNED: (32, False),
    Tag.LONG64_UNSIGNED: (64, False),
}
DELTAS: Final = frozenset(
    {
        *(Tag.DELTA_INTEGER, Tag.DELTA_LONG, Tag.DELTA_DOUBLE_LONG),
        *(Tag.DELTA_UNSIGNED, Tag.DELTA_LONG_UNSIGNED, Tag.DELTA_DOUBLE_LONG_UNSIGNED),
    }
)


class CaptureObject(NamedTuple):
    """One column: an attribute, and of it all (0) or one element."""

    attribute: CosemAttribute
    data_index: int = 0

    @classmethod
    def decode(cls, data: Data) -> Self:
        class_id, name, index, data_index = data.elements(4)
        attribute = CosemAttribute(class_id.number(), LogicalName(name.octet_string(6)), index.number())
        return cls(attribute, data_index.number())

    def encode(self) -> Data:
        attribute = self.attribute
        return Data.structure(
            [
                Data.long_unsigned(attribute.class_id),
                Data.octets(attribute.logical_name),
                Data.integer(attribute.index),
                Data.long_unsigned(self.data_index),
            ]
        )


class ProfileObject(NamedTuple):
    logical_name: LogicalName

    def attribute(self, index: int) -> CosemAttribute:
        return CosemAttribute(CLASS_ID, self.logical_name, index)


def decode_columns(data: Data) -> list[CaptureObject]:
    """DecodeError where it is no list of capture objects, or an empty one."""
    columns = [CaptureObject.decode(element) for element in data.elements()]
    if not columns:
        raise DecodeError("a profile without capture objects")
    return columns


def by_range(restricting: CaptureObject, first: Data, last: Data) -> Selection:
    """The rows from `first` to `last` of the restricting object, both included; all columns."""
    return Selection(BY_RANGE, Data.structure([restricting.encode(), first, last, _ALL_COLUMNS]))


def by_entry(first: int, last: int) -> Selection:
    """The rows from number `first`, 1 or more, to `last`, where 0 is the last there is; all columns."""
    entries = [Data.double_long_unsigned(first), Data.double_long_unsigned(last)]
    return Selection(BY_ENTRY, Data.structure([*entries, Data.long_unsigned(1), Data.long_unsigned(0)]))


def unpacked_rows(buffer: Data, columns: int) -> Iterator[list[Data]]:
    """The rows of a buffer; null-data is what stood above it, a delta is added to that (catalogue 1.6, 3.3).

    Null-data stays where nothing stands above. DecodeError at a row that has another number of cells.
    """
    above: list[Data] | None = None
    for row in buffer.elements():
        cells = row.elements(columns)
        if above is not None:
            cells = [_unpacked(cell, before) for cell, before in zip(cells, above, strict=True)]
        elif any(cell.tag in DELTAS for cell in cells):
            raise DecodeError("a delta in the first row of a profile")
        above = cells
        yield cells


def _unpacked(cell: Data, before: Data) -> Data:
    if cell.tag is Tag.NULL_DATA:
        return before
    if cell.tag not in DELTAS:
        return cell
    if before.tag not in _WIDTHS:
        raise DecodeError(f"a {cell.tag.label} below a {before.tag.label}")
    bits, is_signed = _WIDTHS[before.tag]
    value = (before.value + cell.value) % (1 << bits)
    return Data(before.tag, value - (1 << bits) if is_signed and value >> bits - 1 else value)
