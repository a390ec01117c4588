"""Class 8, clock (catalogue 1.4)."""

from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import ANY, ANY_YEAR, LAST_DAY, CosemDate, CosemDateTime, CosemTime
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.results import DataAccessResult
from metercast.simulator.clock import ZoneChange
from metercast.simulator.objects.base import Attribute, Caller, CosemObject, Refusal, constant, name
from metercast.simulator.shape import OctetsOf, matches
from metercast.simulator.state import MeterState

CLOCK = name("0.0.1.0.0.255")
MAX_SHIFT_SECONDS = 900
QUARTER_SECONDS = 900
MINUTE_SECONDS = 60
CRYSTAL = 1


def _time(state: MeterState, caller: Caller) -> Data:
    return Data.octets(CosemDateTime.from_datetime(state.clock.now().astimezone(state.clock.rules)).encode())


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


def _status(state: MeterState, caller: Caller) -> Data:
    return Data.unsigned(0x80 if state.clock.rules.is_daylight(state.clock.now()) else 0)


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
