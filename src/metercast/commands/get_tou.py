"""GET_TOU: reads the active and the passive tariff calendar (class 20 attributes 2 to 10, catalogue 1.3)."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from metercast.commands.activation import activation_text
from metercast.commands.calendar_codec import tables_json
from metercast.commands.calendar_object import ACTIVE, PASSIVE, CalendarObject
from metercast.commands.contract import CommandType, MeterSession
from metercast.commands.parameters import ProfileObis, check_obis
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
    result: dict[str, object] = {}
    if parameters.which in ("active", "both"):
        result["active"] = tables_json(await target.read_tables(session, ACTIVE))
    if parameters.which in ("passive", "both"):
        result["passive"] = tables_json(await target.read_tables(session, PASSIVE))
        result["activationTime"] = activation_text(await target.read_armed(session))
    return Outcome.done(result)


GET_TOU = CommandType(
    traits=CommandTraits(name="GET_TOU", resend=Resend.SAFE, expires_after=timedelta(hours=1)),
    parameters=GetTou,
    perform=perform,
    check=check,
    summary="Reads the active and the passive tariff calendar and when the passive one will become active.",
)
