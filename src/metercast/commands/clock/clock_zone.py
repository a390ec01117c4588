"""The rules by which a meter shows local time (class 8, attributes 3 and 5 to 8, catalogue 1.4): written and verified.

Only what is asked for is read and written, and of that only what differs.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec.structs import replace

from metercast.commands.clock.clock_object import ClockObject, deviation_sign
from metercast.commands.contract import MeterSession, StepFailed
from metercast.commands.parameters import ROOT
from metercast.commands.steps import read_indexed
from metercast.dlms.data import Data
from metercast.dlms.data_types import NUMBERS
from metercast.dlms.datetimes import ANY, ANY_YEAR, LAST_DAY, SECOND_LAST_DAY, CosemDate, CosemDateTime, CosemTime
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.yearly_rules import YearlyRules, ZoneChange
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

TIME_ZONE, DAYLIGHT_BEGIN, DAYLIGHT_END, DAYLIGHT_DEVIATION, DAYLIGHT_ENABLED = 3, 5, 6, 7, 8
_RULES: Final = (TIME_ZONE, DAYLIGHT_BEGIN, DAYLIGHT_END, DAYLIGHT_DEVIATION)
_DAYS: Final = {"last": LAST_DAY, "second-last": SECOND_LAST_DAY}
RECORD: Final = "record"


class DaylightChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Every year, at the local time before the change: on `day` of the month, or the first `weekday` from it on;
    with "last" the last day or the last such weekday."""

    month: Annotated[int, msgspec.Meta(ge=1, le=12)]
    day: Annotated[int, msgspec.Meta(ge=1, le=31)] | Literal["last", "second-last"]
    weekday: Annotated[int, msgspec.Meta(ge=1, le=7, description="1 is Monday")] | None = None
    time: str

    def to_cosem(self) -> CosemDateTime:
        """EncodeError where the time is none."""
        day = _DAYS[self.day] if isinstance(self.day, str) else self.day
        date = CosemDate(ANY_YEAR, self.month, day, self.weekday or ANY)
        return CosemDateTime(date, CosemTime.parse(self.time))


class DaylightSaving(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What is left out stays."""

    begin: DaylightChange | None = None
    end: DaylightChange | None = None
    deviation_minutes: Annotated[int, msgspec.Meta(ge=-120, le=120)] | None = None
    enabled: bool | None = None


class ClockZone(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Either the `name` of an IANA zone, or "record" for that of the meter's record, or the parts themselves."""

    name: str | None = None
    utc_offset_minutes: Annotated[int, msgspec.Meta(ge=-720, le=840)] | None = None
    daylight_saving: DaylightSaving | None = None

    def zone(self, record_zone: str) -> ZoneInfo:
        """In which local time is told while this holds."""
        return ZoneInfo(record_zone if self.name in (None, RECORD) else self.name)


def check_zone(zone: ClockZone, now: datetime) -> None:
    """InvalidField below commandParams.zone."""
    path = f"{ROOT}.zone"
    daylight = zone.daylight_saving
    if zone.name is not None:
        if zone.utc_offset_minutes is not None or daylight is not None:
            raise InvalidField(f"{path}.name", zone.name, "either a name or utcOffsetMinutes and daylightSaving")
        if zone.name != RECORD:
            _check_name(zone.name, now)
        return
    parts: list[Any] = [zone.utc_offset_minutes]
    if daylight is not None:
        parts += [daylight.begin, daylight.end, daylight.deviation_minutes, daylight.enabled]
        for name, change in (("begin", daylight.begin), ("end", daylight.end)):
            if change is not None:
                _check_change(change, f"{path}.daylightSaving.{name}")
    if all(part is None for part in parts):
        raise InvalidField(path, {}, "nothing to set")


async def write_zone(session: MeterSession, clock: ClockObject, zone: ClockZone) -> tuple[bool, dict[str, Any]]:
    """Whether anything was changed, and the rules as the meter has them now. StepFailed where they are others.

    Daylight saving that is to be off is switched off first; what is to be on is switched on when all else stands.
    """
    wanted = _wanted(zone, session)
    before = await read_indexed(session, clock.attribute, wanted)
    changed = [index for index in wanted if not _same(before[index], wanted[index])]
    for index in _order(changed, wanted):
        await session.set(clock.attribute(index), wanted[index])
    after = await read_indexed(session, clock.attribute, changed)
    found = before | after
    shown = _shown(found, session)
    for index in changed:
        if not _same(found[index], wanted[index]):
            detail = f"read-back of {clock.attribute(index)}: {_text(found[index])}"
            raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, {"zone": shown})
    return bool(changed), shown


def _order(changed: list[int], wanted: dict[int, Data]) -> list[int]:
    rules = [index for index in _RULES if index in changed]
    if DAYLIGHT_ENABLED not in changed:
        return rules
    return [*rules, DAYLIGHT_ENABLED] if wanted[DAYLIGHT_ENABLED].value else [DAYLIGHT_ENABLED, *rules]


