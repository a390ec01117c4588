"""SET_TIME: sets the meter's clock and the rules of its local time, and verifies both (class 8, catalogue 1.4).

The rules come first, since they decide what the clock shows. All is read before it is written, so a session that
follows an ambiguous one does only what is still missing. No absolute time ever waits: each is made when it is sent.
"""

from datetime import datetime, timedelta
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from metercast.commands.clock.clock_correction import Limits, Seconds, set_now, time_data
from metercast.commands.clock.clock_object import (
    ADJUST_TO_MINUTE,
    ADJUST_TO_PRESET_TIME,
    CLASS_ID,
    PRESET_ADJUSTING_TIME,
    ClockObject,
    Reading,
)
from metercast.commands.clock.clock_zone import ClockZone, check_zone, write_zone
from metercast.commands.contract import CommandType, MeterSession, StepFailed
from metercast.commands.parameters import ProfileObis, check_obis, object_of, require
from metercast.dlms.data import Data
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord

Strategy = Literal["set", "preset", "minute", "keep"]

_MINUTE_SECONDS: Final = 60.0
_PRESET_MARGIN_SECONDS: Final = 2.0
_PRESET_VALIDITY: Final = timedelta(minutes=10)


class SetTime(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`strategy`: attribute 2 ("set"), methods 5 and 4 ("preset"), method 3 at a full minute ("minute"), or only the
    rules of `zone` ("keep"). Within `threshold` the time is left alone; `tolerance` is what the read-back may differ,
    beside half the round trip, which itself must not be above `max_uncertainty`."""

    strategy: Strategy = "set"
    zone: ClockZone | None = None
    threshold_seconds: Seconds = 2
    tolerance_seconds: Seconds = 5
    max_uncertainty_seconds: Seconds = 30
    obis: ProfileObis = None


def check(parameters: SetTime, now: datetime) -> None:
    check_obis(parameters.obis)
    if parameters.zone is not None:
        check_zone(parameters.zone, now)
    else:
        require(parameters.strategy != "keep", "zone", None, "nothing to set: the strategy is keep")


async def perform(session: MeterSession, parameters: SetTime) -> Outcome:
    clock, limits = ClockObject.of(session, parameters.obis), Limits.of(parameters)
    record_zone = session.meter.record.time_zone
    zone = ZoneInfo(record_zone)
    changed, result = False, dict[str, Any]()
    if parameters.zone is not None:
        changed, result["zone"] = await write_zone(session, clock, parameters.zone)
        zone = parameters.zone.zone(record_zone)
    if parameters.strategy != "keep":
        changed |= await _set_time(session, clock, zone, parameters.strategy, limits, result)
    return Outcome.done(result) if changed else Outcome.already_so(result)


async def _set_time(
    session: MeterSession,
    clock: ClockObject,
    zone: ZoneInfo,
    strategy: Strategy,
    limits: Limits,
    result: dict[str, Any],
) -> bool:
    """Whether it was changed; `result` gets what was found before and after."""
    before = await clock.read(session, zone)
    result |= {"before": before.to_json(), "after": None, "strategy": None}
    limits.check_uncertainty(before, result)
    if limits.is_near(before):
        return False
    if strategy == "preset":
        await _preset(session, clock, zone, before)
    elif strategy == "minute":
        await _to_minute(session, clock, before, result)
    else:
        await set_now(session, clock, zone, before)
    after = await clock.read(session, zone)
    result |= {"after": after.to_json(), "strategy": strategy}
    limits.verify(after, f"{clock.time} after {strategy}", result)
    return True


async def _preset(session: MeterSession, clock: ClockObject, zone: ZoneInfo, before: Reading) -> None:
    """The time of a moment soon to come, and at that moment the word to take it."""
    lead = timedelta(seconds=3 * before.lead + _PRESET_MARGIN_SECONDS)
    moment = (session.now() + lead).replace(microsecond=0) + timedelta(seconds=1)
    shown = moment if before.is_invalid else moment + timedelta(seconds=before.difference)
    span = (min(moment, shown) - _PRESET_VALIDITY, max(moment, shown) + _PRESET_VALIDITY)
    times = [time_data(session, instant, zone) for instant in (moment, *span)]
    await session.action(clock.method(PRESET_ADJUSTING_TIME), Data.structure(times))
    await _wait_until(session, moment - timedelta(seconds=before.lead))
    await session.action(clock.method(ADJUST_TO_PRESET_TIME), Data.integer(0))


async def _to_minute(session: MeterSession, clock: ClockObject, before: Reading, result: dict[str, Any]) -> None:
    """The meter rounds to its nearest minute: only where that is the right one."""
    most = _MINUTE_SECONDS / 2 - before.half_round_trip - 1
    if before.is_invalid or abs(before.difference) > most:
        found = "invalid" if before.is_invalid else f"{before.difference:+.3f} s off"
        detail = f"the clock is {found}: its nearest minute may be another; nothing was changed"
        raise StepFailed(ErrorWord.CLOCK_UNCERTAIN, detail, result)
    arrives = session.now() + timedelta(seconds=before.lead)
    minute = arrives.replace(second=0, microsecond=0) + timedelta(seconds=_MINUTE_SECONDS)
    await _wait_until(session, minute - timedelta(seconds=before.lead))
    await session.action(clock.method(ADJUST_TO_MINUTE), Data.integer(0))


async def _wait_until(session: MeterSession, moment: datetime) -> None:
    """Where it has passed already the read-back tells by how much."""
    await session.sleep(max((moment - session.now()).total_seconds(), 0.0))


SET_TIME = CommandType(
    traits=CommandTraits(
        name="SET_TIME",
        resend=Resend.VERIFY,
        conflict_group=ConflictGroup.CLOCK,
        expires_after=timedelta(hours=6),
        can_read_back=True,
    ),
    parameters=SetTime,
    perform=perform,
    check=check,
    target=object_of(CLASS_ID, "clock"),
    summary="Sets the meter's clock and the rules of its local time, zone and daylight saving, and verifies both.",
)
