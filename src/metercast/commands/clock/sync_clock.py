"""SYNC_CLOCK: brings the meter's clock to ours, by shift or by set, and verifies it (class 8, catalogue 1.4).

Reads first, so a session that follows an ambiguous one never shifts twice. The value of a set is computed when it is
encoded and carries half the round trip, which also widens the tolerance.
"""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from metercast.commands.clock.clock_correction import Limits, Seconds, set_now
from metercast.commands.clock.clock_object import CLASS_ID, SHIFT_TIME, ClockObject, Reading
from metercast.commands.contract import CommandType, MeterRefused, MeterSession, StepFailed
from metercast.commands.parameters import ProfileObis, check_obis, object_of, require
from metercast.dlms.data import Data
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorClass, ErrorWord

MAX_SHIFT_SECONDS = 900


class SyncClock(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Within `threshold` nothing is changed; above `max_delta` (None: no limit) nothing is changed either, and the
    command fails. `tolerance` is what the read-back may differ, beside half the round trip, which itself must not be
    above `max_uncertainty`."""

    strategy: Literal["auto", "set", "shift"] = "auto"
    threshold_seconds: Seconds = 5
    tolerance_seconds: Seconds = 5
    max_delta_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_uncertainty_seconds: Seconds = 30
    obis: ProfileObis = None


def check(parameters: SyncClock, now: datetime) -> None:
    check_obis(parameters.obis)
    limit = parameters.max_delta_seconds
    too_low = limit is not None and limit < parameters.threshold_seconds
    require(not too_low, "maxDeltaSeconds", limit, f"below thresholdSeconds ({parameters.threshold_seconds:g})")


async def perform(session: MeterSession, parameters: SyncClock) -> Outcome:
    clock, limits = ClockObject.of(session, parameters.obis), Limits.of(parameters)
    before = await clock.read(session)
    limits.check_uncertainty(before)
    if limits.is_near(before):
        return Outcome.already_so({"before": before.to_json(), "after": None, "strategy": None})
    _check_delta(before, parameters)
    strategy = await _correct(session, clock, before, parameters)
    after = await clock.read(session)
    result = {"before": before.to_json(), "after": after.to_json(), "strategy": strategy}
    limits.verify(after, f"{clock.time} after {strategy}", result)
    return Outcome.done(result)


def _check_delta(reading: Reading, parameters: SyncClock) -> None:
    shown = {"before": reading.to_json()}
    if reading.is_invalid:
        if parameters.strategy == "shift":
            raise StepFailed(ErrorWord.CLOCK_UNCERTAIN, "the meter's time is invalid: it can't be shifted", shown)
        return
    difference = reading.difference
    limit = parameters.max_delta_seconds
    if limit is not None and abs(difference) > limit:
        detail = f"the clock is {difference:+.3f} s off, more than maxDeltaSeconds {limit:g}; nothing was changed"
        raise StepFailed(ErrorWord.CLOCK_UNCERTAIN, detail, shown)
    if parameters.strategy == "shift" and abs(difference) > MAX_SHIFT_SECONDS:
        detail = f"the clock is {difference:+.3f} s off, and a shift reaches {MAX_SHIFT_SECONDS} s; nothing was changed"
        raise StepFailed(ErrorWord.CLOCK_UNCERTAIN, detail, shown)


async def _correct(session: MeterSession, clock: ClockObject, before: Reading, parameters: SyncClock) -> str:
    """Shifts or sets; the name of what it did."""
    can_shift = not before.is_invalid and abs(before.difference) <= MAX_SHIFT_SECONDS
    if parameters.strategy != "set" and can_shift:
        try:
            await session.action(clock.method(SHIFT_TIME), Data.long(-round(before.difference)))
            return "shift"
        except MeterRefused as refused:
            # A meter without this method says so; auto then sets. What may pass is left to the retry.
            if parameters.strategy == "shift" or refused.error.error_class is not ErrorClass.PERMANENT:
                raise
    await set_now(session, clock, ZoneInfo(session.meter.record.time_zone), before)
    return "set"


SYNC_CLOCK = CommandType(
    traits=CommandTraits(
        name="SYNC_CLOCK",
        resend=Resend.VERIFY,
        conflict_group=ConflictGroup.CLOCK,
        expires_after=timedelta(hours=6),
        can_read_back=True,
    ),
    parameters=SyncClock,
    perform=perform,
    check=check,
    target=object_of(CLASS_ID, "clock"),
    summary="Compares the meter's clock with the server's, corrects it above a threshold, and verifies it.",
)
