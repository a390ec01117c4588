"""VERIFY_TOU: whether the active tariff calendar is the one that is given (class 20 attributes 2 to 5, catalogue 1.1).

It reads only. A SET_TOU that leaves the activation to the meters is followed by one, once the time has come.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from metercast.commands.contract import CommandType, MeterSession, StepFailed
from metercast.commands.parameters import ProfileObis, check_obis, object_of
from metercast.commands.tariff.activation import activation_text
from metercast.commands.tariff.calendar import Calendar, check_calendar
from metercast.commands.tariff.calendar_codec import Manner, decode_tables, differences, encode_calendar, tables_json
from metercast.commands.tariff.calendar_object import ACTIVE, CLASS_ID, CalendarObject
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord

NAME = "VERIFY_TOU"


class VerifyTou(Calendar, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The calendar that must be active."""

    obis: ProfileObis = None


def check(parameters: VerifyTou, now: datetime) -> None:
    check_obis(parameters.obis)
    check_calendar(parameters)


async def perform(session: MeterSession, parameters: VerifyTou) -> Outcome:
    target = CalendarObject.of(session, parameters.obis)
    wanted = decode_tables(*encode_calendar(parameters, Manner.of(session.profile)))
    found = await target.read_tables(session, ACTIVE)
    result: dict[str, Any] = {"active": tables_json(found)}
    if found == wanted:
        return Outcome.done(result)
    armed = activation_text(await target.read_armed(session))
    detail = f"active {'; '.join(differences(wanted, found))}"
    if armed is not None:
        detail += f"; the passive calendar is still armed for {armed} of the meter's clock"
    raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, result | {"activationTime": armed})


VERIFY_TOU = CommandType(
    traits=CommandTraits(name=NAME, resend=Resend.SAFE, expires_after=timedelta(days=1)),
    parameters=VerifyTou,
    perform=perform,
    check=check,
    target=object_of(CLASS_ID, "activity_calendar"),
    summary="Reads the active tariff calendar and compares it with the one that is given.",
)


def verification(calendar: Calendar, obis: str | None) -> dict[str, Any]:
    """The commandParams that verify it."""
    fields = {name: getattr(calendar, name) for name in Calendar.__struct_fields__}
    params: dict[str, Any] = msgspec.to_builtins(VerifyTou(**fields, obis=obis))
    return params
