"""Class 8, clock (catalogue 1.4)."""

from datetime import UTC, datetime

from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import ANY, ANY_YEAR, LAST_DAY, STATUS_DST, CosemDate, CosemDateTime, CosemTime
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.results import DataAccessResult
from metercast.simulator.clock import ZoneChange, ZoneRules
from metercast.simulator.events import CLOCK_ADJUSTED, STANDARD_LOG
from metercast.simulator.objects.base import Attribute, Caller, CosemObject, Refusal, constant, name
from metercast.simulator.shape import OctetsOf, matches
from metercast.simulator.state import MeterState

CLOCK = name("0.0.1.0.0.255")
MAX_SHIFT_SECONDS = 900
QUARTER_SECONDS = 900
MINUTE_SECONDS = 60
CRYSTAL = 1


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
    if moment.time.second == ANY:
        raise Refusal(DataAccessResult.OTHER_REASON)
    state.clock.set(timestamp)
    state.note(STANDARD_LOG, CLOCK_ADJUSTED)


def _status(state: MeterState, caller: Caller) -> Data:
    return Data.unsigned(STATUS_DST if state.clock.rules.is_daylight_at(state.clock.timestamp()) else 0)


def _change(change: ZoneChange | None) -> Data:
    if change is None:
        return Data.octets(CosemDateTime().encode())
    day = LAST_DAY if change.last else change.first_day
    date = CosemDate(ANY_YEAR, change.month, day, change.weekday)
    return Data.octets(CosemDateTime(date, CosemTime(change.hour, change.minute, 0, 0)).encode())


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


def clock() -> CosemObject:
    return CosemObject(
        8,
        0,
        CLOCK,
        {
            2: Attribute(_time, _set_time),
            3: Attribute(lambda state, caller: Data.long(-state.clock.rules.standard_offset)),
            4: Attribute(_status),
            5: Attribute(lambda state, caller: _change(state.clock.rules.daylight_begin)),
            6: Attribute(lambda state, caller: _change(state.clock.rules.daylight_end)),
            7: Attribute(lambda state, caller: Data.integer(state.clock.rules.daylight_minutes)),
            8: Attribute(lambda state, caller: Data.boolean(state.clock.rules.daylight_minutes != 0)),
            9: constant(Data.enum(CRYSTAL)),
        },
        {
            1: lambda state, parameter: _adjust(state, parameter, QUARTER_SECONDS),
            3: lambda state, parameter: _adjust(state, parameter, MINUTE_SECONDS),
            6: _shift,
        },
    )
