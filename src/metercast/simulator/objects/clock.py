"""Class 8, clock (catalogue 1.4)."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import ANY, ANY_YEAR, LAST_DAY, STATUS_DST, CosemDate, CosemDateTime, CosemTime
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.results import DataAccessResult
from metercast.dlms.yearly_rules import ZoneChange
from metercast.simulator.clock import Preset, ZoneRules
from metercast.simulator.events import CLOCK_ADJUSTED, STANDARD_LOG
from metercast.simulator.objects.base import Attribute, Caller, CosemObject, Refusal, constant, name
from metercast.simulator.shape import OctetsOf, StructureOf, matches
from metercast.simulator.state import MeterState

CLOCK = name("0.0.1.0.0.255")
MAX_SHIFT_SECONDS = 900
QUARTER_SECONDS = 900
MEASURING_PERIOD_SECONDS = 900  # of the load profile
MINUTE_SECONDS = 60
CRYSTAL = 1
LAST_YEAR = 9000  # far from where the calendar of Python ends


def clock_data(rules: ZoneRules, timestamp: float) -> Data:
    """A moment as the meter's clock shows it; `timestamp` is seconds since 1970 UTC."""
    offset = rules.offset_at(timestamp)
    daylight = offset != rules.standard_offset
    dial = datetime.fromtimestamp(timestamp + offset * 60, UTC)
    date = CosemDate(dial.year, dial.month, dial.day, dial.isoweekday())
    clock_time = CosemTime(dial.hour, dial.minute, dial.second, dial.microsecond // 10_000)
    return Data.octets(CosemDateTime(date, clock_time, -offset, STATUS_DST if daylight else 0).encode())


def _time(state: MeterState, caller: Caller) -> Data:
    return clock_data(state.clock.rules, state.clock.timestamp())


def _set_time(state: MeterState, value: Data) -> None:
    if not matches(value, OctetsOf(12)):
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    moment = CosemDateTime.decode(value.value)
    try:
        moment.check()
        timestamp = moment.to_datetime(zone=state.clock.rules).timestamp()
    except (DecodeError, EncodeError, OverflowError):
        raise Refusal(DataAccessResult.OTHER_REASON) from None
    if moment.time.second == ANY or moment.date.year > LAST_YEAR:
        raise Refusal(DataAccessResult.OTHER_REASON)
    state.clock.set(timestamp)
    state.note(STANDARD_LOG, CLOCK_ADJUSTED)


def _status(state: MeterState, caller: Caller) -> Data:
    return Data.unsigned(STATUS_DST if state.clock.rules.is_daylight_at(state.clock.timestamp()) else 0)


def _change(change: ZoneChange | None) -> Data:
    if change is None:
        return Data.octets(CosemDateTime().encode())
    day = LAST_DAY if change.last else change.first_day
    date = CosemDate(ANY_YEAR, change.month, day, change.weekday or ANY)
    return Data.octets(CosemDateTime(date, CosemTime(change.hour, change.minute, 0, 0)).encode())


def _change_in(value: Data) -> ZoneChange | None:
    """Every year, on a day of a month; None where nothing is specified. Refused where it is another date."""
    if not matches(value, OctetsOf(12)):
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    moment = CosemDateTime.decode(value.value)
    if moment.is_unspecified:
        return None
    (year, month, day, weekday), time = moment.date, moment.time
    try:
        moment.check()
    except EncodeError:
        raise Refusal(DataAccessResult.OTHER_REASON) from None
    last = day == LAST_DAY
    if year != ANY_YEAR or month > 12 or not (last or day <= 28) or ANY in (time.hour, time.minute):
        raise Refusal(DataAccessResult.OTHER_REASON)
    return ZoneChange(month, 0 if weekday == ANY else weekday, last, 0 if last else day, time.hour, time.minute)


def _of_type(value: Data, tag: Tag, low: int, high: int) -> int:
    if value.tag is not tag:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    if not low <= value.value <= high:
        raise Refusal(DataAccessResult.OTHER_REASON)
    return int(value.value)


def _set_rules(state: MeterState, **changes: Any) -> None:
    """The instant stays; what the dial shows follows the new rules."""
    state.clock.rules = replace(state.clock.rules, **changes)
    state.note(STANDARD_LOG, CLOCK_ADJUSTED)


def _set_zone(state: MeterState, value: Data) -> None:
    _set_rules(state, standard_offset=-_of_type(value, Tag.LONG, -840, 720))


def _set_deviation(state: MeterState, value: Data) -> None:
    _set_rules(state, daylight_minutes=_of_type(value, Tag.INTEGER, -120, 120))


def _set_enabled(state: MeterState, value: Data) -> None:
    if value.tag is not Tag.BOOLEAN:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    _set_rules(state, daylight_enabled=value.value)


def _preset(state: MeterState, parameter: Data) -> None:
    """Method 5: the time that method 4 sets, and while the clock shows which times it may."""
    if not matches(parameter, StructureOf((OctetsOf(12), OctetsOf(12), OctetsOf(12)))):
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    try:
        moments = [CosemDateTime.decode(part.value).to_datetime(zone=state.clock.rules) for part in parameter.value]
        state.clock.preset = Preset(*(moment.timestamp() for moment in moments))
    except (DecodeError, OverflowError):
        raise Refusal(DataAccessResult.OTHER_REASON) from None


def _adjust_to_preset(state: MeterState, parameter: Data) -> None:
    """Refused where nothing is preset, or its time has not come or is over."""
    _of_type(parameter, Tag.INTEGER, -128, 127)
    preset, state.clock.preset = state.clock.preset, None
    if preset is None or not preset.start <= state.clock.timestamp() <= preset.end:
        raise Refusal(DataAccessResult.OTHER_REASON)
    state.clock.set(preset.timestamp)
    state.note(STANDARD_LOG, CLOCK_ADJUSTED)


def _shift(state: MeterState, parameter: Data) -> None:
    if parameter.tag is not Tag.LONG:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    if abs(parameter.value) > MAX_SHIFT_SECONDS:
        raise Refusal(DataAccessResult.OTHER_REASON)
    state.clock.shift(parameter.value)
    state.note(STANDARD_LOG, CLOCK_ADJUSTED)


def _adjust(state: MeterState, parameter: Data, grid: int) -> None:
    """To the nearest multiple of `grid` seconds."""
    if parameter.tag is not Tag.INTEGER:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    state.clock.set((state.clock.timestamp() + grid / 2) // grid * grid)
    state.note(STANDARD_LOG, CLOCK_ADJUSTED)


def clock() -> CosemObject:
    return CosemObject(
        8,
        0,
        CLOCK,
        {
            2: Attribute(_time, _set_time),
            3: Attribute(lambda state, caller: Data.long(-state.clock.rules.standard_offset), _set_zone),
            4: Attribute(_status),
            5: Attribute(
                lambda state, caller: _change(state.clock.rules.daylight_begin),
                lambda state, value: _set_rules(state, daylight_begin=_change_in(value)),
            ),
            6: Attribute(
                lambda state, caller: _change(state.clock.rules.daylight_end),
                lambda state, value: _set_rules(state, daylight_end=_change_in(value)),
            ),
            7: Attribute(lambda state, caller: Data.integer(state.clock.rules.daylight_minutes), _set_deviation),
            8: Attribute(lambda state, caller: Data.boolean(state.clock.rules.daylight_enabled), _set_enabled),
            9: constant(Data.enum(CRYSTAL)),
        },
        {
            1: lambda state, parameter: _adjust(state, parameter, QUARTER_SECONDS),
            2: lambda state, parameter: _adjust(state, parameter, MEASURING_PERIOD_SECONDS),
            3: lambda state, parameter: _adjust(state, parameter, MINUTE_SECONDS),
            4: _adjust_to_preset,
            5: _preset,
            6: _shift,
        },
    )
