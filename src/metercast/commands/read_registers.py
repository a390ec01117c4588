"""READ_REGISTERS and READ_INSTANTANEOUS: values of Data and of registers, exact, with units (catalogue 1.5)."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from metercast.commands.contract import CommandType, MeterRefused, MeterSession, StepFailed
from metercast.commands.parameters import ROOT, Obis, logical_name
from metercast.commands.plain import plain
from metercast.commands.scaler_unit import ScalerUnit, exact, read_scaler_unit, scaler_unit_of
from metercast.commands.steps import worst
from metercast.commands.units import unit_name
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data_types import NUMBERS
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.problem import InvalidField
from metercast.domain.retry import Resend

VALUE = 2


class Item(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    obis: Obis
    class_: Literal[1, 3, 4, 5] = msgspec.field(default=3, name="class")
    attribute: Annotated[int, msgspec.Meta(ge=2, le=127)] = VALUE


class ReadRegisters(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    items: Annotated[list[Item], msgspec.Meta(min_length=1, max_length=200)]
    with_scaler: bool = True


class ReadInstantaneous(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Without `items` those of the profile."""

    items: Annotated[list[Item], msgspec.Meta(min_length=1, max_length=200)] | None = None
    with_scaler: bool = True


def check(parameters: ReadRegisters | ReadInstantaneous, now: datetime) -> None:
    seen: set[Item] = set()
    for index, item in enumerate(parameters.items or ()):
        path = f"{ROOT}.items[{index}]"
        logical_name(item.obis, f"{path}.obis")
        if item in seen:
            raise InvalidField(path, msgspec.to_builtins(item), "the item stands twice")
        seen.add(item)


async def perform(session: MeterSession, parameters: ReadRegisters | ReadInstantaneous) -> Outcome:
    """Each item has a result of its own. Fails only where no item could be read."""
    wanted = parameters.items
    if wanted is None:
        wanted = [Item(obis=str(name)) for name in session.profile.registers.instantaneous]
    items: list[dict[str, Any]] = []
    refusals: list[StepFailed] = []
    scalers: dict[CosemAttribute, ScalerUnit] = {}
    for item in wanted:
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
    session: MeterSession, item: Item, with_scaler: bool, scalers: dict[CosemAttribute, ScalerUnit]
) -> dict[str, Any]:
    attribute = CosemAttribute(item.class_, LogicalName.parse(item.obis), item.attribute)
    value = await session.get(attribute)
    holder = scaler_unit_of(attribute)
    if not with_scaler or holder is None or value.tag not in NUMBERS:
        return {"value": plain(value)}
    if holder not in scalers:
        scalers[holder] = await read_scaler_unit(session, holder)
    scaler, unit = scalers[holder]
    return {
        "value": exact(value.number(), scaler),
        "unit": unit_name(unit),
        "raw": str(value.number()),
        "scaler": scaler,
    }


READ_REGISTERS = CommandType(
    traits=CommandTraits(name="READ_REGISTERS", resend=Resend.SAFE, expires_after=timedelta(hours=1)),
    parameters=ReadRegisters,
    perform=perform,
    check=check,
    summary="Reads registers: exact values with their units, each item with a result of its own.",
)

READ_INSTANTANEOUS = CommandType(
    traits=CommandTraits(name="READ_INSTANTANEOUS", resend=Resend.SAFE, expires_after=timedelta(hours=1)),
    parameters=ReadInstantaneous,
    perform=perform,
    check=check,
    summary="Reads voltages, currents, powers, power factor and frequency as they are now.",
)
