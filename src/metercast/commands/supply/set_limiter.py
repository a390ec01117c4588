"""SET_LIMITER: thresholds of the supply limiter, written in the type that the meter keeps them in (catalogue 1.9).

What stands there already is not written. A threshold of 0 means another thing in every meter: it is
refused unless the profile knows it.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from metercast.commands.contract import CommandType, MeterSession, StepFailed
from metercast.commands.parameters import ProfileObis, check_obis, chosen, object_of, require
from metercast.commands.plain import plain
from metercast.commands.steps import read, read_indexed
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data, encode_data
from metercast.dlms.data_types import NUMBERS
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord
from metercast.profiles.model import Dates

CLASS_ID: Final = 71
MONITORED_VALUE, THRESHOLD_NORMAL, THRESHOLD_EMERGENCY = 2, 4, 5
MIN_OVER, MIN_UNDER, EMERGENCY_PROFILE, EMERGENCY_GROUPS = 6, 7, 8, 9
# Durations before thresholds: a new threshold never acts with an old duration.
_ORDER: Final = (MIN_OVER, MIN_UNDER, THRESHOLD_NORMAL, THRESHOLD_EMERGENCY, EMERGENCY_PROFILE, EMERGENCY_GROUPS)

Threshold = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Duration = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Group = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]


class EmergencyProfile(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    id: Group
    activation_time: Annotated[datetime, msgspec.Meta(tz=True)]
    duration_seconds: Duration


class SetLimiter(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Thresholds are raw numbers, in the scaler and unit of the monitored register. What is left out stays."""

    threshold_normal: Threshold | None = None
    threshold_emergency: Threshold | None = None
    min_over_threshold_seconds: Duration | None = None
    min_under_threshold_seconds: Duration | None = None
    emergency_profile: EmergencyProfile | None = None
    emergency_profile_groups: Annotated[list[Group], msgspec.Meta(max_length=255)] | None = None
    obis: ProfileObis = None


class LimiterObject(NamedTuple):
    logical_name: LogicalName

    def attribute(self, index: int) -> CosemAttribute:
        return CosemAttribute(CLASS_ID, self.logical_name, index)


def check(parameters: SetLimiter, now: datetime) -> None:
    check_obis(parameters.obis)
    given = [getattr(parameters, name) for name in parameters.__struct_fields__ if name != "obis"]
    require(any(value is not None for value in given), "thresholdNormal", None, "nothing to set")


async def perform(session: MeterSession, parameters: SetLimiter) -> Outcome:
    profile = session.profile
    if 0 in (parameters.threshold_normal, parameters.threshold_emergency) and not profile.limiter.zero_threshold:
        raise StepFailed(ErrorWord.PROFILE_LIMIT, "nothing was written: the meter's profile allows no threshold of 0")
    limiter = LimiterObject(chosen(parameters.obis, profile.objects.limiter))
    wanted = _fixed(parameters, ZoneInfo(session.meter.record.time_zone), profile.dates)
    wanted |= await _thresholds(session, limiter, parameters)
    before = await read_indexed(session, limiter.attribute, wanted)
    changed = [index for index in _ORDER if index in wanted and not _same(before[index], wanted[index])]
    if not changed:
        return Outcome.already_so(_shown(before))
    for index in changed:
        await session.set(limiter.attribute(index), wanted[index])
    after = await read_indexed(session, limiter.attribute, wanted)
    wrong = [index for index in _ORDER if index in wanted and not _same(after[index], wanted[index])]
    if wrong:
        detail = f"read-back of {limiter.attribute(wrong[0])}: {plain(after[wrong[0]])}"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, _shown(after))
    return Outcome.done(_shown(after))


