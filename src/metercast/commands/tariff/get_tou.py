"""GET_TOU: reads the active and the passive tariff calendar (class 20 attributes 2 to 10), and what belongs to it: the
special days (class 11) and the scripts of the tariffs (class 9), where asked for (catalogue 1.3)."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from metercast.commands.contract import CommandType, MeterRefused, MeterSession, StepFailed
from metercast.commands.parameters import ProfileObis, check_obis, object_of
from metercast.commands.steps import decoded, given
from metercast.commands.tariff import script_table, set_special_days
from metercast.commands.tariff.activation import activation_text, decode_activation
from metercast.commands.tariff.calendar_codec import tables_json
from metercast.commands.tariff.calendar_object import ACTIVATION_TIME, ACTIVE, CLASS_ID, PASSIVE, CalendarObject
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data, encode_data
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.profiles.model import Objects

Part = Literal["specialDays", "scripts"]


class GetTou(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    which: Literal["active", "passive", "both"] = "both"
    include: Annotated[list[Part], msgspec.Meta(max_length=2, description="What is read beside the calendar")] = []
    raw: Annotated[bool, msgspec.Meta(description="With the octets of each attribute, in hex")] = False
    obis: ProfileObis = None


class _Table(NamedTuple):
    """One attribute that is read beside the calendar."""

    attribute: CosemAttribute
    to_json: Callable[[Data], dict[str, Any]]


def _special_days(objects: Objects) -> _Table:
    attribute = CosemAttribute(set_special_days.CLASS_ID, objects.special_days, set_special_days.ENTRIES)
    return _Table(attribute, lambda data: set_special_days.table_json(set_special_days.decode_table(data)))


def _scripts(objects: Objects) -> _Table:
    attribute = CosemAttribute(script_table.CLASS_ID, objects.tariff_scripts, script_table.SCRIPTS)
    return _Table(attribute, lambda data: {"entries": script_table.scripts_json(data)})


_TABLES: Final[dict[Part, Callable[[Objects], _Table]]] = {"specialDays": _special_days, "scripts": _scripts}

Results = Mapping[CosemAttribute, Data | MeterRefused]


def check(parameters: GetTou, now: datetime) -> None:
    check_obis(parameters.obis)


async def perform(session: MeterSession, parameters: GetTou) -> Outcome:
    """Fails where the calendar can't be read; a table beside it has its own error in the result."""
    target = CalendarObject.of(session, parameters.obis)
    parts = {"active": ACTIVE, "passive": PASSIVE}
    if parameters.which != "both":
        parts = {parameters.which: parts[parameters.which]}
    attributes = [attribute for first in parts.values() for attribute in target.tables(first)]
    if "passive" in parts:
        attributes.append(target.attribute(ACTIVATION_TIME))
    tables = {name: _TABLES[name](session.profile.objects) for name in parameters.include}
    wanted = [*attributes, *(table.attribute for table in tables.values())]
    results = dict(zip(wanted, await session.get_list(wanted), strict=True))
    raw = {"raw": _raw(results)} if parameters.raw else {}
    try:
        result = _calendar(target, parts, results)
    except StepFailed as failure:
        failure.result = raw or None
        raise
    shown = {name: _shown(table, results[table.attribute]) for name, table in tables.items()}
    return Outcome.done(result | shown | raw)


def _calendar(target: CalendarObject, parts: Mapping[str, int], results: Results) -> dict[str, Any]:
    """StepFailed where one of its attributes was refused, or is not what its class says."""
    result: dict[str, Any] = {}
    for name, first in parts.items():
        values = [given(results[attribute]) for attribute in target.tables(first)]
        result[name] = tables_json(target.decode_tables(values, first))
    if "passive" in parts:
        armed = target.attribute(ACTIVATION_TIME)
        result["activationTime"] = activation_text(decoded(given(results[armed]), decode_activation, armed))
    return result


def _shown(table: _Table, result: Data | MeterRefused) -> dict[str, Any]:
    try:
        return decoded(given(result), table.to_json, table.attribute)
    except StepFailed as failure:
        return {"error": failure.error.value, "errorDetail": failure.detail}


def _raw(results: Results) -> list[dict[str, Any]]:
    """The A-XDR of what the meter gave, attribute by attribute; what it refused is not there."""
    return [
        {
            "class": attribute.class_id,
            "obis": str(attribute.logical_name),
            "attribute": attribute.index,
            "hex": encode_data(value).hex(),
        }
        for attribute, value in results.items()
        if isinstance(value, Data)
    ]


GET_TOU = CommandType(
    traits=CommandTraits(name="GET_TOU", resend=Resend.SAFE, expires_after=timedelta(hours=1)),
    parameters=GetTou,
    perform=perform,
    check=check,
    target=object_of(CLASS_ID, "activity_calendar"),
    summary="Reads the active and the passive tariff calendar and when the passive one will become active.",
)