def _wanted(zone: ClockZone, session: MeterSession) -> dict[int, Data]:
    if zone.name is not None:
        found = zone.zone(session.meter.record.time_zone)
        rules = YearlyRules.lasting(found, session.now().year)
        if rules is None:
            detail = f"the changes of the zone {found.key} follow no yearly rule: a meter can't keep it"
            raise StepFailed(ErrorWord.SERVICE_NOT_SUPPORTED, detail)
        return _of_rules(rules, session)
    wanted: dict[int, Data] = {}
    if zone.utc_offset_minutes is not None:
        wanted[TIME_ZONE] = Data.long(deviation_sign(session).value * zone.utc_offset_minutes)
    daylight = zone.daylight_saving or DaylightSaving()
    if daylight.begin is not None:
        wanted[DAYLIGHT_BEGIN] = _moment_data(daylight.begin.to_cosem(), session)
    if daylight.end is not None:
        wanted[DAYLIGHT_END] = _moment_data(daylight.end.to_cosem(), session)
    if daylight.deviation_minutes is not None:
        wanted[DAYLIGHT_DEVIATION] = Data.integer(daylight.deviation_minutes)
    if daylight.enabled is not None:
        wanted[DAYLIGHT_ENABLED] = Data.boolean(daylight.enabled)
    return wanted


def _of_rules(rules: YearlyRules, session: MeterSession) -> dict[int, Data]:
    wanted = {
        TIME_ZONE: Data.long(deviation_sign(session).value * rules.standard_offset),
        DAYLIGHT_ENABLED: Data.boolean(rules.begin is not None),
    }
    if rules.begin is not None and rules.end is not None:
        wanted[DAYLIGHT_BEGIN] = _moment_data(_change(rules.begin), session)
        wanted[DAYLIGHT_END] = _moment_data(_change(rules.end), session)
        wanted[DAYLIGHT_DEVIATION] = Data.integer(rules.daylight_minutes)
    return wanted


def _moment_data(moment: CosemDateTime, session: MeterSession) -> Data:
    return Data(session.profile.dates.date_time, moment.encode())


def _change(change: ZoneChange) -> CosemDateTime:
    day = LAST_DAY if change.last else change.first_day
    date = CosemDate(ANY_YEAR, change.month, day, change.weekday)
    return CosemDateTime(date, CosemTime(change.hour, change.minute, 0, 0))


def _same(one: Data, other: Data) -> bool:
    """Numbers by their value; date-times by what they mean, the deviation and the status apart."""
    if one.tag in NUMBERS and other.tag in NUMBERS:
        return bool(one.value == other.value)
    if one == other:
        return True
    mine, theirs = _moment(one), _moment(other)
    return mine is not None and theirs is not None and mine.date.same_as(theirs.date) and _same_time(mine, theirs)


def _same_time(one: CosemDateTime, other: CosemDateTime) -> bool:
    """Seconds that are not specified are 0."""
    return replace(one.time, second=one.time.second % ANY).same_as(replace(other.time, second=other.time.second % ANY))


def _moment(data: Data) -> CosemDateTime | None:
    try:
        return CosemDateTime.decode(data.octet_string(12))
    except DecodeError:
        return None


def _text(data: Data) -> str:
    moment = _moment(data)
    return str(data.value if moment is None else moment)


def _shown(found: dict[int, Data], session: MeterSession) -> dict[str, Any]:
    """By the names of the parameters; a date-time as its text."""
    shown: dict[str, Any] = {}
    offset = found.get(TIME_ZONE)
    if offset is not None:
        shown["utcOffsetMinutes"] = _number(offset, deviation_sign(session).value)
    daylight: dict[str, Any] = {}
    for name, index in (("begin", DAYLIGHT_BEGIN), ("end", DAYLIGHT_END)):
        if index in found:
            daylight[name] = _text(found[index])
    if DAYLIGHT_DEVIATION in found:
        daylight["deviationMinutes"] = _number(found[DAYLIGHT_DEVIATION], 1)
    if DAYLIGHT_ENABLED in found:
        daylight["enabled"] = found[DAYLIGHT_ENABLED].value
    return shown | ({"daylightSaving": daylight} if daylight else {})


def _number(data: Data, sign: int) -> int | str:
    try:
        return sign * data.number()
    except DecodeError:
        return str(data.value)


def _check_name(name: str, now: datetime) -> None:
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidField(f"{ROOT}.zone.name", name, "no IANA time zone") from None
    if YearlyRules.lasting(zone, now.year) is None:
        raise InvalidField(f"{ROOT}.zone.name", name, "its changes follow no yearly rule: a meter can't keep it")


def _check_change(change: DaylightChange, path: str) -> None:
    try:
        change.to_cosem().check()
    except EncodeError as error:
        raise InvalidField(f"{path}.time", change.time, str(error)) from None
