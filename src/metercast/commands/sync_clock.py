"""SYNC_CLOCK: brings the meter's clock to ours, by shift or by set, and verifies it (class 8, catalogue 1.4).

Reads first, so a session that follows an ambiguous one never shifts twice. The value of a set is computed when it is
encoded and carries half the round trip, which also widens the tolerance.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from metercast.commands.clock_object import DEFAULT_OBIS, ClockObject, Reading, encode_clock
from metercast.commands.contract import CommandType, MeterRefused, MeterSession, StepFailed
from metercast.commands.parameters import ROOT, Obis, logical_name, require
from metercast.dlms.data import Data
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorClass, ErrorWord

MAX_SHIFT_SECONDS = 900

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]


class SyncClock(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Within `threshold` nothing is changed; above `max_delta` (None: no limit) nothing is changed either, and the
    command fails. `tolerance` is what the read-back may differ, beside half the round trip, which itself must not be
    above `max_uncertainty`."""

    strategy: Literal["auto", "set", "shift"] = "auto"
    threshold_seconds: Seconds = 5
    tolerance_seconds: Seconds = 5
    max_delta_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_uncertainty_seconds: Seconds = 30
    obis: Obis = DEFAULT_OBIS


def check(parameters: SyncClock, now: datetime) -> None:
    logical_name(parameters.obis, f"{ROOT}.obis")
    limit = parameters.max_delta_seconds
    too_low = limit is not None and limit < parameters.threshold_seconds
    require(not too_low, "maxDeltaSeconds", limit, f"below thresholdSeconds ({parameters.threshold_seconds:g})")


async def perform(session: MeterSession, parameters: SyncClock) -> Outcome:
    clock = ClockObject.parse(parameters.obis)
    before = await clock.read(session)
    _check_uncertainty(before, parameters)
    if not before.is_invalid and abs(before.difference) <= parameters.threshold_seconds:
        return Outcome.already_so({"before": before.to_json(), "after": None, "strategy": None})
    _check_delta(before, parameters)
    strategy = await _correct(session, clock, before, parameters)
    after = await clock.read(session)
    result = {"before": before.to_json(), "after": after.to_json(), "strategy": strategy}
    _check_uncertainty(after, parameters, result)
    tolerance = parameters.tolerance_seconds + after.half_round_trip
    if after.is_invalid or abs(after.difference) > tolerance:
        found = "an invalid time" if after.is_invalid else f"{after.difference:+.3f} s"
        detail = f"read-back of {clock.time} after {strategy}: {found}, tolerance {tolerance:.3f} s"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, result)
    return Outcome.done(result)


def _check_uncertainty(reading: Reading, parameters: SyncClock, result: dict[str, Any] | None = None) -> None:
    if reading.half_round_trip > parameters.max_uncertainty_seconds:
        detail = (
            f"half the round trip is {reading.half_round_trip:.1f} s, above {parameters.max_uncertainty_seconds:g} s"
        )
        raise StepFailed(ErrorWord.CLOCK_UNCERTAIN, detail, result)


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
            await session.action(clock.shift_time, Data.long(-round(before.difference)))
            return "shift"
        except MeterRefused as refused:
            # A meter without this method says so; auto then sets. What may pass is left to the retry.
            if parameters.strategy == "shift" or refused.error.error_class is not ErrorClass.PERMANENT:
                raise
    zone = ZoneInfo(session.meter.record.time_zone)
    await session.set(clock.time, encode_clock(session.now() + timedelta(seconds=before.half_round_trip), zone))
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
    summary="Compares the meter's clock with the server's, corrects it above a threshold, and verifies it.",
)
