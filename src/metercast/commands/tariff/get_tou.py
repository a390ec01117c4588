"""GET_TOU: reads the active and the passive tariff calendar (class 20 attributes 2 to 10, catalogue 1.3)."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from metercast.commands.contract import CommandType, MeterSession
from metercast.commands.parameters import ProfileObis, check_obis, object_of
from metercast.commands.steps import decoded, read_all
from metercast.commands.tariff.activation import activation_text, decode_activation
from metercast.commands.tariff.calendar_codec import tables_json
from metercast.commands.tariff.calendar_object import ACTIVATION_TIME, ACTIVE, CLASS_ID, PASSIVE, CalendarObject
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend


class GetTou(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    which: Literal["active", "passive", "both"] = "both"
    obis: ProfileObis = None


def check(parameters: GetTou, now: datetime) -> None:
    check_obis(parameters.obis)


async def perform(session: MeterSession, parameters: GetTou) -> Outcome:
    target = CalendarObject.of(session, parameters.obis)
    parts = {"active": ACTIVE, "passive": PASSIVE}
    if parameters.which != "both":
        parts = {parameters.which: parts[parameters.which]}
    attributes = [attribute for first in parts.values() for attribute in target.tables(first)]
    armed = target.attribute(ACTIVATION_TIME)
    if "passive" in parts:
        attributes.append(armed)
    values = await read_all(session, attributes)
    result: dict[str, object] = {}
    for place, (name, first) in enumerate(parts.items()):
        result[name] = tables_json(target.decode_tables(values[4 * place : 4 * place + 4], first))
    if "passive" in parts:
        result["activationTime"] = activation_text(decoded(values[-1], decode_activation, armed))
    return Outcome.done(result)


GET_TOU = CommandType(
    traits=CommandTraits(name="GET_TOU", resend=Resend.SAFE, expires_after=timedelta(hours=1)),
    parameters=GetTou,
    perform=perform,
    check=check,
    target=object_of(CLASS_ID, "activity_calendar"),
    summary="Reads the active and the passive tariff calendar and when the passive one will become active.",
)
