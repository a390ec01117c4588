"""READ_CLOCK: the meter's time, its status, and how far it is from ours (class 8 attribute 2, catalogue 1.4)."""

from datetime import datetime, timedelta

import msgspec

from metercast.commands.clock_object import DEFAULT_OBIS, ClockObject
from metercast.commands.contract import CommandType, MeterSession
from metercast.commands.parameters import ROOT, Obis, logical_name
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend


class ReadClock(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    obis: Obis = DEFAULT_OBIS


def check(parameters: ReadClock, now: datetime) -> None:
    logical_name(parameters.obis, f"{ROOT}.obis")


async def perform(session: MeterSession, parameters: ReadClock) -> Outcome:
    reading = await ClockObject.parse(parameters.obis).read(session)
    return Outcome.done(reading.to_json())


READ_CLOCK = CommandType(
    traits=CommandTraits(name="READ_CLOCK", resend=Resend.SAFE, expires_after=timedelta(hours=1)),
    parameters=ReadClock,
    perform=perform,
    check=check,
    summary="Reads the meter's time with its status bits and its difference to the server's clock.",
)
