"""Scaler and unit of the register classes: from raw numbers to exact values (catalogue 1.5)."""

from decimal import Decimal
from typing import NamedTuple

from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.errors import DecodeError

# By class: the attributes that are scaled, and the one that holds their scaler and unit.
_SCALED: dict[int, tuple[frozenset[int], int]] = {
    3: (frozenset({2}), 3),
    4: (frozenset({2}), 3),
    5: (frozenset({2, 3}), 4),
}


class ScalerUnit(NamedTuple):
    scaler: int
    unit: int


def scaler_unit_of(attribute: CosemAttribute) -> CosemAttribute | None:
    """The attribute that holds scaler and unit of `attribute`; None where it is not scaled."""
    scaled, index = _SCALED.get(attribute.class_id, (frozenset(), 0))
    return CosemAttribute(attribute.class_id, attribute.logical_name, index) if attribute.index in scaled else None


def decode_scaler_unit(data: Data) -> ScalerUnit:
    """DecodeError where it is no structure of scaler (an integer, -128 to 127) and unit."""
    scaler, unit = (element.number() for element in data.elements(2))
    if not -128 <= scaler <= 127:
        raise DecodeError(f"a scaler of {scaler}")
    return ScalerUnit(scaler, unit)


def exact(raw: int, scaler: int) -> str:
    """raw * 10**scaler as a decimal number without exponent."""
    return format(Decimal(raw).scaleb(scaler), "f")
