"""READ_REGISTERS: values of Data and the register classes, exact and with their units (catalogue 1.5)."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from metercast.commands.contract import CommandType, MeterRefused, MeterSession, StepFailed
from metercast.commands.parameters import ROOT, Obis, logical_name
from metercast.commands.plain import plain
from metercast.commands.steps import decoded, worst
from metercast.commands.units import unit_name
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.data_types import NUMBERS
from metercast.dlms.errors import DecodeError
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.problem import InvalidField
from metercast.domain.retry import Resend

VALUE = 2

# By class: the attributes that are scaled, and the one that holds their scaler and unit.
_SCALED: dict[int, tuple[frozenset[int], int]] = {
    3: (frozenset({2}), 3),
    4: (frozenset({2}), 3),
    5: (frozenset({2, 3}), 4),
}


class Item(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    obis: Obis
    class_: Literal[1, 3, 4, 5] = msgspec.field(default=3, name="class")
    attribute: Annotated[int, msgspec.Meta(ge=2, le=127)] = VALUE


class ReadRegisters(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    items: Annotated[list[Item], msgspec.Meta(min_length=1, max_length=200)]
    with_scaler: bool = True


class ScalerUnit(NamedTuple):
    scaler: int
    unit: int


def check(parameters: ReadRegisters, now: datetime) -> None:
    seen: set[Item] = set()
    for index, item in enumerate(parameters.items):
        path = f"{ROOT}.items[{index}]"
        logical_name(item.obis, f"{path}.obis")
        if item in seen:
            raise InvalidField(path, msgspec.to_builtins(item), "the item stands twice")
        seen.add(item)


async def perform(session: MeterSession, parameters: ReadRegisters) -> Outcome:
    """Each item has a result of its own. Fails only where no item could be read."""
    items: list[dict[str, Any]] = []
    refusals: list[StepFailed] = []
    scalers: dict[tuple[int, str], ScalerUnit] = {}
    for item in parameters.items:
        shown: dict[str, Any] = {"obis": item.obis, "class": item.class_, "attribute": item.attribute}
        try:
            shown |= await _read_item(session, item, parameters.with_scaler, scalers)
        except MeterRefused as error:
            refusals.append(error)
            shown |= {"error": error.error.value, "errorDetail": error.detail}
        items.append(shown)
    result = {"items": items}
    if len(refusals) == len(items):
        word = worst([error.error for error in refusals])
        first = next(error.detail for error in refusals if error.error is word)
        raise StepFailed(word, f"none of {len(items)} items could be read; {first}", result)
    return Outcome.done(result)


async def _read_item(
    session: MeterSession, item: Item, with_scaler: bool, scalers: dict[tuple[int, str], ScalerUnit]
) -> dict[str, Any]:
    name = LogicalName.parse(item.obis)
    value = await session.get(CosemAttribute(item.class_, name, item.attribute))
    scaled, scaler_attribute = _SCALED.get(item.class_, (frozenset(), 0))
    if not with_scaler or item.attribute not in scaled or value.tag not in NUMBERS:
        return {"value": plain(value)}
    key = item.class_, item.obis
    if key not in scalers:
        attribute = CosemAttribute(item.class_, name, scaler_attribute)
        scalers[key] = decoded(await session.get(attribute), decode_scaler_unit, attribute)
    scaler, unit = scalers[key]
    return {
        "value": exact(value.number(), scaler),
        "unit": unit_name(unit),
        "raw": str(value.number()),
        "scaler": scaler,
    }


def decode_scaler_unit(data: Data) -> ScalerUnit:
    """DecodeError where it is no structure of scaler (an integer, -128 to 127) and unit."""
    scaler, unit = (element.number() for element in data.elements(2))
    if not -128 <= scaler <= 127:
        raise DecodeError(f"a scaler of {scaler}")
    return ScalerUnit(scaler, unit)


def exact(raw: int, scaler: int) -> str:
    """raw * 10**scaler as a decimal number without exponent."""
    return format(Decimal(raw).scaleb(scaler), "f")


READ_REGISTERS = CommandType(
    traits=CommandTraits(name="READ_REGISTERS", resend=Resend.SAFE, expires_after=timedelta(hours=1)),
    parameters=ReadRegisters,
    perform=perform,
    check=check,
    summary="Reads registers: exact values with their units, each item with a result of its own.",
)
