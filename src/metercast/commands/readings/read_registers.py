"""READ_REGISTERS and READ_INSTANTANEOUS: values of Data and of registers, exact, with units (catalogue 1.5)."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from metercast.commands.contract import CommandType, MeterRefused, MeterSession, StepFailed
from metercast.commands.known_scales import firmware_to_ask, read_scales
from metercast.commands.parameters import ROOT, Obis, logical_name
from metercast.commands.plain import plain
from metercast.commands.scaler_unit import ScalerUnit, decode_scaler_unit, exact, scaler_unit_of
from metercast.commands.steps import decoded, given, worst
from metercast.commands.units import unit_name
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
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
    reader = _Reader(session, [_attribute(item) for item in wanted], parameters.with_scaler)
    await reader.read()
    items: list[dict[str, Any]] = []
    refusals: list[StepFailed] = []
    for item in wanted:
        shown: dict[str, Any] = {"obis": item.obis, "class": item.class_, "attribute": item.attribute}
        try:
            shown |= reader.shown(_attribute(item))
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


def _attribute(item: Item) -> CosemAttribute:
    return CosemAttribute(item.class_, LogicalName.parse(item.obis), item.attribute)


class _Reader:
    """All values, then the scalers and units of those that are numbers: each once, in as few requests as it goes."""

    def __init__(self, session: MeterSession, attributes: list[CosemAttribute], with_scaler: bool) -> None:
        self._session = session
        self._attributes = attributes
        self._with_scaler = with_scaler
        self._results: dict[CosemAttribute, Data | MeterRefused] = {}
        self._scales: dict[CosemAttribute, ScalerUnit | MeterRefused] = {}

    async def read(self) -> None:
        firmware = self._firmware()
        wanted = list(dict.fromkeys([*self._attributes, *firmware]))
        self._results |= zip(wanted, await self._session.get_list(wanted), strict=True)
        if self._with_scaler:
            holders = dict.fromkeys(holder for holder in map(self._holder, self._attributes) if holder is not None)
            missing = [holder for holder in holders if holder not in self._results]
            told = self._results[firmware[0]] if firmware else None
            self._scales = await read_scales(self._session, missing, told)

    def shown(self, attribute: CosemAttribute) -> dict[str, Any]:
        """The item's JSON; MeterRefused where its value, or its scaler and unit, were refused."""
        value = given(self._results[attribute])
        holder = self._holder(attribute) if self._with_scaler else None
        if holder is None:
            return {"value": plain(value)}
        scaler, unit = self._scale(holder)
        return {
            "value": exact(value.number(), scaler),
            "unit": unit_name(unit),
            "raw": str(value.number()),
            "scaler": scaler,
        }

    def _firmware(self) -> list[CosemAttribute]:
        """Asked for only where it can spare more than it costs."""
        holders = {scaler_unit_of(attribute) for attribute in self._attributes} - {None}
        return firmware_to_ask(self._session) if self._with_scaler and len(holders) > 1 else []

    def _scale(self, holder: CosemAttribute) -> ScalerUnit:
        """From an item that asked for it itself, or as was read or known."""
        scale = self._scales.get(holder)
        if isinstance(scale, MeterRefused):
            raise scale
        return decoded(given(self._results[holder]), decode_scaler_unit, holder) if scale is None else scale

    def _holder(self, attribute: CosemAttribute) -> CosemAttribute | None:
        """Where scaler and unit of this value stand; None where it was refused, or is no number that is scaled."""
        value = self._results[attribute]
        return None if isinstance(value, MeterRefused) or value.tag not in NUMBERS else scaler_unit_of(attribute)


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
