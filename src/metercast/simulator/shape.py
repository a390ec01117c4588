"""The types that an attribute takes, as a meter checks them on every write: exactly, down to the last element."""

from typing import NamedTuple

from metercast.dlms.data import Data, Tag


class OctetsOf(NamedTuple):
    """An octet-string of exactly so many octets."""

    length: int


class ArrayOf(NamedTuple):
    element: "Shape"


class StructureOf(NamedTuple):
    parts: "tuple[Shape, ...]"


Shape = Tag | OctetsOf | ArrayOf | StructureOf


def matches(data: Data, shape: Shape) -> bool:
    """Whether the tags, the counts of structures and the lengths of fixed octet-strings are those of `shape`."""
    tag, value = data.tag, data.value
    if isinstance(shape, Tag):
        return tag is shape
    if isinstance(shape, OctetsOf):
        return tag is Tag.OCTET_STRING and len(value) == shape.length
    if isinstance(shape, ArrayOf):
        return tag is Tag.ARRAY and all(matches(element, shape.element) for element in value)
    return (
        tag is Tag.STRUCTURE
        and len(value) == len(shape.parts)
        and all(matches(element, part) for element, part in zip(value, shape.parts, strict=True))
    )