def _fixed(parameters: SetLimiter, zone: ZoneInfo, dates: Dates) -> dict[int, Data]:
    """What has a type of its own."""
    wanted: dict[int, Data] = {}
    if parameters.min_over_threshold_seconds is not None:
        wanted[MIN_OVER] = Data.double_long_unsigned(parameters.min_over_threshold_seconds)
    if parameters.min_under_threshold_seconds is not None:
        wanted[MIN_UNDER] = Data.double_long_unsigned(parameters.min_under_threshold_seconds)
    profile = parameters.emergency_profile
    if profile is not None:
        moment = CosemDateTime.from_datetime(profile.activation_time.astimezone(zone), sign=dates.sign)
        time = Data(dates.date_time, replace(moment, date=replace(moment.date, weekday=0xFF)).encode())
        duration = Data.double_long_unsigned(profile.duration_seconds)
        wanted[EMERGENCY_PROFILE] = Data.structure([Data.long_unsigned(profile.id), time, duration])
    if parameters.emergency_profile_groups is not None:
        groups = [Data.long_unsigned(group) for group in parameters.emergency_profile_groups]
        wanted[EMERGENCY_GROUPS] = Data.array(groups)
    return wanted


async def _thresholds(session: MeterSession, limiter: LimiterObject, parameters: SetLimiter) -> dict[int, Data]:
    """In the type of the monitored attribute; StepFailed(TypeUnmatched) where a number does not fit it."""
    given = {THRESHOLD_NORMAL: parameters.threshold_normal, THRESHOLD_EMERGENCY: parameters.threshold_emergency}
    numbers = {index: number for index, number in given.items() if number is not None}
    if not numbers:
        return {}
    monitored = await read(session, limiter.attribute(MONITORED_VALUE), decode_monitored)
    tag = (await session.get(monitored)).tag
    if tag not in NUMBERS:
        raise StepFailed(ErrorWord.TYPE_UNMATCHED, f"the monitored {monitored} is a {tag.label}, and no number")
    wanted = {index: Data(tag, number) for index, number in numbers.items()}
    for index, value in wanted.items():
        try:
            encode_data(value)
        except EncodeError as error:
            raise StepFailed(ErrorWord.TYPE_UNMATCHED, f"{limiter.attribute(index)}: {error}") from error
    return wanted


def decode_monitored(data: Data) -> CosemAttribute:
    """DecodeError where it names no attribute."""
    class_id, name, index = data.elements(3)
    if not class_id.number():
        raise DecodeError("the limiter monitors nothing")
    return CosemAttribute(class_id.number(), LogicalName(name.octet_string(6)), index.number())


def _same(one: Data, other: Data) -> bool:
    """A date-time inside counts by what it means: weekday and hundredths may be open."""
    if one.tag is other.tag and isinstance(one.value, list) and len(one.value) == len(other.value):
        return all(_same(mine, theirs) for mine, theirs in zip(one.value, other.value, strict=True))
    if isinstance(one.value, bytes) and isinstance(other.value, bytes) and len(one.value) == len(other.value) == 12:
        mine, theirs = CosemDateTime.decode(one.value), CosemDateTime.decode(other.value)
        return mine.date.same_as(theirs.date) and mine.time.same_as(theirs.time)
    return one == other


_NAMES: Final = {
    THRESHOLD_NORMAL: "thresholdNormal",
    THRESHOLD_EMERGENCY: "thresholdEmergency",
    MIN_OVER: "minOverThresholdSeconds",
    MIN_UNDER: "minUnderThresholdSeconds",
    EMERGENCY_PROFILE: "emergencyProfile",
    EMERGENCY_GROUPS: "emergencyProfileGroups",
}


def _shown(values: dict[int, Data]) -> dict[str, Any]:
    return {_NAMES[index]: plain(values[index]) for index in _ORDER if index in values}


SET_LIMITER = CommandType(
    traits=CommandTraits(
        name="SET_LIMITER", resend=Resend.VERIFY, expires_after=timedelta(hours=6), can_read_back=True
    ),
    parameters=SetLimiter,
    perform=perform,
    check=check,
    target=object_of(CLASS_ID, "limiter"),
    summary="Sets thresholds, durations and the emergency profile of the supply limiter, and reads them back.",
)
