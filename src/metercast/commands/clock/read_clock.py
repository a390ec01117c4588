"""READ_CLOCK: the meter's time, its status, and how far it is from ours (class 8 attribute 2, catalogue 1.4)."""

from datetime import datetime, timedelta

import msgspec

from metercast.commands.clock.clock_object import ClockObject
from metercast.commands.contract import CommandType, MeterSession
from metercast.commands.parameters import ProfileObis, check_obis
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend


class ReadClock(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    obis: ProfileObis = None


def check(parameters: ReadClock, now: datetime) -> None:
    check_obis(parameters.obis)


async def perform(session: MeterSession, parameters: ReadClock) -> Outcome:
    reading = await ClockObject.of(session, parameters.obis).read(session)
    return Outcome.done(reading.to_json())


READ_CLOCK = CommandType(
    traits=CommandTraits(name="READ_CLOCK", resend=Resend.SAFE, expires_after=timedelta(hours=1)),
    parameters=ReadClock,
    perform=perform,
    check=check,
    summary="Reads the meter's time with its status bits and its difference to the server's clock.",
)
